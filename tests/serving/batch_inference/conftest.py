"""A tiny model, photos for it, and a way to classify them."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from pipeline.beam import engines


@pytest.fixture(scope="session")
def version(tmp_path_factory, write_colour_model):
    """Folder of version 7 of a model whose classes are red, green and the blue."""
    return write_colour_model(tmp_path_factory.mktemp("root") / "colours" / "7")


@pytest.fixture
def write_photos():
    """Function (folder, count or names) -> their sorted paths, each of other colours."""
    random = np.random.default_rng(5)

    def write(folder, names):
        if isinstance(names, int):
            names = [f"{number:04}.png" for number in range(names)]
        paths = []
        for name in names:
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(path, "PNG")
            paths.append(str(path))
        return sorted(paths)

    return write


@pytest.fixture
def classify(version, tmp_path, monkeypatch):
    """Function (*words, **more) -> Result; writes results.jsonl into tmp_path."""
    from serving.batch_inference import running

    monkeypatch.chdir(tmp_path)

    def run(*words, output="results.jsonl", model=version, **more):
        return running.run(
            [str(word) for word in words],
            pathlib.Path(output),
            model_folder=model,
            beam_arguments=engines.local(),
            **more,
        )

    return run


@pytest.fixture
def read_rows():
    """Function (path) -> the objects of a file of JSON lines."""

    def read(path="results.jsonl"):
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read
