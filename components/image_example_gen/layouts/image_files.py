"""Finds image files by the names that tables use for them."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from components.image_example_gen.layouts import split_names
from schema import image_names

# Label Studio puts eight digits in front of the names of uploaded files.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")

# A class, then a number: dog.12, beagle_7, cat (1), cat-3.
_NUMBERED = re.compile(r"(.*[^\W\d_])[ ._-]*\(?\d+\)?")


class ImageFiles:
    """Finds files by path, by the end of a path, or by their name without its ending."""

    def __init__(self, names: Iterable[str]):
        self._names = set(names)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_folded: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            base = posixpath.basename(name)
            self._by_base[base].append(name)
            self._by_stem[posixpath.splitext(base)[0]].append(name)
            self._by_folded[_folded(base)].append(name)

    def find(self, text: str, folder: str) -> tuple[str, ...]:
        """Files that `text` may name, in a table that lies in `folder`; () for none."""
        path = text.replace("\\", "/").strip()
        if not path or path.endswith("/"):
            return ()
        for start in (folder, ""):
            name = posixpath.normpath(posixpath.join(start, path)).lstrip("/")
            if name in self._names:
                return (name,)
        if ".." in path.split("/"):
            return ()
        local = path.partition("?d=")[2]  # in Label Studio's address of a local file
        tails = (path, *map(unquote, (path.split("?")[0], local)))
        for tail in dict.fromkeys(tails):
            if found := self._of_tail(tail):
                return found
        # Capital letters and endings change where files move between systems.
        if image_names.is_image_name(path):
            return _longest(self._by_folded.get(_folded(path), []), path)
        return ()

    def near(self, text: str) -> str:
        """A file that may be meant by the name of a missing one; '' for none.

        Spreadsheets make 7 or 7.0 of 00007.
        """
        key = _folded(text.removesuffix(".0")).lstrip("0")
        names = self._by_folded.items()
        return next((file for name, (file, *_) in names if name.lstrip("0") == key), "")

    def _of_tail(self, path: str) -> tuple[str, ...]:
        base = posixpath.basename(path)
        uploaded = _UPLOADED.sub("", base, count=1)
        for known, name in (
            (self._by_base, base),
            (self._by_stem, base),
            (self._by_base, uploaded),
        ):
            if found := known.get(name):
                return _longest(found, path)
        return ()


def class_of(name: str) -> str:
    """Text before the number in a file name, 'dog' in dog.12.jpg; '' for none."""
    match = _NUMBERED.fullmatch(posixpath.splitext(posixpath.basename(name))[0])
    return match[1] if match else ""


def classes_in_names(images: Sequence[str]) -> list[str]:
    """Classes that the names hold, sorted; [] unless there are several for more images."""
    found = sorted({text for name in images if (text := class_of(name))})
    return found if 1 < len(found) < len(images) else []


def narrow(found: Sequence[tuple[str, ...]], split: str) -> list[str] | None:
    """The one file of each row, where rows fit several.

    Those are meant that lie in the only folder to have a file for every such row, or in
    the folder of the table's own split.

    Returns:
      A name a row, '' where there is none; None where several files fit.
    """
    several = [row for row in found if len(row) > 1]
    if not several:
        return [row[0] if row else "" for row in found]
    common = set.intersection(
        *({posixpath.dirname(name) for name in row} for row in several)
    )
    if len(common) > 1 and split:
        common = {
            folder
            for folder in common
            if split_names.of_path(folder.split("/"), {}) == split
        }
    if len(common) != 1:
        return None
    (folder,) = common
    chosen = []
    for row in found:
        inside = [name for name in row if posixpath.dirname(name) == folder]
        if len(inside or row) > 1:
            return None
        chosen.append((inside or row or ("",))[0])
    return chosen


def _longest(names: list[str], path: str) -> tuple[str, ...]:
    """Those of `names` that share most of the end of `path`."""
    if len(names) < 2:
        return tuple(names)
    wanted = posixpath.splitext(path)[0].split("/")[::-1]
    shared = {
        name: len(
            posixpath.commonprefix(
                [posixpath.splitext(name)[0].split("/")[::-1], wanted]
            )
        )
        for name in names
    }
    most = max(shared.values())
    return tuple(name for name in names if shared[name] == most)


def has_other_spelling(text: str, name: str) -> bool:
    """Whether a cell names a file with other capital letters or another ending."""
    base, wanted = posixpath.basename(name), posixpath.basename(text.replace("\\", "/"))
    is_same = _folded(base) == _folded(wanted) and image_names.is_image_name(wanted)
    return base != wanted and is_same


def _folded(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0].casefold()
