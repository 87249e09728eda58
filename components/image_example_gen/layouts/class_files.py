"""Names of classes, from a file that lists them beside their numbers or ids."""

import dataclasses
import posixpath
import re
from collections import Counter

from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import FileLayout
from schema.spelling import vocabulary

_STEMS = vocabulary(
    "classes class_names classnames labels label_names names categories label_map "
    "class-descriptions class_descriptions class-descriptions-boxable "
    "loc_synset_mapping synset_words words"
)
_SUFFIXES = (".txt", ".csv", ".names")
# Ids of Open Images and of WordNet, by which ImageNet calls its classes.
_ID = re.compile(r"/m/.*|n\d{8}")
_KEY_AND_NAME = re.compile(r"\s*([^\s,;:]+)\s*[\s,;:]\s*(.+?)\s*")


def is_id(word: str) -> bool:
    """Whether a class is called by an id of Open Images or WordNet, as n01443537."""
    return bool(_ID.fullmatch(word))


def name_classes(layout: FileLayout, listing: Listing) -> FileLayout:
    """The layout with the names of classes that it calls by numbers or ids, if it can.

    Only numbers and ids of Open Images and WordNet are looked up, and only where one file
    has all of them: a number is the line (from 0, or from 1 where the first cannot be
    meant), unless the lines begin with numbers of their own. Of the synonyms of a WordNet id
    the first is the name, unless two ids share it.

    Args:
      layout: with the classes as the lists or folders spell them.
      listing: all files.
    """
    names, file = _find(listing, layout)
    if not names:
        return layout
    return dataclasses.replace(
        layout,
        entries={
            name: tuple(entry._replace(word=names[entry.word]) for entry in entries)
            for name, entries in layout.entries.items()
        },
        files=(*layout.files, file),
        words=(*layout.words, f"{file} has the names of the classes"),
    )


def _find(listing: Listing, layout: FileLayout) -> tuple[dict[str, str], str]:
    """Class in the layout -> its name, and the file that says so; empty without one."""
    keys = {entry.word for entries in layout.entries.values() for entry in entries}
    if not keys or not all(key.isdecimal() or is_id(key) for key in keys):
        return {}, ""
    files = [
        name
        for name in sorted(
            set(listing.names).difference(layout.files),
            key=lambda name: (name.count("/"), name),
        )
        if posixpath.basename(name).lower().endswith(_SUFFIXES)
        and posixpath.splitext(posixpath.basename(name).lower())[0] in _STEMS
    ]
    for name, numbered in listing.lines(files).items():
        lines = list(numbered.values())
        if found := _by_key(lines, keys) or _by_line(lines, keys):
            return found, name
    return {}, ""


def _by_key(lines: list[str], keys: set[str]) -> dict[str, str]:
    matches = [_KEY_AND_NAME.fullmatch(line) for line in lines]
    names = {match[1]: match[2] for match in matches if match and match[1] in keys}
    if any(key.startswith("n") for key in names):
        first = {key: name.split(",")[0] for key, name in names.items()}
        uses = Counter(first.values())
        names = {
            key: first[key] if uses[first[key]] == 1 else name
            for key, name in names.items()
        }
    return names if len(set(names.values())) == len(keys) else {}


def _by_line(lines: list[str], keys: set[str]) -> dict[str, str]:
    if not all(key.isdecimal() for key in keys) or len(set(lines)) != len(lines):
        return {}
    numbers = {key: int(key) for key in keys}
    last = max(numbers.values())
    first = int(min(numbers.values()) > 0 and last == len(lines))
    if len(set(numbers.values())) != len(keys) or last - first >= len(lines):
        return {}
    return {key: lines[number - first] for key, number in numbers.items()}
