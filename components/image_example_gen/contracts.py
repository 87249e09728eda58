"""Makes a dataset's contract: the schema that its Examples must keep."""

import unicodedata
from collections.abc import Iterable

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.errors import DataError
from schema import features
from schema.contract import Contract

MAX_NAMED = 5
# Unicode: control, surrogate, line separator, paragraph separator.
_UNFIT = frozenset(("Cc", "Cs", "Zl", "Zp"))
_CLASS_DOMAIN = "class"
_FORMAT_DOMAIN = "format"
_HEADER = """\
# The contract of a data set. An image that breaks it stops the run before training.
# The string domain '{domain}' lists the classes in label order, as labels.txt does; each
# must have an image in train.
"""


def write_contract(
    labels: tuple[str, ...],
    *,
    formats: tuple[str, ...],
    height_px: tuple[int, int],
    width_px: tuple[int, int],
) -> Contract:
    """Contract of a dataset.

    Every feature is required, once an Example, as a scalar. An unknown class is an anomaly,
    as are sizes out of range and formats not listed. That train has every class is
    ExampleValidator's own rule: a schema could only ask it of every split alike.

    Args:
      labels: class names in label order.
      formats: 'jpeg' and 'png', whichever occur.
      height_px: smallest and largest height. width_px: the same for widths.

    Raises:
      DataError: a class has a name that `labels.txt` cannot hold.
    """
    if bad := unfit_labels(labels):
        raise DataError(
            f"{len(bad)} class names are blank or hold control characters or line breaks",
            found=", ".join(ascii(label) for label in bad[:MAX_NAMED]),
            expected="names of one line, with at least one visible character",
            tip="rename the folders, or fix the labels in the table",
        )
    schema = schema_pb2.Schema()
    schema.string_domain.add(name=_FORMAT_DOMAIN, value=formats)
    schema.string_domain.add(name=_CLASS_DOMAIN, value=labels)
    # An image domain, else statistics would try to read the bytes as text. It names no
    # share of decodable images: ingest has judged them, and TFDV would decode all again.
    encoded = _add(schema, features.ENCODED, schema_pb2.BYTES)
    encoded.image_domain.SetInParent()
    _add(schema, features.FORMAT, schema_pb2.BYTES).domain = _FORMAT_DOMAIN
    for name, (smallest, largest) in (
        (features.HEIGHT, height_px),
        (features.WIDTH, width_px),
        (features.LABEL, (0, len(labels) - 1)),
    ):
        feature = _add(schema, name, schema_pb2.INT)
        feature.int_domain.min, feature.int_domain.max = smallest, largest
    _add(schema, features.TEXT, schema_pb2.BYTES).domain = _CLASS_DOMAIN
    _add(schema, features.KEY, schema_pb2.BYTES)
    header = _HEADER.format(domain=_CLASS_DOMAIN)
    return Contract(header + text_format.MessageToString(schema, as_utf8=True), labels)


def unfit_labels(labels: Iterable[str]) -> list[str]:
    """Names that no line of `labels.txt` can hold.

    They are blank, or hold control characters, line or paragraph separators, or bytes that
    are not UTF-8.
    """
    return [
        label
        for label in labels
        if not label.strip()
        or any(unicodedata.category(character) in _UNFIT for character in label)
    ]


def _add(schema: schema_pb2.Schema, name: str, kind: int) -> schema_pb2.Feature:
    feature = schema.feature.add(name=name, type=kind)
    feature.presence.min_fraction = 1.0
    feature.presence.min_count = 1
    feature.shape.SetInParent()  # no dimensions: a scalar
    return feature
