"""Classes in the names of files."""

import posixpath
import re

# A class, then a number: dog.12, beagle_7, cat (1), cat-3.
_NUMBERED = re.compile(r"(.*[^\W\d_])[ ._-]*\(?\d+\)?")


def class_of(name: str) -> str:
    """What stands before the number in a file's name, 'dog' of dog.12.jpg; '' for none."""
    match = _NUMBERED.fullmatch(posixpath.splitext(posixpath.basename(name))[0])
    return match[1] if match else ""
