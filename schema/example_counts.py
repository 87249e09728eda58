"""Examples that were read against those that were ingested."""

from collections.abc import Mapping

from common.errors import DataError
from schema.spelling import listed

MAX_NAMED = 3


def refuse_difference(
    split: str, read: Mapping[str, int], ingested: Mapping[str, int]
) -> None:
    """Raises DataError where the numbers of a split differ in any class.

    Args:
      split: its name.
      read: class -> number of examples; 0 need not be named.
      ingested: the same, as ingest counted; {} where unknown.
    """
    differing = sorted(
        name
        for name in read.keys() | ingested.keys()
        if read.get(name, 0) != ingested.get(name, 0)
    )
    if not ingested or not differing:
        return
    named = [
        f"class '{name}': {read.get(name, 0):,} of {ingested.get(name, 0):,}"
        for name in differing
    ]
    raise DataError(
        f"{sum(ingested.values()):,} examples of {split} were ingested,"
        f" {sum(read.values()):,} were read",
        found=listed(named, MAX_NAMED),
        tip="--no-cache ingests them again",
    )
