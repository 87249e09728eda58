"""One version in memory: a session, and the batcher before it."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from schema import class_names
from serving.local_server import errors, probe_inputs, sessions
from serving.local_server.batching import Batcher, Outputs
from serving.local_server.settings import Settings

# What the graph raises where an input is at fault: its bytes are no image, no Example.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.UnimplementedError,
    UnicodeDecodeError,  # in place of any, where its message quotes the bytes
)


class LoadedModel:
    """A version that answers.

    Attributes:
      name: of the model.
      version: its number.
      class_names: in label order.
      signatures: name -> SignatureDef, as in the SavedModel.
    """

    def __init__(self, name: str, folder: pathlib.Path, settings: Settings):
        """Loads the version into a session and warms it up; takes seconds, in a thread.

        Args:
          name: of the model.
          folder: of the version; its name is the number.
          settings: of the engine.

        Raises:
          tf.errors.OpError, OSError, ValueError: it cannot be loaded, or fails on the
            inputs that it is warmed up with.
        """
        self.name = name
        self.version = int(folder.name)
        self.class_names = class_names.of_model(folder)
        self._settings = settings
        self._batcher: Batcher | None = None
        inputs = probe_inputs.warm_up(folder)
        meta_graph = sessions.read_meta_graph(folder)
        self.signatures: Mapping[str, Any] = dict(meta_graph.signature_def)
        config = v1.ConfigProto(intra_op_parallelism_threads=settings.threads)
        self._session = v1.Session(graph=tf.Graph(), config=config)
        try:
            sessions.fill(self._session, meta_graph, folder)
            self._calls = {
                name: _Call(self._session, signature)
                for name, signature in self.signatures.items()
                if len(signature.inputs) == 1
            }
            self._warm_up(inputs)
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
        self, signature_name: str, inputs: np.ndarray, deadline: float | None
    ) -> Outputs:
        """All outputs of a signature, numpy arrays [batch, ...].

        Args:
          signature_name: one of `signatures` with a single input, of strings.
          inputs: bytes objects [batch], at least one.
          deadline: by the clock of the event loop; None for none.

        Raises:
          BadRequest: there is no such signature.
          ServerError: as `Batcher.run`.
        """
        if signature_name not in self._calls or self._batcher is None:
            raise errors.BadRequest(
                f'Serving signature key "{errors.shown(signature_name)}" not found.'
            )
        return await self._batcher.run(signature_name, inputs.tolist(), deadline)

    async def stop(self) -> None:
        """Answers what waits and takes nothing more."""
        if self._batcher is not None:
            await self._batcher.close()

    def unload(self) -> None:
        """Gives the memory back; nothing may run any more."""
        self._session.close()

    def run_bare(self, signature_name: str, inputs: list[bytes]) -> Outputs:
        """Outputs of a batch, without queue, in this thread."""
        return self._calls[signature_name](inputs)

    def _warm_up(self, by_signature: Mapping[str, list[bytes]]) -> None:
        """Asks each signature once by each of some batch sizes.

        The first run of a signature optimises its graph, the first of a size prepares the
        kernels for it; no client should wait for either.
        """
        for name, inputs in by_signature.items():
            size = 1
            while name in self._calls and size <= self._settings.max_batch_size:
                self._calls[name](
                    [inputs[place % len(inputs)] for place in range(size)]
                )
                size *= 2


class _Call:
    """A signature as a function from strings to outputs."""

    def __init__(self, session: v1.Session, signature: Any):
        (input_tensor,) = signature.inputs.values()
        self._names = sorted(signature.outputs)
        self._function: Callable[[np.ndarray], list[np.ndarray]] = (
            session.make_callable(
                [signature.outputs[name].name for name in self._names],
                feed_list=[input_tensor.name],
            )
        )

    def __call__(self, inputs: Sequence[bytes]) -> Outputs:
        strings = np.empty(len(inputs), object)
        strings[:] = inputs
        try:
            values = self._function(strings)
        except _INPUT_ERRORS as error:
            raise errors.InvalidInput("the model cannot read the input") from error
        return dict(zip(self._names, values, strict=True))
