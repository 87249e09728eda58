"""Parquet files with encoded images and their classes, as Hugging Face writes them."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import containers
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.sources.source import Member, read_data_file

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 256


class ParquetLayout(containers.RecordLayout):
    """Parquet files with a row per image.

    The images are bytes, or structs of `bytes` and `path`. All files name their classes
    alike.
    """

    FORMAT = "parquet"
    NAME = re.compile(r".*\.parquet", re.IGNORECASE)

    def read_file(
        self, member: Member
    ) -> Iterator[records.ImageFile | records.Unreadable]:
        import pyarrow as pa

        split = containers.split_of_shard(member.name)
        file = _open(member.name, read_data_file(member))
        class_names = _class_names(file.schema_arrow, self.label)
        if class_names != self.class_names:
            raise DataError(
                f"{member.name} has other names of classes than the first file",
                found=", ".join(class_names[:4]),
                expected=", ".join(self.class_names[:4]),
            )
        columns = [self.image, self.label, *filter(None, [self.group])]
        batches = file.iter_batches(BATCH_ROWS, columns=columns)
        try:
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows):
                key = f"{member.name}#{number}"
                image = row[self.image]
                data = image.get("bytes") if isinstance(image, dict) else image
                if data is None:
                    yield records.Unreadable(key, "the row has no bytes of an image")
                else:
                    label, group = row[self.label], row.get(self.group)
                    yield self.image_file(split, key, data, label, group)
        except (pa.ArrowException, KeyError) as error:
            raise DataError(f"{member.name} is damaged: {error}") from error


def find(listing: Listing) -> ParquetLayout | None:
    """The layout of the Parquet files, by the schema of the first.

    Raises:
      ConfigError: several columns may hold the images or the classes.
      DataError: no column does.
    """
    member = ParquetLayout.first(listing)
    if not member:
        return None
    import pyarrow as pa

    schema = _open(member.name, read_data_file(member)).schema_arrow
    types = pa.types
    encoded = (types.is_binary, types.is_large_binary)
    texts = (types.is_string, types.is_large_string, types.is_dictionary)
    images, labels = [], []
    for field in schema:
        is_struct = types.is_struct(field.type)
        has_bytes = is_struct and field.type.get_field_index("bytes") >= 0
        if has_bytes or any(is_kind(field.type) for is_kind in encoded):
            images.append(field.name)
        elif any(is_kind(field.type) for is_kind in (types.is_integer, *texts)):
            labels.append(field.name)
    image, label, group = containers.choose_fields(
        member.name, images, labels, listing.answers
    )
    class_names = _class_names(schema, label)
    named = " by the names in the schema" if class_names else ""
    return ParquetLayout(
        format=ParquetLayout.FORMAT,
        words=(
            f"Parquet files: '{image}' has the images, '{label}' the classes{named}",
        ),
        image=image,
        label=label,
        group=group,
        class_names=class_names,
    )


def _class_names(schema: "pa.Schema", label: str) -> tuple[str, ...]:
    """Class name of each number, from the metadata of `datasets`; () without them."""
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
