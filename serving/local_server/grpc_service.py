"""TensorFlow Serving's gRPC services, from its own protocol buffers, and health.

A message is taken from the stream and parsed here rather than by gRPC: it has a time to
arrive, its bytes count, and one that is no such message gets a proper refusal. On the wire
that is the unary call which the published stubs make.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError, Message
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
)

from schema import signatures
from serving.local_server import errors, status
from serving.local_server.answering import Answer, Answerer, Target, aside
from serving.local_server.limits import InFlight, Limits
from serving.local_server.metrics import Metrics

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
_SIGNATURE_DEF = "signature_def"
_STREAMS_A_CONNECTION = 100
_LOGGER = logging.getLogger("slimline.serving")

Method = Callable[[Any, int, float], Awaitable[Message]]


def options(limits: Limits) -> list[tuple[str, int]]:
    """Channel arguments of a server that keeps to `limits`."""
    return [
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _STREAMS_A_CONNECTION),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.server_handshake_timeout_ms", 1000 * limits.header_seconds),
        # Else a second server on the same port would start and take half of the calls.
        ("grpc.so_reuseport", 0),
    ]


class Services:
    """PredictionService and ModelService of one server."""

    def __init__(
        self,
        answerer: Answerer,
        limits: Limits,
        metrics: Metrics,
        in_flight: InFlight,
    ):
        """Answers for `answerer`; the others as in `rest.Rest`."""
        self._answerer = answerer
        self._models = answerer.models
        self._limits = limits
        self._metrics = metrics
        self._in_flight = in_flight

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What a server is to be given."""
        requests = {
            PREDICTION_SERVICE: {
                "Predict": (predict_pb2.PredictRequest, self._predict),
                "Classify": (classification_pb2.ClassificationRequest, self._classify),
                "GetModelMetadata": (
                    get_model_metadata_pb2.GetModelMetadataRequest,
                    self._metadata,
                ),
            },
            MODEL_SERVICE: {
                "GetModelStatus": (
                    get_model_status_pb2.GetModelStatusRequest,
                    self._status,
                )
            },
        }
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.stream_unary_rpc_method_handler(
                        self._handler(name, kind, method)
                    )
                    for name, (kind, method) in methods.items()
                },
            )
            for service, methods in requests.items()
        ]

    def _handler(
        self, api: str, kind: type[Message], method: Method
    ) -> Callable[..., Awaitable[bytes]]:
        async def handle(unused: Any, context: grpc.aio.ServicerContext) -> bytes:
            started = time.perf_counter()
            model, answer, error = "", b"", None
            try:
                with self._in_flight.take() as share:
                    serialised = await self._receive(context)
                    size = len(serialised)
                    share.grow_to(size)
                    request = await aside(
                        size, functools.partial(_parse, kind, serialised)
                    )
                    if request.model_spec.name in self._models.names():
                        model = request.model_spec.name
                    # The message and what is made of it need not be held both.
                    del serialised
                    response = await method(request, size, self._deadline(context))
                    answer = response.SerializeToString()
            except errors.ServerError as caught:
                error = caught
            except Exception as caught:
                _LOGGER.exception("internal error in %s: %s", api, caught)
                error = errors.InternalError()
            code = error.grpc_code if error else grpc.StatusCode.OK
            self._metrics.request(model, api, "GRPC", code.name, started)
            if error:
                await context.abort(error.grpc_code, error.text)
            return answer

        return handle

    async def _receive(self, context: grpc.aio.ServicerContext) -> bytes:
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                message = await context.read()
        except TimeoutError as error:
            raise errors.RequestTimeout() from error
        if message is grpc.aio.EOF:
            raise errors.BadRequest("The call has no message.")
        return bytes(message)

    def _deadline(self, context: grpc.aio.ServicerContext) -> float:
        """By the clock of the event loop."""
        remaining = context.time_remaining()
        seconds = float(self._limits.answer_seconds)
        if remaining is not None:
            seconds = min(seconds, remaining)
        return asyncio.get_running_loop().time() + seconds

    async def _predict(
        self, request: predict_pb2.PredictRequest, size: int, deadline: float
    ) -> Message:
        outputs_wanted = request.output_filter
        answer = await self._answerer.predict(
            _target(request),
            request.model_spec.signature_name,
            lambda input_name: _strings(request.inputs, input_name),
            size_bytes=size,
            deadline=deadline,
            check=lambda outputs: _check_filter(outputs_wanted, outputs),
        )
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, answer)
        for name, tensor in answer.outputs.items():
            if not outputs_wanted or name in outputs_wanted:
                response.outputs[name].CopyFrom(_as_proto(tensor))
        return response

    async def _classify(
        self,
        request: classification_pb2.ClassificationRequest,
        size: int,
        deadline: float,
    ) -> Message:
        answer = await self._answerer.classify(
            _target(request),
            request.model_spec.signature_name,
            lambda: _examples(request.input),
            size_bytes=size,
            deadline=deadline,
        )
        response = classification_pb2.ClassificationResponse()
        _fill_spec(response.model_spec, answer)
        classes = answer.outputs[signatures.CLASSES].tolist()
        scores = answer.outputs[signatures.SCORES].tolist()
        for row in zip(classes, scores, strict=True):
            entry = response.result.classifications.add()
            for label, score in zip(*row, strict=True):
                entry.classes.add(label=label.decode("utf-8", "replace"), score=score)
        return response

    async def _metadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        size: int,
        deadline: float,
    ) -> Message:
        target = _target(request)
        if not request.metadata_field:
            raise errors.BadRequest(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        if set(request.metadata_field) != {_SIGNATURE_DEF}:
            raise errors.BadRequest("Only metadata_field signature_def is supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._models.find(target.name, target.version, target.label) as model:
            response.model_spec.name = model.name
            response.model_spec.version.value = model.version
            response.metadata[_SIGNATURE_DEF].Pack(
                get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
            )
        return response

    async def _status(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        size: int,
        deadline: float,
    ) -> Message:
        return status.message(self._models, _target(request))


def _parse(kind: type[Message], serialised: bytes) -> Any:
    try:
        return kind.FromString(serialised)
    except DecodeError as error:
        raise errors.BadRequest("The message cannot be parsed.") from error


def _target(request: Any) -> Target:
    if not request.HasField("model_spec"):
        raise errors.BadRequest("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    return Target(
        name=spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
    )


def _fill_spec(spec: model_pb2.ModelSpec, answer: Answer) -> None:
    spec.name = answer.name
    spec.version.value = answer.version
    spec.signature_name = answer.signature_name


def _strings(
    inputs: Mapping[str, tensor_pb2.TensorProto], input_name: str
) -> list[bytes]:
    """The string tensor [batch] of a request.

    Raises:
      BadRequest: other inputs, another dtype or shape, or fewer values than the shape has:
        TensorFlow would repeat the last one, and so make much of little.
    """
    if set(inputs) != {input_name}:
        raise errors.BadRequest(
            f"input size does not match signature: expecting the one input {input_name}"
        )
    tensor = inputs[input_name]
    if tensor.dtype != types_pb2.DT_STRING:
        raise errors.BadRequest(f"input {input_name} must be of type string")
    shape = tensor.tensor_shape
    sizes = [dimension.size for dimension in shape.dim]
    if shape.unknown_rank or sizes != [len(tensor.string_val)]:
        raise errors.BadRequest(
            f"input {input_name} must have the shape [batch] and as many string values"
        )
    return list(tensor.string_val)


def _check_filter(wanted: Sequence[str], outputs: Mapping[str, Any]) -> None:
    if not set(wanted) <= set(outputs):
        raise errors.BadRequest(
            "output tensor alias not found in signature. Outputs expected to be in the"
            f" set {{{','.join(sorted(outputs))}}}."
        )
    if len(set(wanted)) != len(wanted):
        raise errors.BadRequest("duplicate output tensor alias")


def _examples(given: input_pb2.Input) -> list[tf.train.Example]:
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        return list(given.example_list.examples)
    if kind is None:
        return []
    merged = []
    for example in given.example_list_with_context.examples:
        whole = tf.train.Example()
        whole.CopyFrom(given.example_list_with_context.context)
        whole.MergeFrom(example)
        merged.append(whole)
    return merged


def _as_proto(tensor: np.ndarray) -> tensor_pb2.TensorProto:
    """A tensor in the typed field of its dtype, where TensorFlow Serving puts it."""
    if tensor.dtype not in (object, np.float32):
        return tf.make_tensor_proto(tensor)
    proto = tensor_pb2.TensorProto()
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    values = tensor.ravel().tolist()
    if tensor.dtype == object:
        proto.dtype = types_pb2.DT_STRING
        proto.string_val.extend(values)
    else:
        proto.dtype = types_pb2.DT_FLOAT
        proto.float_val.extend(values)
    return proto
