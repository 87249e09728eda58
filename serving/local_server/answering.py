"""Answers requests of both protocols.

REST and gRPC parse requests and write answers; this module chooses the version, checks the
inputs and offers answers to the sampler, for both of them.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pushed_models import signatures
from schema import features, image_header, images
from serving.local_server import errors
from serving.local_server.batching import Tensors
from serving.local_server.limits import InFlight, Limits
from serving.local_server.metrics import Metrics
from serving.model_spec import ModelSpec

_CLASSIFY_METHOD = signatures.METHODS[signatures.CLASSIFY]


@dataclasses.dataclass(frozen=True)
class Answer:
    """All outputs of a signature, by name, and the version that computed them."""

    name: str
    version: int
    signature_name: str
    outputs: Tensors


# Takes the encoded images of a request and its answer, and returns at once.
Sample = Callable[[Sequence[bytes], Answer], None]


class Answerer:
    """Asks the served models, `served_models.ServedModels`.

    Its attributes are shared by both protocols; `in_flight` counts the bytes of requests.
    """

    def __init__(
        self,
        models: Any,
        limits: Limits,
        metrics: Metrics,
        sample: Sample | None = None,
    ):
        """Without `sample` no request is kept."""
        self.models = models
        self.limits = limits
        self.metrics = metrics
        self.in_flight = InFlight(limits.in_flight_bytes)
        self._sample = sample

    async def ask(
        self,
        spec: ModelSpec,
        signature_name: str,
        read: Callable[[Any], Tensors],
        deadline: float,
        *,
        is_classify: bool = False,
    ) -> Answer:
        """The answer of the version that `spec` names.

        Args:
          spec: of the model.
          signature_name: '' for the default one.
          read: takes the SignatureDef, returns the inputs of the request.
          deadline: by the clock of the event loop, in seconds.
          is_classify: whether the signature must be one for classification, of one input.

        Raises:
          ServerError: no such model, version, label or signature, a refused input, a full
            queue, or the deadline passed.
        """
        name = signature_name or signatures.SERVING_DEFAULT
        model = self.models.find(spec)
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
        if count > self.limits.instances:
            raise errors.TooLarge(
                f"{count:,} instances, at most {self.limits.instances:,} are taken"
            )
        encoded: list[bytes] = []
        for input_name, array in inputs.items():
            if array.dtype != object:
                continue
            values = array.ravel().tolist()
            is_ours = signatures.INPUTS.get(name) == input_name
            if is_ours and name == signatures.PREDICT_IMAGES:
                encoded += values
            elif is_ours or takes_examples:
                # Serialised anew, so that the graph reads what was checked: its own parser
                # might read other values from the same bytes.
                parsed = [_parse(one, place) for place, one in enumerate(values)]
                inputs[input_name] = strings(one.SerializeToString() for one in parsed)
                encoded += [image for one in parsed for image in _images_in(one)]
            else:
                encoded += filter(_is_image, values)
        self._check_images(encoded)
        outputs = await model.run(name, inputs, deadline)
        self.metrics.examples(model.name, count)
        answer = Answer(model.name, model.version, name, outputs)
        if self._sample is not None:
            self._sample(encoded, answer)
        return answer

    def _check_images(self, encoded: Sequence[bytes]) -> None:
        limits, pixels = self.limits, 0
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
    return np.array([*values], object)


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
    """Values of the image feature, and those that begin like an image."""
    return [
        value
        for name, feature in example.features.feature.items()
        for value in feature.bytes_list.value
        if name == features.ENCODED or _is_image(value)
    ]


def _is_image(value: bytes) -> bool:
    return image_header.kind_of(value) in images.KEPT
