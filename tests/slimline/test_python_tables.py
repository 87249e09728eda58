"""What the commands list, from Python."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

import slimline as sl
from pipeline import experiments
from trainer.nets import registry


def test_experiments(call):
    listed = sl.experiments()
    assert list(listed.index) == list(experiments.EXPERIMENTS)
    settings = sl.experiments("folder")
    found = json.loads(call("experiments", "folder", "--json")[1])["settings"]
    # JSON has no tuples.
    assert json.loads(json.dumps(settings.to_dict("index"))) == found
    with pytest.raises(sl.errors.ConfigError, match="nothing"):
        sl.experiments("nothing")


def test_nets():
    listed = sl.nets()
    assert list(listed.index) == list(registry.NETS)
    layers = sl.nets("resnet_20", num_classes=7)
    assert layers["shape"].iloc[-1][-1] == 7
    assert sl.nets("resnet_20")["parameters"].sum() == listed.parameters["resnet_20"]


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """A folder of two classes with six images each."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("rose", "tulip"):
        folder = pathlib.Path("flowers") / name
        folder.mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "png")
            (folder / f"{number}.png").write_bytes(file.getvalue())
    return pathlib.Path("flowers")


def test_data(flowers):
    found = sl.data.inspect(flowers)
    assert list(found.labels) == ["rose", "tulip"]
    folder = sl.data.init(flowers)
    assert folder == pathlib.Path("schema/flowers")
    assert (folder / "labels.txt").read_text().splitlines()[:2] == ["rose", "tulip"]
    with pytest.raises(sl.errors.ConfigError) as caught:
        sl.data.init(flowers)
    assert 'replaces=True replaces it, output="DIR" writes elsewhere' in str(
        caught.value
    )
    assert sl.data.init(flowers, replaces=True) == folder
    assert sl.data.init(flowers, output="here") == pathlib.Path("here")


def test_data_check(flowers):
    (flowers / "rose" / "again.png").write_bytes(
        (flowers / "rose" / "0.png").read_bytes()
    )
    findings = sl.data.check(flowers)
    (copies,) = findings.exact_duplicates
    assert {pathlib.Path(image.key).name for image in copies.images} == {
        "0.png",
        "again.png",
    }
