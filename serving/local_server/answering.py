"""From a request, whatever its protocol, to the answer of a model.

REST and gRPC only take requests apart and put answers together; which version answers, what
an input may be, and what is kept of it, is decided here for both.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pushed_models import signatures
from schema import features, image_header, images
from serving.local_server import errors
from serving.local_server.batching import Tensors
from serving.local_server.limits import Limits
from serving.local_server.metrics import Metrics

_CLASSIFY_METHOD = signatures.METHODS[signatures.CLASSIFY]


@dataclasses.dataclass(frozen=True)
class Target:
    """Which model a request means; one of version and label, or none of them."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a version of a model said: all outputs of a signature, by name."""

    name: str
    version: int
    signature_name: str
    outputs: Tensors


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

    async def ask(
        self,
        target: Target,
        signature_name: str,
        read: Callable[[Any], Tensors],
        deadline: float,
        *,
        is_classify: bool = False,
    ) -> Answer:
        """The answer of the version that `target` means.

        Args:
          target: which model.
          signature_name: '' for the default one.
          read: gives the inputs of the request, once it knows the SignatureDef.
          deadline: by the clock of the event loop, in seconds.
          is_classify: wants a signature made for classification, of one input.

        Raises:
          ServerError: no such model, version, label or signature, an input that is refused,
            a full queue, or the deadline.
        """
        name = signature_name or signatures.SERVING_DEFAULT
        model = self.models.find(target)
        if name not in model.signatures:
            raise errors.FailedPrecondition(
                f'Serving signature key "{errors.shown(name)}" not found.'
            )
        signature = model.signatures[name]
        takes_examples = signature.method_name == _CLASSIFY_METHOD
        if is_classify and not (takes_examples and len(signature.inputs) == 1):
            raise errors.BadRequest(
                "Expected classification signature method_name. Name a signature made"
                " for classify."
            )
        inputs = read(signature)
        for input_name, array in inputs.items():
            _check_shape(input_name, array, signature.inputs[input_name].tensor_shape)
        count = max((len(one) for one in inputs.values() if one.ndim), default=1)
        if count > self._limits.instances:
            raise errors.TooLarge(
                f"{count:,} instances, at most {self._limits.instances:,} are taken"
            )
        encoded: list[bytes] = []
        for input_name, array in inputs.items():
            if array.dtype != object:
                continue
            found = array.ravel().tolist()
            is_ours = signatures.INPUTS.get(name) == input_name
            if is_ours and name == signatures.PREDICT_IMAGES:
                encoded += found
            elif is_ours or takes_examples:
                # What is checked is what the graph reads: its own reader of protocol
                # buffers might make something else of the bytes that were sent.
                parsed = [_parse(one, place) for place, one in enumerate(found)]
                inputs[input_name] = strings(one.SerializeToString() for one in parsed)
                encoded += [image for one in parsed for image in _images_in(one)]
            else:
                encoded += filter(_is_image, found)
        self._check_images(encoded)
        outputs = await model.run(name, inputs, deadline)
        self._metrics.examples(model.name, count)
        answer = Answer(model.name, model.version, name, outputs)
        if self._sampler is not None:
            self._sampler.offer(encoded, answer)
        return answer

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


def strings(values: Iterable[bytes]) -> np.ndarray:
    """A string tensor [values], of bytes objects."""
    listed = list(values)
    made = np.empty(len(listed), object)
    made[:] = listed
    return made


def _check_shape(name: str, array: np.ndarray, shape: Any) -> None:
    dims = [dim.size for dim in shape.dim]
    fits = shape.unknown_rank or (
        len(dims) == array.ndim
        and all(dim in (-1, size) for dim, size in zip(dims, array.shape, strict=True))
    )
    if not fits:
        raise errors.BadRequest(
            f"input {name} has the shape {list(array.shape)}, expected {dims}"
        )
    if not array.size:
        raise errors.BadRequest("Input is empty.")


def _parse(serialised: bytes, place: int) -> tf.train.Example:
    try:
        example = tf.train.Example.FromString(serialised)
    except DecodeError as error:
        raise errors.InvalidInput(f"instance {place}: not a tf.Example") from error
    example.DiscardUnknownFields()
    return example


def _images_in(example: tf.train.Example) -> list[bytes]:
    """Values that are to be images, and those that begin as such."""
    return [
        value
        for name, feature in example.features.feature.items()
        for value in feature.bytes_list.value
        if name == features.ENCODED or _is_image(value)
    ]


def _is_image(value: bytes) -> bool:
    return image_header.kind_of(value) in images.KEPT
