"""How names are spelled and listed, and names that people cannot tell apart."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from common.errors import DataError

# Letters that look like Latin ones, with those they look like.
_LIKE_LATIN = str.maketrans(
    "АВЕЅІЈКМНОРСТХаеѕіјорсухԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοıɡ",
    "ABESIJKMHOPCTXaesijopcyxdqwABEZHIKMNOPTYXoig",
)
# What stands for a blank between two words: hot_dog, hot-dog.
_JOINED = re.compile(r"(?<=[^\W\d_])[_-](?=[^\W\d_])")
_VARIANTS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """'a, b, c'; after `most` names the number of those left out."""
    more = len(names) - most
    text = separator.join(names[:most])
    end = " and" if separator == ", " else f"{separator}and"
    return f"{text}{end} {more:,} more" if more > 0 else text


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text, as a set: long lists read better in lines than a word a line."""
    return frozenset(text.split())


def normalise(name: str) -> str:
    """The name in NFC, in which names are compared and stored."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spell_out(name: str) -> str:
    """The name with its code points: `'café' (c a f U+00E9)`; ASCII alone is plain."""
    if name.isascii():
        return f"'{name}'"
    letters = (
        letter if "!" <= letter <= "~" else f"U+{ord(letter):04X}" for letter in name
    )
    return f"'{name}' ({' '.join(letters)})"


def look_alikes(first: str, second: str) -> DataError:
    """Error for two names that people cannot tell apart."""
    return DataError(
        "two names look alike",
        found=f"{spell_out(first)} and {spell_out(second)}",
        expected="names that people can tell apart",
        tip="rename one, or put the images of both into one folder",
    )


def check_classes(labels: Iterable[str]) -> None:
    """Checks that no two classes look alike.

    Compared are the names without capital letters, blanks around them, invisible
    characters, and differences of width or script, with blanks for `_` and `-` in them. Names of a single letter may differ in
    any of that: `A` and `a` are two classes of handwriting.

    Raises:
      DataError: two of them do; with the code points of both.
    """
    known: dict[str, str] = {}
    for label in labels:
        first = known.setdefault(_skeleton(label), label)
        if first != label:
            raise look_alikes(first, label)


def _skeleton(label: str) -> str:
    name = normalise(label)
    if len(name) == 1:
        return name
    folded = unicodedata.normalize("NFKC", name).translate(_LIKE_LATIN).casefold()
    visible = (letter for letter in folded if not _is_invisible(letter))
    return " ".join(_JOINED.sub(" ", "".join(visible)).split())


def _is_invisible(letter: str) -> bool:
    """Whether it is a format character, as the zero-width space, or picks a variant."""
    return unicodedata.category(letter) == "Cf" or letter in _VARIANTS
