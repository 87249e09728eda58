"""Parquet files with encoded images and their classes, as Hugging Face writes them."""

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import containers, fields
from components.image_example_gen.layouts.layout import Answers, Listing
from components.image_example_gen.sources.source import Member, read_data_file

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet",)
BATCH_ROWS = 256
_SUFFIX = ".parquet"


@dataclasses.dataclass(frozen=True)
class ParquetLayout(containers.ContainerLayout):
    """Parquet files with a row an image.

    Attributes:
      image: column with the bytes, or with a struct of `bytes` and `path`.
      label: column with the classes.
      class_names: name of each number; empty where the classes are texts.
      group: column with the groups, '' for none.
    """

    image: str
    label: str
    class_names: tuple[str, ...]
    group: str = ""
    format: str = "parquet"
    channels: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        named = " by the names in the schema" if self.class_names else ""
        return (
            f"Parquet files: '{self.image}' has the images, '{self.label}' the classes{named}",
        )

    @staticmethod
    def is_ours(name: str) -> bool:
        return name.lower().endswith(_SUFFIX)

    def read_file(
        self, member: Member
    ) -> Iterator[records.ImageFile | records.Unreadable]:
        """See base class."""
        import pyarrow as pa

        split = fields.split_of_shard(member.name)
        file = _open(member.name, read_data_file(member))
        if _class_names(file.schema_arrow, self.label) != self.class_names:
            raise DataError(
                f"{member.name} has other names of classes than the first file",
                found=", ".join(_class_names(file.schema_arrow, self.label)[:4]),
                expected=", ".join(self.class_names[:4]),
            )
        number = 0
        try:
            columns = [self.image, self.label, *filter(None, [self.group])]
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    key = f"{member.name}#{number}"
                    number += 1
                    image = row[self.image]
                    data = image.get("bytes") if isinstance(image, dict) else image
                    word = containers.class_of(
                        member.name, row[self.label], self.class_names
                    )
                    if data is None:
                        yield records.Unreadable(
                            key, "the row has no bytes of an image"
                        )
                    else:
                        group = containers.group_of(
                            key, row.get(self.group), self.group
                        )
                        yield records.ImageFile(split, key, word, data, "", group)
        except (pa.ArrowException, KeyError) as error:
            raise DataError(f"{member.name} is damaged: {error}") from error


def find(listing: Listing) -> ParquetLayout | None:
    """The layout of the Parquet files, by the schema of the first.

    Raises:
      ConfigError: several columns may hold the images or the classes.
      DataError: no column does.
    """
    first, data = containers.first_file(ParquetLayout, listing)
    if not first:
        return None
    schema = _open(first, data).schema_arrow
    return _of_schema(first, schema, listing.answers)


def _of_schema(file: str, schema: "pa.Schema", answers: Answers) -> ParquetLayout:
    import pyarrow as pa

    images, labels = [], []
    for field in schema:
        is_struct = pa.types.is_struct(field.type)
        if (
            (is_struct and field.type.get_field_index("bytes") >= 0)
            or pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
        ):
            images.append(field.name)
        elif (
            pa.types.is_integer(field.type)
            or pa.types.is_string(field.type)
            or pa.types.is_large_string(field.type)
            or pa.types.is_dictionary(field.type)
        ):
            labels.append(field.name)
    image = fields.find_image(file, images, answers)
    group = fields.find_group(file, labels, answers)
    labels = [name for name in labels if name != group]
    label = fields.find_label(file, labels, answers)
    return ParquetLayout(image, label, _class_names(schema, label), group)


def _class_names(schema: "pa.Schema", label: str) -> tuple[str, ...]:
    """Name of each number, as `datasets` notes them; () where it does not."""
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    about = noted.get("info", {}).get("features", {}).get(label, {})
    return tuple(about.get("names") or ())


def _open(name: str, data: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise DataError(f"{name} is no Parquet file: {error}") from error
