"""Finds an entry of a table by the name a user wrote, or says which names there are."""

import difflib
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import TypeVar

from common import errors

Entry = TypeVar("Entry")
NEAR = 0.6  # share of letters in common from which on a name is worth suggesting


def find_by_name(table: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """The entry of `table` called `name`; `kind` is the noun for the message.

    Raises:
      ConfigError: there is no such entry. The error lists all names, and the tip names the
        nearest where one is near.
    """
    if name in table:
        return table[name]
    near = nearest(name, table)
    raise errors.ConfigError(
        f"unknown {kind} {name!r}",
        expected="one of " + ", ".join(sorted(table)),
        tip=f"did you mean {near!r}?" if near else "",
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The most similar known name, of equals that with the longest common start, or ''."""

    def likeness(candidate: str) -> tuple[float, int]:
        matcher = difflib.SequenceMatcher(None, name, candidate)
        pairs = zip(name, candidate, strict=False)
        shared_start = takewhile(lambda pair: pair[0] == pair[1], pairs)
        return matcher.ratio(), len(list(shared_start))

    best = max(sorted(known), key=likeness, default="")
    return best if likeness(best)[0] >= NEAR else ""
