"""Checks of member names: unsafe names, duplicates, and two spellings of one name."""

import pathlib
import unicodedata

from common.errors import DataError
from components.image_example_gen.sources import limits
from schema import spelling

MAX_NAME_CHARACTERS = 1024
MAX_PART_CHARACTERS = 255
# Marks that change the order in which a name is displayed.
_DIRECTION_MARKS = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def is_top(name: str) -> bool:
    """Whether a folder is the archive's own, as `tar -cf data.tar .` writes it first."""
    return set(name.split("/")) <= {"", "."} and name.startswith(".")


def check_name(name: str, archive: pathlib.Path) -> str:
    """`name` without a leading './', if it is one that can be trusted as a path.

    Raises:
      DataError: it is empty, absolute, climbs ('..'), too long, or holds backslashes,
        control characters or marks that reverse the reading direction.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    reason = ""
    if not parts:
        reason = "an empty name"
    elif name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        reason = "an absolute name"
    elif ".." in parts:
        reason = "a name that leaves its folder"
    elif "\\" in name:
        reason = "a name with a backslash"
    elif is_odd(name):
        reason = "a name with control characters"
    elif len(name) > MAX_NAME_CHARACTERS or max(map(len, parts)) > MAX_PART_CHARACTERS:
        reason = "an overlong name"
    if reason:
        raise DataError(
            f"{archive.name} holds {reason}: {ascii(name)[:120]}",
            expected="plain relative paths",
            tip="pack the folder again; nothing was unpacked",
        )
    return "/".join(parts)


def is_odd(name: str) -> bool:
    """Whether a name holds control characters, surrogates or direction marks."""
    if name.isascii():
        return not name.isprintable()
    return any(
        unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTION_MARKS
        for letter in name
    )


class Spellings:
    """The names of a source in NFC; two spellings of one name are refused."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def add(self, name: str) -> str:
        """`name` in NFC.

        Raises:
          DataError: it, or a folder above it, was there in another spelling.
        """
        if name.isascii():
            return name
        normalised = spelling.normalise(name)
        given_parts, parts = name.split("/"), normalised.split("/")
        for count in range(1, len(parts) + 1):
            given = "/".join(given_parts[:count])
            first = self._given.setdefault("/".join(parts[:count]), given)
            if first != given:
                # The folders above are equal: the loop has passed them.
                raise spelling.look_alikes(
                    first.rpartition("/")[2], given.rpartition("/")[2]
                )
        return normalised


class SeenNames:
    """Counts members and refuses a name that was there before, in any spelling."""

    def __init__(self, archive: pathlib.Path):
        self._archive = archive
        self._count = 0
        self._seen: set[str] = set()
        self._spellings = Spellings()

    def count(self) -> None:
        """Counts a member without a name of its own, such as a folder."""
        self._count += 1
        limits.LIMITS.check_count(self._count, self._archive)

    def add(self, name: str) -> str:
        """Counts a file, and gives its name in NFC.

        Raises:
          DataError: there are too many members, or one of that name was there.
        """
        self.count()
        normalised = self._spellings.add(name)
        folded = normalised.casefold()
        if folded in self._seen:
            raise DataError(
                f"{self._archive.name} holds {name} twice",
                expected="every name once, capital letters and accents not counting",
                tip="pack the folder again",
            )
        self._seen.add(folded)
        return normalised
