"""Writes small data sets in every layout, and compares what is read with a table."""

import collections
import dataclasses
import io
import pathlib
import re
import shlex
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.image_example_gen import layouts, records
from pipeline import answers as setting_answers
from slimline import data

# A setting as a tip gives it to the shell.
_SETTING = re.compile(r"--set ('[^']*'|\S+)")
Table = Mapping[str, Mapping[str, int]]


class Zoo:
    """One data set: its files, and what must be read from them."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._images = 0

    def png(self) -> bytes:
        """The next image, 4 x 4 px, unlike the others."""
        self._images += 1
        pixels = np.random.default_rng(self._images).integers(0, 256, (4, 4, 3))
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        return file.getvalue()

    def images(self, *names: str) -> None:
        """Writes images under these names."""
        for name in names:
            self.data(name, self.png())

    def classes(self, folder: str = "", **counts: int) -> None:
        """Writes a folder of images for each class below `folder`."""
        for text, count in counts.items():
            self.images(*(f"{folder}{text}/{n}.png" for n in range(count)))

    def flat(self, folder: str, *names: str) -> None:
        """Writes images side by side; names without an ending get .png."""
        self.images(*(f"{folder}{name}.png" for name in names))

    def text(self, name: str, *lines: str, encoding: str = "utf-8") -> None:
        """Writes a text file."""
        self.data(name, "".join(f"{line}\n" for line in lines).encode(encoding))

    def data(self, name: str, data: bytes) -> None:
        """Writes a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def reads(self, table: Table, *, says: str = "", **answers: Any) -> None:
        """Checks that exactly `table` (split -> class -> images) is read.

        Args:
          says: a part of the words in which the layout is told.
          answers: to what was asked before.
        """
        plan = layouts.plan(str(self.folder), layouts.Answers(**answers))
        assert _table_of(plan) == table
        assert says in "; ".join(plan.layout.words)

    def asks(self, what: str, *flags: str, **answers: Any) -> None:
        """Checks that nothing is read before a question is answered by one of `flags`."""
        with pytest.raises(ConfigError) as caught:
            layouts.plan(str(self.folder), layouts.Answers(**answers))
        assert what in f"{caught.value.message}; {caught.value.found}"
        assert flags
        for flag in flags:
            assert flag in caught.value.tip
        for line in caught.value.tip.splitlines():
            if settings := _SETTING.findall(line):
                self._check_answer(what, settings, layouts.Answers(**answers))

    def _check_answer(
        self, what: str, settings: list[str], before: layouts.Answers
    ) -> None:
        """Checks that an answer as it is printed gets beyond the question."""
        words = [shlex.split(text)[0] for text in settings]
        told = setting_answers.of(data.config(assignments=words))
        changes = {
            field.name: value
            for field in dataclasses.fields(told)
            if (value := getattr(told, field.name)) != field.default
        }
        try:
            layouts.plan(str(self.folder), dataclasses.replace(before, **changes))
        except (ConfigError, DataError) as error:
            assert what not in f"{error.message}; {error.found}"

    def refuses(self, what: str, *, tip: str = "", **answers: Any) -> None:
        """Checks that the data are refused in these words, with a tip that has `tip`."""
        with pytest.raises(DataError) as caught:
            _table_of(layouts.plan(str(self.folder), layouts.Answers(**answers)))
        assert what in f"{caught.value.message}; {caught.value.found}"
        assert tip in caught.value.tip

    def pack(self) -> None:
        """Makes a tar of the folder, which is read in its place from here on."""
        archive = self.folder.with_suffix(".tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(self.folder, ".")
        self.folder = archive


def _table_of(plan: layouts.Plan) -> dict[str, dict[str, int]]:
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    for unit in plan.units:
        for found in plan.read(unit):
            for split, text in _classes(found):
                counts[split][text] += 1
    return {split: dict(texts) for split, texts in counts.items()}


def _classes(found: object) -> Iterable[tuple[str, str]]:
    if isinstance(found, records.PixelBatch):
        names = found.class_names
        return [
            (found.split, names[index] if names else str(index))
            for index in found.indices.tolist()
        ]
    if isinstance(found, records.Ignored):
        return []
    assert isinstance(found, records.ImageFile), found
    return [(found.split, found.word)]


@pytest.fixture
def zoo(tmp_path: pathlib.Path) -> Zoo:
    """Writer and judge of one data set."""
    folder = tmp_path / "data"
    folder.mkdir()
    return Zoo(folder)
