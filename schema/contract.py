"""A dataset's contract: its curated schema and the order of its classes.

A contract is a folder with `schema.pbtxt` (a TFMD schema that pins feature types, image
domain and class names) and `labels.txt` (a class name a line, in label order). The string
domain of `image/class/text` in the schema lists the same names in the same order, so the
schema alone carries the classes through the pipeline.
"""

import dataclasses
import pathlib

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.errors import ConfigError, DataError
from schema import features, spelling
from storage import durable

ROOT = pathlib.Path(__file__).parent
SCHEMA_FILE = "schema.pbtxt"
LABELS_FILE = "labels.txt"
BROKEN_TIP = (
    "fix the data; if the contract is out of date, write it again with"
    " `slimline data init PATH --force` and review the difference"
)


@dataclasses.dataclass(frozen=True)
class Contract:
    """Schema and class names of one dataset.

    Attributes:
      schema_pbtxt: the TFMD schema as text.
      labels: class names; the index of a name is its `image/class/label`.
    """

    schema_pbtxt: str
    labels: tuple[str, ...]


def names() -> list[str]:
    """Datasets whose contract comes with the package, sorted."""
    return sorted(path.parent.name for path in ROOT.glob(f"*/{SCHEMA_FILE}"))


def find(name_or_folder: str) -> pathlib.Path:
    """Folder of a packaged contract by name, or of a user's contract by path.

    Raises:
      ConfigError: neither a packaged dataset nor a folder with `schema.pbtxt`.
    """
    packaged = ROOT / name_or_folder
    if name_or_folder in names():
        return packaged
    folder = pathlib.Path(name_or_folder).expanduser()
    if (folder / SCHEMA_FILE).is_file():
        return folder
    raise ConfigError(
        f"no data contract in '{name_or_folder}'",
        expected=f"{SCHEMA_FILE} and {LABELS_FILE} there, or one of {', '.join(names())}",
        tip="slimline data init PATH writes both after a look at the data",
    )


def load(folder: pathlib.Path) -> Contract:
    """Contract in `folder`.

    Raises:
      DataError: a file is missing or unreadable, or the two disagree about the classes.
    """
    schema_pbtxt = _read(folder / SCHEMA_FILE)
    names = tuple(
        line.rstrip("\r")
        for line in _read(folder / LABELS_FILE).split("\n")
        if line.strip()
    )
    labels = labels_of(parse_schema(schema_pbtxt, str(folder / SCHEMA_FILE)))
    if names != labels:
        raise DataError(
            f"{LABELS_FILE} and {SCHEMA_FILE} in {folder} disagree about the classes",
            found=f"{len(names)} classes in {LABELS_FILE}: {spelling.listed(names)};"
            f" {len(labels)} in {SCHEMA_FILE}: {spelling.listed(labels)}",
            expected="the same names in the same order",
        )
    return Contract(schema_pbtxt, labels)


def save(contract: Contract, folder: pathlib.Path) -> None:
    """Writes both files of `contract` into `folder`, which is made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = "".join(f"{label}\n" for label in contract.labels)
    durable.write_text(folder / LABELS_FILE, labels)
    # Last: a folder with a schema counts as a contract.
    durable.write_text(folder / SCHEMA_FILE, contract.schema_pbtxt)


def parse_schema(schema_pbtxt: str, origin: str) -> schema_pb2.Schema:
    """Schema proto from its text; `origin` names it in the DataError of a bad one."""
    try:
        return text_format.Parse(schema_pbtxt, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise DataError(f"{origin} is not a TFMD schema: {error}") from error


def labels_of(schema: schema_pb2.Schema) -> tuple[str, ...]:
    """Class names in label order: the string domain of `image/class/text`."""
    domains = {domain.name: domain for domain in schema.string_domain}
    for feature in schema.feature:
        if feature.name == features.TEXT:
            domain = (
                domains[feature.domain] if feature.domain else feature.string_domain
            )
            return tuple(domain.value)
    raise DataError(f"the schema has no feature '{features.TEXT}'")


def read_labels(schema_file: pathlib.Path) -> tuple[str, ...]:
    """Class names in label order, from the file of a schema.

    Raises:
      DataError: it is unreadable, or no schema with classes.
    """
    return labels_of(parse_schema(_read(schema_file), str(schema_file)))


def _read(path: pathlib.Path) -> str:
    try:
        return spelling.normalise(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
