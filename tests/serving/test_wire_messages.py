import pytest
from google.protobuf import any_pb2, wrappers_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    status_pb2,
)

from serving import server_answers, wire_messages

GENERATED = {
    "Any": any_pb2.Any,
    "Int64Value": wrappers_pb2.Int64Value,
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "StatusProto": status_pb2.StatusProto,
    "ModelVersionStatus": get_model_status_pb2.ModelVersionStatus,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
}


def test_every_message_is_compared():
    assert set(GENERATED) == set(wire_messages._MESSAGES)


@pytest.mark.parametrize("name", GENERATED)
def test_fields_are_those_of_the_generated_messages(name):
    ours = wire_messages.message_class(name).DESCRIPTOR
    for field in ours.fields:
        assert_same(field, GENERATED[name].DESCRIPTOR.fields_by_name[field.name])


def assert_same(ours, theirs):
    """Same number, kind and form on the wire; packing is the default of proto3."""
    assert (ours.number, ours.label) == (theirs.number, theirs.label), ours.full_name
    if theirs.type == theirs.TYPE_ENUM:
        assert ours.type == ours.TYPE_INT32
    else:
        assert ours.type == theirs.type, ours.full_name
    if theirs.message_type is None:
        return
    is_map = theirs.message_type.GetOptions().map_entry
    assert ours.message_type.GetOptions().map_entry == is_map
    if is_map:
        for part in ("key", "value"):
            assert_same(
                ours.message_type.fields_by_name[part],
                theirs.message_type.fields_by_name[part],
            )
    else:
        assert ours.message_type.name == theirs.message_type.name


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


def test_states_are_those_of_the_generated_enumeration():
    states = get_model_status_pb2.ModelVersionStatus.State
    expected = {number: name for name, number in states.items() if number}
    assert expected == server_answers.STATES
