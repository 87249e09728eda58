"""Parquet files with encoded images and their classes, as Hugging Face writes them."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from components.image_example_gen import records
from components.image_example_gen.layouts import fields
from components.image_example_gen.layouts.layout import Answers, Listing
from components.image_example_gen.sources.source import Member, read_data_file
from schema import image_names
from schema.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet",)
BATCH_ROWS = 256
_SUFFIX = ".parquet"


@dataclasses.dataclass(frozen=True)
class ParquetLayout:
    """Parquet files with a row an image.

    Attributes:
      image: column with the bytes, or with a struct of `bytes` and `path`.
      label: column with the classes.
      class_names: name of each number; empty where the classes are texts.
    """

    image: str
    label: str
    class_names: tuple[str, ...]
    format: str = "parquet"
    channels: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        named = " by the names in the schema" if self.class_names else ""
        return (
            f"Parquet files: '{self.image}' has the images, '{self.label}' the classes{named}",
        )

    def used(self) -> frozenset[str]:
        return frozenset()

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: a file each."""
        return [(name,) for name in names if _is_ours(name)]

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.ImageFile | records.Unreadable | records.Ignored]:
        """The images in the files among `members`.

        Raises:
          DataError: a file is damaged, or has not the columns of the first.
        """
        for member in members:
            if _is_ours(member.name):
                yield from self._read(member)
            else:
                yield records.Ignored(member.name)

    def _read(self, member: Member) -> Iterator[records.ImageFile | records.Unreadable]:
        import pyarrow as pa

        split = fields.split_of_shard(member.name)
        file = _open(member.name, read_data_file(member))
        number = 0
        try:
            for batch in file.iter_batches(
                BATCH_ROWS, columns=[self.image, self.label]
            ):
                for row in batch.to_pylist():
                    key = f"{member.name}#{number}"
                    number += 1
                    image = row[self.image]
                    data = image.get("bytes") if isinstance(image, dict) else image
                    word = self._word(member.name, row[self.label])
                    if data is None:
                        yield records.Unreadable(
                            key, "the row has no bytes of an image"
                        )
                    else:
                        yield records.ImageFile(split, key, word, data, "")
        except (pa.ArrowException, KeyError) as error:
            raise DataError(f"{member.name} is damaged: {error}") from error

    def _word(self, file: str, label: Any) -> str:
        if not self.class_names:
            return str(label)
        if not isinstance(label, int) or not 0 <= label < len(self.class_names):
            raise DataError(
                f"{file} has the class number {label}",
                expected=f"0 to {len(self.class_names) - 1}",
            )
        return self.class_names[label]


def find(listing: Listing) -> ParquetLayout | None:
    """The layout of the Parquet files, by the schema of the first.

    Raises:
      ConfigError: several columns may hold the images or the classes.
      DataError: no column does.
    """
    names = sorted(name for name in listing.names if _is_ours(name))
    if not names or listing.images:
        return None
    first = names[0]
    schema = _open(first, listing.read([first])[first]).schema_arrow
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
        ):
            labels.append(field.name)
    image = fields.find_image(file, images, answers)
    label = fields.find_label(file, labels, answers)
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    about = noted.get("info", {}).get("features", {}).get(label, {})
    return ParquetLayout(image, label, tuple(about.get("names") or ()))


def _open(name: str, data: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise DataError(f"{name} is no Parquet file: {error}") from error


def _is_ours(name: str) -> bool:
    return name.lower().endswith(_SUFFIX) and not image_names.is_litter(name)
