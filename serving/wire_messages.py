"""The messages of TensorFlow Serving that a client sends and gets, without TensorFlow.

The generated modules `tensorflow_serving.apis` import all of TensorFlow, for the one message
`TensorProto`: four seconds and half a gigabyte. These have the same fields with the same
numbers (a test holds them against the generated ones), so the bytes are the same. They live
in a pool of their own, where they cannot meet the generated ones.

Reference: tensorflow_serving/apis/{model,predict,get_model_status,get_model_metadata}.proto,
tensorflow/core/framework/{tensor,tensor_shape}.proto, tensorflow/core/protobuf/meta_graph.proto.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "slimline.wire"
# DataType of TensorFlow, as far as images and answers need it.
FLOAT = 1
STRING = 7

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "float": _Field.TYPE_FLOAT,
    # Enumerations are numbers on the wire.
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
# Message -> its fields: number, name, type. '*' before a type is repeated, '{}' a map from
# strings. Fields of no use to the client are left out; readers of protocol buffers skip
# what they do not know.
_MESSAGES = {
    "Any": ((1, "type_url", "string"), (2, "value", "bytes")),
    "Int64Value": ((1, "value", "int64"),),
    "Dim": ((1, "size", "int64"), (2, "name", "string")),
    "TensorShapeProto": ((2, "dim", "*Dim"), (3, "unknown_rank", "bool")),
    "TensorProto": (
        (1, "dtype", "int32"),
        (2, "tensor_shape", "TensorShapeProto"),
        (4, "tensor_content", "bytes"),
        (5, "float_val", "*float"),
        (8, "string_val", "*bytes"),
    ),
    "ModelSpec": (
        (1, "name", "string"),
        (2, "version", "Int64Value"),
        (3, "signature_name", "string"),
        (4, "version_label", "string"),
    ),
    "PredictRequest": ((1, "model_spec", "ModelSpec"), (2, "inputs", "{}TensorProto")),
    "PredictResponse": (
        (1, "outputs", "{}TensorProto"),
        (2, "model_spec", "ModelSpec"),
    ),
    "GetModelStatusRequest": ((1, "model_spec", "ModelSpec"),),
    "StatusProto": ((1, "error_code", "int32"), (2, "error_message", "string")),
    "ModelVersionStatus": (
        (1, "version", "int64"),
        (2, "state", "int32"),
        (3, "status", "StatusProto"),
    ),
    "GetModelStatusResponse": ((1, "model_version_status", "*ModelVersionStatus"),),
    "GetModelMetadataRequest": (
        (1, "model_spec", "ModelSpec"),
        (2, "metadata_field", "*string"),
    ),
    "GetModelMetadataResponse": (
        (1, "model_spec", "ModelSpec"),
        (2, "metadata", "{}Any"),
    ),
    "TensorInfo": (
        (1, "name", "string"),
        (2, "dtype", "int32"),
        (3, "tensor_shape", "TensorShapeProto"),
    ),
    "SignatureDef": (
        (1, "inputs", "{}TensorInfo"),
        (2, "outputs", "{}TensorInfo"),
        (3, "method_name", "string"),
        (4, "defaults", "{}TensorProto"),
    ),
    "SignatureDefMap": ((1, "signature_def", "{}SignatureDef"),),
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="slimline/wire.proto", package=PACKAGE, syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, name, kind in fields:
            if kind.startswith("{}"):
                kind = "*" + _add_entry(message, name, kind[2:])
            _add_field(message, number, name, kind)
    return file


def _add_entry(message: Any, name: str, kind: str) -> str:
    """The message that holds a key and value of a map; protocol buffers want it so."""
    entry_name = f"{name.title().replace('_', '')}Entry"
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    _add_field(entry, 1, "key", "string")
    _add_field(entry, 2, "value", kind)
    return f"{message.name}.{entry_name}"


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    is_repeated = kind.startswith("*")
    kind = kind.removeprefix("*")
    field = message.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL,
        type=_SCALARS.get(kind, _Field.TYPE_MESSAGE),
    )
    if kind not in _SCALARS:
        field.type_name = f".{PACKAGE}.{kind}"


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message_class(name: str) -> Any:
    """The class of one of the messages."""
    return message_factory.GetMessageClass(
        _POOL.FindMessageTypeByName(f"{PACKAGE}.{name}")
    )
