"""The files of a batch inference: those of folders, patterns and lists, in a fixed order."""

import codecs
import dataclasses
import fnmatch
import glob
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from common.errors import DataError, os_errors_as
from schema import file_tree, image_names

LIST_SUFFIX = ".txt"
ANY_DEPTH = "**"
NO_FILE = -1  # size of a path that is no regular file, or does not exist
MAX_NAMED = 3
_DETOUR = re.compile(r"(^|/)\.?(/|$)")


class File(NamedTuple):
    """A file to classify."""

    path: str  # as given or found; names that are not UTF-8 have surrogates, as in `os`
    size_bytes: int  # NO_FILE if it is no regular file
    changed_ns: int  # time of the last change; 0 if it is no regular file


@dataclasses.dataclass
class Listing:
    """The files that were found."""

    # Sorted by the bytes of their paths, each path once.
    files: list[File] = dataclasses.field(default_factory=list)
    # Folders that could not be listed, with the reason.
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ignored: int = 0  # files in folders that are hidden or have no image suffix


def find(
    words: Sequence[str],
    is_left_out: Callable[[str], bool] = lambda path: False,
    report: Callable[[int], None] = lambda files: None,
) -> Listing:
    """All files that `words` name.

    Args:
      words: each a folder (image files in it, at any depth), a pattern ('photos/*.jpg',
        'photos/**/*.jpg': files of any name), a list (NAME.txt: one path a line, or
        separated by NUL characters; relative to the list's folder) or a file. An existing
        path takes precedence over a pattern. Hidden names are left out; links are
        followed, except those to a folder above them.
      is_left_out: takes a path, returns whether to leave it out.
      report: called with the number of files found so far.

    Raises:
      DataError: a word names nothing, or no file is found.
    """
    listing = Listing()
    files: dict[str, File] = {}
    for word in words:
        for file in _named_by(word, listing):
            if not is_left_out(file.path):
                files[file.path] = file
                report(len(files))
    listing.files = sorted(files.values(), key=lambda file: os.fsencode(file.path))
    listing.unreadable.sort()
    if not listing.files:
        raise _nothing_found(words, listing)
    return listing


def _named_by(word: str, listing: Listing) -> Iterator[File]:
    status = _status(word) if word else None
    if status and stat.S_ISDIR(status.st_mode):
        return _walk(word, listing, _is_image)
    if status and word.lower().endswith(LIST_SUFFIX):
        return _from_list(word)
    if os.path.lexists(word):
        return iter([_file(_normal(word))])
    if glob.has_magic(word):
        return _matching(word, listing)
    raise DataError(
        f"there is no '{word}'",
        expected="a folder, a pattern, a list (NAME.txt) or an image file",
    )


def _is_image(kind: file_tree.Kind, parts: Sequence[str]) -> bool:
    """Whether a file of a folder is listed; a broken link may lead to an image."""
    if kind is file_tree.Kind.FILE:
        return image_names.is_image_name(parts[-1])
    return kind is file_tree.Kind.BROKEN


def _matching(pattern: str, listing: Listing) -> Iterator[File]:
    parts = pathlib.PurePath(pattern).parts
    first = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    folder, wanted = str(pathlib.PurePath(*parts[:first])), parts[first:]
    if not pathlib.Path(folder).is_dir():
        raise DataError(
            f"there is no folder '{folder}'", found=f"the pattern {pattern}"
        )

    def is_wanted(kind: file_tree.Kind, parts: Sequence[str]) -> bool:
        return kind is not file_tree.Kind.LITTER and _fits(parts, wanted)

    ignored = listing.ignored
    depth = None if ANY_DEPTH in wanted else len(wanted)
    yield from _walk(folder, listing, is_wanted, depth)
    # Files that do not match a pattern do not count as ignored.
    listing.ignored = ignored


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == ANY_DEPTH:
        rests = range(len(parts) + 1)
        return any(_fits(parts[rest:], pattern[1:]) for rest in rests)
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], pattern[0])
        and _fits(parts[1:], pattern[1:])
    )


def _walk(
    folder: str,
    listing: Listing,
    is_wanted: Callable[[file_tree.Kind, Sequence[str]], bool],
    depth: int | None = None,
) -> Iterator[File]:
    """Files below `folder` whose kind and path from there, in parts, are wanted.

    `listing` gets the folders that cannot be read and the number of ignored files.
    """
    start = str(pathlib.PurePath(folder))
    prefix = "" if start == "." else os.path.join(start, "")  # noqa: PTH118
    for kind, name, reason in file_tree.walk(start, depth):
        path = prefix + name if name else start
        if kind is file_tree.Kind.CLOSED:
            listing.unreadable.append((path, reason))
        elif is_wanted(kind, name.split("/")):
            yield _file(path)
        else:
            listing.ignored += 1


def _file(path: str) -> File:
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return File(path, NO_FILE, 0)
    return File(path, status.st_size, status.st_mtime_ns)


def _status(path: str) -> os.stat_result | None:
    """Status of a path, links followed; None if it leads nowhere."""
    try:
        return os.stat(path)  # noqa: PTH116, pathlib takes three times as long
    except (OSError, ValueError):
        return None


def _from_list(name: str) -> Iterator[File]:
    with os_errors_as(DataError, f"cannot read {name}"):
        data = pathlib.Path(name).read_bytes().removeprefix(codecs.BOM_UTF8)
    if b"\0" in data:
        lines = data.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
        lines = [line for line in lines if line.strip()]
    folder = os.path.dirname(name)  # noqa: PTH120
    for line in filter(None, lines):
        yield _file(_normal(os.path.join(folder, os.fsdecode(line))))  # noqa: PTH118


def _normal(path: str) -> str:
    """'a.png' for './a.png', so that a file has one name."""
    return str(pathlib.PurePath(path)) if _DETOUR.search(path) else path


def _nothing_found(words: Sequence[str], listing: Listing) -> DataError:
    reasons = [f"{path}: {reason}" for path, reason in listing.unreadable]
    if listing.ignored:
        reasons.append(f"{listing.ignored:,} other files")
    return DataError(
        f"no images in {', '.join(words[:MAX_NAMED])}"
        + (f" and {len(words) - MAX_NAMED:,} more" if len(words) > MAX_NAMED else ""),
        found="; ".join(reasons[:MAX_NAMED]),
        expected="image files by their names (.jpg, .png, ...); a pattern or a list"
        " takes files of any name",
    )
