"""Encoded images between two steps of the Beam job, in files that all workers see.

Beam's local runners keep in memory whatever goes from step to step, and those with several
processes send all of it through one; so the records travel without their images.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tfx.dsl.io import fileio

from components.image_example_gen import uris


class Place(NamedTuple):
    """Where an image lies: file of the spool, first byte, number of bytes."""

    file: str
    offset: int
    length: int


class Writer:
    """Takes the images of a batch and writes them into one file."""

    def __init__(self, folder: str):
        """Takes the URI of the spool's folder, which exists."""
        self._folder = folder
        self._name = uuid.uuid4().hex
        self._images: list[bytes] = []
        self._length = 0

    def add(self, encoded: bytes) -> Place:
        """Where the image will lie."""
        place = Place(self._name, self._length, len(encoded))
        self._images.append(encoded)
        self._length += len(encoded)
        return place

    def close(self) -> None:
        """Writes the file; nobody may read a place before."""
        if self._images:
            with fileio.open(uris.join(self._folder, self._name), "wb") as file:
                file.write(b"".join(self._images))


def read(folder: str, places: Iterable[Place]) -> Mapping[Place, bytes]:
    """The images at the places; each file is read once."""
    by_file: dict[str, list[Place]] = {}
    for place in places:
        by_file.setdefault(place.file, []).append(place)
    found = {}
    for name, wanted in by_file.items():
        with fileio.open(uris.join(folder, name), "rb") as file:
            content = file.read()
        for place in wanted:
            found[place] = content[place.offset : place.offset + place.length]
    return found
