"""One version in memory: a session, and the batcher in front of it."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import class_names, signatures
from serving.local_server import errors, ops, sessions
from serving.local_server.answering import strings
from serving.local_server.batching import Batcher, Tensors
from serving.local_server.limits import Limits
from storage import manifest

# Errors of the graph that an input causes: its bytes are no image, or no Example.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.UnimplementedError,
    UnicodeDecodeError,  # TensorFlow's error message quotes the bytes
)
# Ends graphs that never return, while they load and while they answer.
_STEP_SECONDS = 60


class LoadedModel:
    """A version that answers.

    Attributes:
      name: of the model.
      version: its number.
      class_names: in label order; () if the version has none.
      signatures: name -> SignatureDef, as in the SavedModel.
    """

    def __init__(self, name: str, folder: pathlib.Path, limits: Limits):
        """Loads the version into a session and warms it up; takes seconds, in a thread.

        Raises:
          tf.errors.OpError, OSError, ValueError: its files differ from its manifest, its
            graph could touch other files or run other code, it cannot be loaded, or it
            fails on its warm-up inputs.
        """
        if manifest.exists(folder) and (faults := manifest.problems(folder)):
            raise tf.errors.DataLossError(None, None, "; ".join(faults[:3]))
        meta_graph = sessions.read_meta_graph(folder)
        if faults := ops.problems(meta_graph):
            raise tf.errors.FailedPreconditionError(None, None, "; ".join(faults[:3]))
        self.name = name
        self.version = int(folder.name)
        self.class_names: tuple[str, ...] = ()
        if (folder / "assets" / signatures.LABELS_ASSET).is_file():
            self.class_names = class_names.of_model(folder)
        self.signatures: Mapping[str, Any] = sessions.signatures(meta_graph)
        self._max_batch_size = limits.max_batch_size
        self._batcher = Batcher(
            self.run_bare,
            max_batch_size=limits.max_batch_size,
            max_queue=limits.max_queue,
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
        """Rows of a batch -> number of such batches so far."""
        return self._batcher.batch_sizes

    async def run(
        self, signature_name: str, inputs: Tensors, deadline: float | None
    ) -> Tensors:
        """All outputs of one of `signatures`, for inputs of its shapes.

        Raises:
          ServerError: as `Batcher.run`.
        """
        rows = {len(array) if array.ndim else 0 for array in inputs.values()}
        is_joined = self._calls[signature_name].is_batched and len(rows) == 1
        return await self._batcher.run(
            signature_name, inputs, deadline, rows=rows.pop() if is_joined else None
        )

    async def stop(self) -> None:
        """Answers the waiting requests and takes no others."""
        await self._batcher.close()

    def unload(self) -> None:
        """Frees the memory; no request may be running."""
        self._session.close()

    def run_bare(self, signature_name: str, inputs: Tensors) -> Tensors:
        """Outputs of a batch, computed in this thread without the queue."""
        return self._calls[signature_name](inputs)

    def _warm_up(self, folder: pathlib.Path) -> None:
        """Runs the requests of TensorFlow Serving's warm-up file, each in several sizes.

        The first run of a signature optimises its graph, the first of a batch size prepares
        its kernels; no client should wait for either.
        """
        path = folder / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
        requests = _warm_up_requests(path) if path.is_file() else {}
        for name, inputs in requests.items():
            call, size = self._calls[name], 1
            while call.is_batched and size <= self._max_batch_size:
                rows = np.arange(size)
                call({key: one[rows % len(one)] for key, one in inputs.items()})
                size *= 2
            if not call.is_batched:
                call(inputs)


class _Call:
    """A signature as a function from tensors to tensors.

    Attributes:
      is_batched: whether rows of several requests can run together.
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
        # TensorFlow returns a scalar string as bytes, not as an array.
        arrays = (
            np.asarray(one, object) if isinstance(one, bytes) else one for one in values
        )
        return dict(zip(self._outputs, arrays, strict=True))


def _has_rows(info: Any) -> bool:
    """Whether the first dimension of a tensor has any size."""
    shape = info.tensor_shape
    return bool(shape.dim) and shape.dim[0].size < 0


def _warm_up_requests(file: pathlib.Path) -> dict[str, Tensors]:
    """Signature -> the last of its requests in a warm-up file."""
    requests: dict[str, Tensors] = {}
    records = tf.data.TFRecordDataset(str(file)).take(signatures.MAX_WARM_UP_RECORDS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        predict, classify = log.predict_log.request, log.classify_log.request
        if predict.inputs:
            name = predict.model_spec.signature_name or signatures.SERVING_DEFAULT
            tensors = {key: tf.make_ndarray(one) for key, one in predict.inputs.items()}
            requests[name] = tensors
        elif examples := classify.input.example_list.examples:
            serialised = strings(one.SerializeToString() for one in examples)
            key = signatures.INPUTS[signatures.CLASSIFY]
            requests[classify.model_spec.signature_name] = {key: serialised}
    return requests
