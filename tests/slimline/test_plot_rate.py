import json

import numpy as np
import pytest
from PIL import Image


def test_a_picture_and_its_figures(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("cifar10_resnet_20", "--images", "45000")
    code, out, err = call("plot-rate", *arguments, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["schedule"] == "cosine"
    assert told["steps_per_epoch"] == 45_000 // 128
    assert told["total_steps"] == 60 * (45_000 // 128)
    assert told["highest"] == pytest.approx(0.4, rel=1e-3)
    assert told["last"] == pytest.approx(0, abs=1e-9)
    with Image.open(tmp_path / "rate.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (480, 960, 3)
    # White, and a curve in the colour of the first line.
    is_curve = (abs(pixels.astype(int) - [31, 119, 180]) < 40).all(axis=2)
    assert (pixels > 250).all(axis=2).mean() > 0.5
    assert 0.002 < is_curve.mean() < 0.05


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "schedule.name=piecewise"], "does not rise"),
        (["--set", "schedule.name=cosin"], "schedule.name"),
        (["--output", "none/rate.png"], "cannot write none/rate.png"),
    ],
)
def test_mistakes_are_sentences(call, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("plot-rate", "cifar10_resnet_20", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
