"""Class folders with lists of paths for the splits: Food-101, SUN397 and their like."""

import posixpath
import re
from collections import defaultdict

from common.errors import ConfigError, DataError
from components.image_example_gen.layouts import folders, image_files, split_names
from components.image_example_gen.layouts.layout import (
    AUTO,
    Listing,
    question,
    splits_setting,
)
from components.image_example_gen.layouts.listed import Entry, FileLayout, left_out

MAX_LISTS = 50
_MAX_ANSWERS = 4


def find(listing: Listing) -> FileLayout | None:
    """Layout where files such as train.txt list paths, a path per line, and folders the class.

    Raises:
      ConfigError: an image is in the lists of two splits, or the folders may be no classes.
      DataError: a list names images that are not there.
    """
    given = dict(listing.answers.splits)
    lists = {
        name: split
        for name in sorted(listing.names)
        if name.lower().endswith(".txt")
        and (split := given.get(posixpath.basename(name)) or _split_of(name))
    }
    if not lists or len(lists) > MAX_LISTS or listing.answers.class_from != AUTO:
        return None
    images = image_files.ImageFiles(listing.listable)
    listed: dict[str, tuple[str, str]] = {}
    for file, paths in listing.lines(list(lists)).items():
        folder = posixpath.dirname(file)
        found = [images.find(path, folder) for path in paths.values()]
        if not found or not found[0]:
            return None
        missing = sum(len(row) != 1 for row in found)
        if missing:
            raise DataError(
                f"{missing:,} paths in {file} name no image, or several",
                expected="a path of an image a line",
            )
        for (name,) in found:
            split, other = listed.setdefault(name, (lists[file], file))
            if split != lists[file]:
                raise _in_two_splits(name, file, other, list(lists))
    classes = folders.classes_of(listing)
    if listed and not classes:
        folders.find(listing)  # says why the folders are no classes
    if not all(name in classes for name in listed):
        return None
    entries: dict[str, tuple[Entry, ...]] = {
        name: (Entry(split, classes[name]),) for name, (split, _) in listed.items()
    }
    text = ", ".join(f"{file} lists {split}" for file, split in lists.items())
    return FileLayout(
        format="path_lists",
        words=(
            f"a folder per class, and lists of paths for the splits: {text}",
            *left_out(len(listing.listable) - len(entries)),
        ),
        files=tuple(lists),
        entries=entries,
    )


def _split_of(name: str) -> str:
    return split_names.split_of(posixpath.splitext(posixpath.basename(name))[0])


def _in_two_splits(name: str, file: str, other: str, lists: list[str]) -> ConfigError:
    groups: dict[str, list[str]] = defaultdict(list)
    for path in lists:
        base = posixpath.basename(path)
        groups[re.sub(r"\D", "", base)].append(base)
    is_numbered = len(groups) > 1  # partitions, as SUN397's
    if not is_numbered:
        groups = {path: [posixpath.basename(path)] for path in (file, other)}
    answers = []
    for kept, bases in list(groups.items())[:_MAX_ANSWERS]:
        others = [base for key in groups if key != kept for base in groups[key]]
        text = f"reads {', '.join(bases)}" if is_numbered else f"leaves {others[0]} out"
        answers.append(f"{splits_setting(dict.fromkeys(others, 'none'))} ({text})")
    return question(
        f"{name} is in the lists of two splits",
        found=f"{other} and {file}, of {len(lists)} lists",
        answers=answers,
    )
