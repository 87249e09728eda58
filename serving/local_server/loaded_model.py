"""One version in memory: a session, and the batcher before it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import class_names, signatures
from serving.local_server import errors, ops, sessions
from serving.local_server.batching import Batcher, Tensors
from storage import manifest

# What the graph raises where an input is at fault: its bytes are no image, no Example.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.UnimplementedError,
    UnicodeDecodeError,  # in place of any, where its message quotes the bytes
)
# A graph that never ends is given up after that, when it is loaded and when it answers.
_STEP_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Settings:
    """How versions are found and asked.

    Attributes:
      max_batch_size: rows that are answered together, at most.
      max_queue: rows that may wait for a version; beyond it requests are refused.
      poll_seconds: from one look at the models folder to the next.
    """

    max_batch_size: int = 32
    max_queue: int = 1024
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
        self._batcher = Batcher(
            self.run_bare,
            max_batch_size=settings.max_batch_size,
            max_queue=settings.max_queue,
        )
        config = v1.ConfigProto(operation_timeout_in_ms=_STEP_SECONDS * 1000)
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

    @property
    def batch_sizes(self) -> Mapping[int, int]:
        """How many batches of which size have been run."""
        return self._batcher.batch_sizes

    async def run(
        self, signature_name: str, inputs: Tensors, deadline: float | None
    ) -> Tensors:
        """All outputs of one of `signatures`, for inputs of the shapes that it takes.

        Raises:
          ServerError: as `Batcher.run`.
        """
        rows = {len(array) if array.ndim else 0 for array in inputs.values()}
        is_joined = self._calls[signature_name].is_batched and len(rows) == 1
        return await self._batcher.run(
            signature_name, inputs, deadline, rows=rows.pop() if is_joined else None
        )

    async def stop(self) -> None:
        """Answers what waits and takes nothing more."""
        await self._batcher.close()

    def unload(self) -> None:
        """Gives the memory back; nothing may run any more."""
        self._session.close()

    def run_bare(self, signature_name: str, inputs: Tensors) -> Tensors:
        """Outputs of a batch, without queue, in this thread."""
        return self._calls[signature_name](inputs)

    def _warm_up(self, folder: pathlib.Path) -> None:
        """Asks what TensorFlow Serving's warm-up file asks, each in several batch sizes.

        The first run of a signature optimises its graph, the first of a size prepares the
        kernels for it; no client should wait for either.
        """
        path = folder / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
        asked = _warm_up_requests(path) if path.is_file() else {}
        for name, inputs in asked.items():
            call, size = self._calls[name], 1
            while call.is_batched and size <= self._settings.max_batch_size:
                tiled = {
                    key: one[np.arange(size) % len(one)] for key, one in inputs.items()
                }
                call(tiled)
                size *= 2
            if not call.is_batched:
                call(inputs)


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
        # A single string comes as such, not as an array.
        arrays = (
            np.asarray(one, object) if isinstance(one, bytes) else one for one in values
        )
        return dict(zip(self._outputs, arrays, strict=True))


def _has_rows(info: Any) -> bool:
    """Whether the first dimension of a tensor is open."""
    shape = info.tensor_shape
    return bool(shape.dim) and shape.dim[0].size < 0


def _warm_up_requests(file: pathlib.Path) -> dict[str, Tensors]:
    """Signature -> the last of its requests in a warm-up file."""
    found: dict[str, Tensors] = {}
    records = tf.data.TFRecordDataset(str(file)).take(signatures.MAX_WARM_UP_RECORDS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        predict, classify = log.predict_log.request, log.classify_log.request
        if predict.inputs:
            name = predict.model_spec.signature_name or signatures.SERVING_DEFAULT
            tensors = {key: tf.make_ndarray(one) for key, one in predict.inputs.items()}
            found[name] = tensors
        elif examples := classify.input.example_list.examples:
            strings = [one.SerializeToString() for one in examples]
            key = signatures.INPUTS[signatures.CLASSIFY]
            found[classify.model_spec.signature_name] = {
                key: np.array([*strings, None], object)[:-1]
            }
    return found
