"""From a request, whatever its protocol, to the answer of a model.

REST and gRPC only take requests apart and put answers together; which version answers, what
an input may be, and what is kept of it, is decided here for both.
"""

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from schema import features, images, signatures
from serving.local_server import errors
from serving.local_server.limits import Limits
from serving.local_server.metrics import Metrics

# Larger requests are taken apart in a thread, so that smaller ones need not wait for them.
ASIDE_BYTES = 256 << 10
# One thread: taking apart is Python, so that more would not be faster, and each would wait in
# line with the event loop for Python's lock.
_ASIDE = concurrent.futures.ThreadPoolExecutor(1, "aside")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Target:
    """Which model a request means.

    Attributes:
      name: of the model.
      version: its number, or None.
      label: of a version, or None; never both.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a version said.

    Attributes:
      name: of the model. version: that answered. signature_name: that was asked.
      outputs: name -> tensor [batch, ...], all that the signature has.
    """

    name: str
    version: int
    signature_name: str
    outputs: Mapping[str, np.ndarray]


class Sampler(Protocol):
    """Keeps a share of the requests."""

    def offer(self, encoded: Sequence[bytes], answer: Answer) -> None:
        """Takes the images of a request, or not; never waits."""


class Answerer:
    """Asks the served models."""

    def __init__(
        self,
        models: Any,
        limits: Limits,
        metrics: Metrics,
        sampler: Sampler | None = None,
    ):
        """Takes `served_models.ServedModels`."""
        self.models = models
        self._limits = limits
        self._metrics = metrics
        self._sampler = sampler

    async def predict(
        self,
        target: Target,
        signature_name: str,
        read: Callable[[str], list[bytes]],
        *,
        size_bytes: int,
        deadline: float,
        check: Callable[[Mapping[str, Any]], None] = lambda outputs: None,
    ) -> Answer:
        """The answer of the version that `target` means.

        Args:
          target: which model.
          signature_name: '' for the default one.
          read: gives the strings of the request, once it knows the name of the input.
          size_bytes: of the request.
          deadline: by the clock of the event loop, in seconds.
          check: raises where the outputs of the signature, by name, will not do.

        Raises:
          ServerError: no such model, version, label or signature, an input that is refused,
            a full queue, or the deadline.
        """
        with self.models.find(target.name, target.version, target.label) as model:
            name = signature_name or signatures.SERVING_DEFAULT
            if name not in model.signatures:
                raise errors.FailedPrecondition(
                    f'Serving signature key "{errors.shown(name)}" not found.'
                )
            check(model.signatures[name].outputs)
            (input_name,) = model.signatures[name].inputs
            return await self._ask(
                model, name, lambda: read(input_name), size_bytes, deadline
            )

    async def classify(
        self,
        target: Target,
        signature_name: str,
        read: Callable[[], list[tf.train.Example]],
        *,
        size_bytes: int,
        deadline: float,
    ) -> Answer:
        """As `predict`, through a signature made for classification, with Examples.

        Raises:
          ServerError: as `predict`.
        """
        with self.models.find(target.name, target.version, target.label) as model:
            name = signature_name or signatures.SERVING_DEFAULT
            if name not in model.signatures:
                raise errors.BadRequest(
                    f"No signature was found with the name: {errors.shown(name)}"
                )
            method = model.signatures[name].method_name
            if method != signatures.METHODS[signatures.CLASSIFY]:
                raise errors.BadRequest(
                    "Expected classification signature method_name. Name a signature"
                    " made for classify."
                )
            return await self._ask(
                model,
                name,
                lambda: [example.SerializeToString() for example in read()],
                size_bytes,
                deadline,
            )

    async def _ask(
        self,
        model: Any,
        signature_name: str,
        read: Callable[[], list[bytes]],
        size_bytes: int,
        deadline: float,
    ) -> Answer:
        takes_images = signatures.INPUTS[signatures.PREDICT_IMAGES] in (
            model.signatures[signature_name].inputs
        )

        def checked() -> tuple[list[bytes], list[bytes]]:
            strings = read()
            self._check_count(len(strings))
            if takes_images:
                self._check_images(strings)
                return strings, strings
            parsed = [_parse(string, place) for place, string in enumerate(strings)]
            encoded = [_encoded_in(one, place) for place, one in enumerate(parsed)]
            self._check_images(encoded)
            # What was checked is what the graph reads: its own reader of protocol buffers
            # might make something else of the bytes that were sent.
            return [example.SerializeToString() for example in parsed], encoded

        strings, encoded = await aside(size_bytes, checked)
        inputs = np.empty(len(strings), object)
        inputs[:] = strings
        outputs = await model.run(signature_name, inputs, deadline)
        self._metrics.examples(model.name, len(strings))
        answer = Answer(model.name, model.version, signature_name, outputs)
        if self._sampler is not None:
            self._sampler.offer(encoded, answer)
        return answer

    def _check_count(self, count: int) -> None:
        if not count:
            raise errors.BadRequest("Input is empty.")
        if count > self._limits.instances:
            raise errors.TooLarge(
                f"{count:,} instances, at most {self._limits.instances:,} are taken"
            )

    def _check_images(self, encoded: Sequence[bytes]) -> None:
        limits, pixels = self._limits, 0
        for place, data in enumerate(encoded):
            if len(data) > limits.image_bytes:
                raise errors.TooLarge(
                    f"instance {place}: more than {limits.image_bytes:,} bytes"
                )
            header = images.read_header(data, limits.image_pixels)
            if header.reason:
                raise errors.InvalidInput(f"instance {place}: {header.reason}")
            pixels += header.width * header.height
        if pixels > limits.request_pixels:
            raise errors.TooLarge(
                f"{pixels:,} pixels in all, at most {limits.request_pixels:,} are taken"
            )


async def aside(size_bytes: int, function: Callable[[], T]) -> T:
    """The result of `function`, worked out in a thread where the request is large."""
    if size_bytes <= ASIDE_BYTES:
        return function()
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, function)


def _parse(serialised: bytes, place: int) -> tf.train.Example:
    try:
        example = tf.train.Example.FromString(serialised)
    except DecodeError as error:
        raise errors.InvalidInput(f"instance {place}: not a tf.Example") from error
    example.DiscardUnknownFields()
    return example


def _encoded_in(example: tf.train.Example, place: int) -> bytes:
    values = example.features.feature[features.ENCODED].bytes_list.value
    if len(values) != 1:
        raise errors.InvalidInput(
            f"instance {place}: expecting one value of the feature that holds the image"
        )
    return values[0]
