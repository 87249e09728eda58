"""TensorFlow Serving's gRPC services, on its generated classes."""

import asyncio
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.local_server import errors, json_tensors
from serving.local_server.answering import Answer, Answerer, strings
from serving.local_server.batching import Tensors
from serving.local_server.limits import Limits
from serving.model_spec import ModelSpec

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
_SIGNATURE_DEF = "signature_def"
_STREAMS_A_CONNECTION = 100
_LOGGER = logging.getLogger("slimline.serving")

Method = Callable[[Any, Any, Any], Awaitable[Message]]


def options(limits: Limits) -> list[tuple[str, int]]:
    """Channel arguments of a server with these limits."""
    return [
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _STREAMS_A_CONNECTION),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.server_handshake_timeout_ms", 1000 * limits.idle_seconds),
        # Ends the calls of clients that have vanished.
        ("grpc.keepalive_time_ms", 1000 * limits.idle_seconds),
        # Otherwise a second server could start on the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
    ]


def _answered(method: Method) -> Method:
    """Counts the calls of a method, and turns its errors into their status."""

    @functools.wraps(method)
    async def handle(self: Any, request: Any, context: Any) -> Message:
        started, error = time.perf_counter(), None
        try:
            if not request.HasField("model_spec"):
                raise errors.BadRequest("Missing ModelSpec")
            with self.answerer.in_flight.holding(request.ByteSize()):
                answer = await method(self, request, context)
        except errors.ServerError as caught:
            error = caught
        except Exception as caught:
            _LOGGER.exception("internal error in %s: %s", method.__name__, caught)
            error = errors.ServerError()
        code = error.grpc_code if error else grpc.StatusCode.OK
        name = request.model_spec.name
        model = name if name in self.answerer.models.names() else ""
        metrics = self.answerer.metrics
        metrics.request(model, method.__name__, "GRPC", code.name, started)
        if error:
            await context.abort(error.grpc_code, error.text)
        return answer

    return handle


class Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """PredictionService and ModelService; methods missing here answer UNIMPLEMENTED."""

    def __init__(self, answerer: Answerer):
        """Passes requests to `answerer`."""
        self.answerer = answerer

    def add_to(self, server: grpc.aio.Server) -> None:
        """Adds both services to `server`."""
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            self, server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    @_answered
    async def Predict(self, request: Any, context: Any) -> Message:
        """Outputs of a signature, all or those of `output_filter`."""
        wanted = request.output_filter
        answer = await self.answerer.ask(
            _spec(request.model_spec),
            request.model_spec.signature_name,
            functools.partial(_inputs, request),
            self._deadline(context),
        )
        response = predict_pb2.PredictResponse(model_spec=_answered_by(answer))
        for name, tensor in answer.outputs.items():
            if not wanted or name in wanted:
                response.outputs[name].CopyFrom(_as_proto(tensor))
        return response

    @_answered
    async def Classify(self, request: Any, context: Any) -> Message:
        """Classes and scores of Examples."""
        examples = strings(_examples(request.input))
        answer = await self.answerer.ask(
            _spec(request.model_spec),
            request.model_spec.signature_name,
            lambda signature: dict.fromkeys(signature.inputs, examples),
            self._deadline(context),
            is_classify=True,
        )
        spec = _answered_by(answer)
        response = classification_pb2.ClassificationResponse(model_spec=spec)
        labels, scores = json_tensors.classifications(answer.outputs)
        for row in zip(labels.tolist(), scores.tolist(), strict=True):
            entry = response.result.classifications.add()
            for label, score in zip(*row, strict=True):
                entry.classes.add(label=label.decode("utf-8", "replace"), score=score)
        return response

    @_answered
    async def GetModelMetadata(self, request: Any, context: Any) -> Message:
        """Signatures of a version."""
        if not request.metadata_field:
            raise errors.BadRequest(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        if set(request.metadata_field) != {_SIGNATURE_DEF}:
            raise errors.BadRequest("Only metadata_field signature_def is supported")
        return metadata(self.answerer.models, _spec(request.model_spec))

    @_answered
    async def GetModelStatus(self, request: Any, context: Any) -> Message:
        """States of the versions of a model."""
        return status(self.answerer.models, _spec(request.model_spec))

    def _deadline(self, context: Any) -> float:
        """By the clock of the event loop."""
        seconds = float(self.answerer.limits.answer_seconds)
        if (remaining := context.time_remaining()) is not None:
            seconds = min(seconds, remaining)
        return asyncio.get_running_loop().time() + seconds


def metadata(
    models: Any, spec: ModelSpec
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Signatures of the version that `spec` names.

    Raises:
      ServerError: there is no such model, version or label.
    """
    model = models.find(spec)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    response.metadata[_SIGNATURE_DEF].Pack(
        get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
    )
    return response


def status(models: Any, spec: ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
    """States of the versions that `spec` names, newest first.

    Raises:
      ServerError: there is no such model, version or label.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for one in models.statuses(spec):
        entry = response.model_version_status.add(version=one.number, state=one.state)
        entry.status.error_code = one.code.value[0]
        # The message has no other place for a problem with the folder; the code stays OK.
        entry.status.error_message = one.error or models.problem
    return response


def _spec(spec: model_pb2.ModelSpec) -> ModelSpec:
    return ModelSpec(
        name=spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
    )


def _answered_by(answer: Answer) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=answer.name, signature_name=answer.signature_name)
    spec.version.value = answer.version
    return spec


def _inputs(request: predict_pb2.PredictRequest, signature: Any) -> Tensors:
    """The tensors of a request.

    Raises:
      BadRequest: other inputs than the signature's, another dtype, fewer values than the
        shape needs, or an unknown output.
    """
    wanted = request.output_filter
    if not set(wanted) <= set(signature.outputs):
        raise errors.BadRequest(
            "output tensor alias not found in signature. Outputs expected to be in the"
            f" set {{{','.join(sorted(signature.outputs))}}}."
        )
    if len(set(wanted)) != len(wanted):
        raise errors.BadRequest("duplicate output tensor alias")
    if set(request.inputs) != set(signature.inputs):
        raise errors.BadRequest(
            "input size does not match signature: expected the inputs"
            f" {','.join(sorted(signature.inputs))}"
        )
    return {
        name: _as_array(name, tensor, signature.inputs[name].dtype)
        for name, tensor in request.inputs.items()
    }


def _as_array(name: str, tensor: tensor_pb2.TensorProto, dtype: int) -> np.ndarray:
    if tensor.dtype != dtype:
        raise errors.BadRequest(
            f"input {name} must be of type {tf.dtypes.as_dtype(dtype).name}"
        )
    size = math.prod(max(dim.size, 0) for dim in tensor.tensor_shape.dim)
    # TensorFlow repeats the last value: a small message could make a huge tensor.
    if size > max(tensor.ByteSize(), 1) or tensor.tensor_shape.unknown_rank:
        raise errors.BadRequest(f"input {name} has fewer values than its shape")
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise errors.BadRequest(f"input {name} cannot be read") from error


def _examples(given: input_pb2.Input) -> list[bytes]:
    shared = given.example_list_with_context
    context = shared.context.SerializeToString()
    # In concatenated messages the later value of a feature wins.
    return [
        context + example.SerializeToString()
        for example in (*given.example_list.examples, *shared.examples)
    ]


def _as_proto(tensor: np.ndarray) -> tensor_pb2.TensorProto:
    """A tensor; text and float32 in the typed field, like TensorFlow Serving."""
    if tensor.dtype not in (object, np.float32):
        return tf.make_tensor_proto(tensor)
    # This runs on the event loop; `make_tensor_proto` takes five times as long for text.
    shape, values = tf.TensorShape(tensor.shape).as_proto(), tensor.ravel().tolist()
    if tensor.dtype == object:
        return tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=values
        )
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=values
    )
