"""One version in memory: a session, and the batcher before it."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
from tensorflow_serving.apis import prediction_log_pb2

from schema import class_names, features, images, manifest, recorded, signatures
from serving.local_server import errors, ops, sessions
from serving.local_server.batching import Batcher, Tensors

# What the graph raises where an input is at fault: its bytes are no image, no Example.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.UnimplementedError,
    UnicodeDecodeError,  # in place of any, where its message quotes the bytes
)
_GRAY_SIDE_PX = 32
# A graph that never ends is given up after that, when it is loaded and when it answers.
_STEP_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Settings:
    """How versions are found and asked.

    Attributes:
      max_batch_size: rows that are answered together, at most.
      max_queue: rows that may wait for a version; beyond it requests are refused.
      runners: batches of a version under way at the same time.
      threads: that share an operation; 0 lets TensorFlow decide. The first version that is
        loaded decides for all.
      poll_seconds: from one look at the models folder to the next.
    """

    max_batch_size: int = 32
    max_queue: int = 1024
    runners: int = 1
    threads: int = 0
    poll_seconds: float = 1.0


class LoadedModel:
    """A version that answers.

    Attributes:
      name: of the model.
      version: its number.
      class_names: in label order; () where the version names none.
      signatures: name -> SignatureDef, as in the SavedModel.
    """

    def __init__(self, name: str, folder: pathlib.Path, settings: Settings):
        """Loads the version into a session and warms it up; takes seconds, in a thread.

        Args:
          name: of the model.
          folder: of the version; its name is the number.
          settings: see there.

        Raises:
          tf.errors.OpError, OSError, ValueError: its files are not those of its manifest,
            its graph could touch other files or run other code, it cannot be loaded, or
            it fails on the inputs that it is warmed up with.
        """
        if manifest.exists(folder) and (found := manifest.problems(folder)):
            raise tf.errors.DataLossError(None, None, "; ".join(found[:3]))
        meta_graph = sessions.read_meta_graph(folder)
        if found := ops.problems(meta_graph):
            raise tf.errors.FailedPreconditionError(None, None, "; ".join(found[:3]))
        self.name = name
        self.version = int(folder.name)
        self.class_names: tuple[str, ...] = ()
        if (folder / "assets" / signatures.LABELS_ASSET).is_file():
            self.class_names = class_names.of_model(folder)
        self.signatures: Mapping[str, Any] = sessions.signatures(meta_graph)
        self._settings = settings
        self._batcher: Batcher | None = None
        config = v1.ConfigProto(
            intra_op_parallelism_threads=settings.threads,
            operation_timeout_in_ms=_STEP_SECONDS * 1000,
        )
        self._session = v1.Session(graph=tf.Graph(), config=config)
        try:
            sessions.fill(self._session, meta_graph, folder)
            self._calls = {
                name: _Call(self._session, signature)
                for name, signature in self.signatures.items()
            }
            self._warm_up(folder)
        except BaseException:
            self._session.close()
            raise

    def start(self) -> None:
        """Begins to take requests, on the running event loop."""
        self._batcher = Batcher(
            self.run_bare,
            max_batch_size=self._settings.max_batch_size,
            max_queue=self._settings.max_queue,
            runners=self._settings.runners,
        )

    @property
    def batch_sizes(self) -> Mapping[int, int]:
        """How many batches of which size have been run."""
        return {} if self._batcher is None else self._batcher.batch_sizes

    async def run(
        self, signature_name: str, inputs: Tensors, deadline: float | None
    ) -> Tensors:
        """All outputs of a signature, by name.

        Args:
          signature_name: one of `signatures`.
          inputs: by name, of the shapes that the signature takes.
          deadline: by the clock of the event loop; None for none.

        Raises:
          ServerError: as `Batcher.run`.
        """
        if self._batcher is None:
            raise errors.Unavailable()
        rows = {len(array) if array.ndim else 0 for array in inputs.values()}
        is_joined = self._calls[signature_name].is_batched and len(rows) == 1
        return await self._batcher.run(
            signature_name, inputs, deadline, rows=rows.pop() if is_joined else None
        )

    async def stop(self) -> None:
        """Answers what waits and takes nothing more."""
        if self._batcher is not None:
            await self._batcher.close()

    def unload(self) -> None:
        """Gives the memory back; nothing may run any more."""
        self._session.close()

    def run_bare(self, signature_name: str, inputs: Tensors) -> Tensors:
        """Outputs of a batch, without queue, in this thread."""
        return self._calls[signature_name](inputs)

    def _warm_up(self, folder: pathlib.Path) -> None:
        """Asks each of our signatures once by each of some batch sizes.

        The first run of a signature optimises its graph, the first of a size prepares the
        kernels for it; no client should wait for either. Other models have only the
        requests of their warm-up file.
        """
        for name, inputs in _warm_up_requests(folder):
            if name in self._calls:
                self._calls[name](inputs)
        encoded = _images(folder) if self.class_names else []
        examples = [_example(one) for one in encoded]
        for name, input_name in signatures.INPUTS.items():
            found = self.signatures.get(name)
            if not encoded or found is None or set(found.inputs) != {input_name}:
                continue
            strings = encoded if name == signatures.PREDICT_IMAGES else examples
            size = 1
            while size <= self._settings.max_batch_size:
                batch = np.array((strings * size)[:size], object)
                self._calls[name]({input_name: batch})
                size *= 2


class _Call:
    """A signature as a function from tensors to tensors.

    Attributes:
      is_batched: whether rows of several requests can be asked together.
    """

    def __init__(self, session: v1.Session, signature: Any):
        self._inputs = sorted(signature.inputs)
        self._outputs = sorted(signature.outputs)
        infos = (*signature.inputs.values(), *signature.outputs.values())
        self.is_batched = bool(self._inputs) and all(map(_has_rows, infos))
        self._function: Callable[..., list[np.ndarray]] = session.make_callable(
            [signature.outputs[name].name for name in self._outputs],
            feed_list=[signature.inputs[name].name for name in self._inputs],
        )

    def __call__(self, inputs: Tensors) -> Tensors:
        try:
            values = self._function(*(inputs[name] for name in self._inputs))
        except _INPUT_ERRORS as error:
            raise errors.InvalidInput("the model cannot read the input") from error
        return dict(zip(self._outputs, values, strict=True))


def _has_rows(info: Any) -> bool:
    """Whether the first dimension of a tensor is open."""
    shape = info.tensor_shape
    return bool(shape.dim) and shape.dim[0].size < 0


def _images(folder: pathlib.Path) -> list[bytes]:
    """The recorded images of a version, else a gray one, which every net takes."""
    path = folder / manifest.EXTRA_FOLDER / signatures.RECORDED_FILE
    if path.is_file():
        return recorded.read(path).encoded
    pixels = np.full([1, _GRAY_SIDE_PX, _GRAY_SIDE_PX, 3], 128, np.uint8)
    return [*images.encode_pngs(pixels)]


def _example(encoded: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    return tf.train.Example(
        features=tf.train.Features(feature={features.ENCODED: feature})
    ).SerializeToString()


def _warm_up_requests(folder: pathlib.Path) -> Iterator[tuple[str, Tensors]]:
    """Signature and inputs of the Predict requests in TensorFlow Serving's warm-up file."""
    path = folder / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
    if not path.is_file():
        return
    records = tf.data.TFRecordDataset(str(path)).take(signatures.MAX_WARM_UP_RECORDS)
    for serialised in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(serialised)
        request = log.predict_log.request
        if request.inputs:
            name = request.model_spec.signature_name or signatures.SERVING_DEFAULT
            yield (
                name,
                {key: tf.make_ndarray(value) for key, value in request.inputs.items()},
            )
