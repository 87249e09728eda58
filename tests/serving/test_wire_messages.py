import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from serving import wire_messages

GENERATED = [
    predict_pb2.PredictRequest,
    predict_pb2.PredictResponse,
    get_model_status_pb2.GetModelStatusRequest,
    get_model_status_pb2.GetModelStatusResponse,
    get_model_metadata_pb2.GetModelMetadataRequest,
    get_model_metadata_pb2.GetModelMetadataResponse,
    get_model_metadata_pb2.SignatureDefMap,
]


@pytest.mark.parametrize("theirs", GENERATED)
def test_messages_are_the_generated_ones_in_a_pool_of_their_own(theirs):
    ours = wire_messages.message_class(theirs.DESCRIPTOR.name)
    assert ours is not theirs
    assert ours.DESCRIPTOR.file.pool is not theirs.DESCRIPTOR.file.pool
    assert ours.DESCRIPTOR.file.serialized_pb == theirs.DESCRIPTOR.file.serialized_pb


def test_bytes_are_the_same():
    ours = wire_messages.message_class("PredictRequest")()
    theirs = predict_pb2.PredictRequest()
    for request in (ours, theirs):
        request.model_spec.name = "colours"
        request.model_spec.version.value = 2**62
        request.inputs["images"].dtype = wire_messages.STRING
        request.inputs["images"].tensor_shape.dim.add(size=2)
        request.inputs["images"].string_val.extend([b"\x00\xff", b""])
        request.inputs["other"].float_val.extend([0.5, 0.25])
    assert predict_pb2.PredictRequest.FromString(ours.SerializeToString()) == theirs
