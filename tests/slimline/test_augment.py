import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_grid_of_images(call, here):
    code, out, err = call(
        *("data", "augment", "digits_resnet_20", "--json", "--images", "3"),
        *("--variants", "2", "--set", "augmentation.mixup_alpha=0.5"),
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["augmentation"] == ["pad_crop (pad_px 1)", "mixup (alpha 0.5)"]
    assert len(told["classes"]) == len(set(told["classes"])) == 3
    with Image.open(here / "augmentation.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert 300 < pixels.shape[0] < pixels.shape[1] + 100
    # Images, most of them dark, on white.
    assert 0.2 < (pixels < 100).mean() < 0.8


def test_images_of_ones_own(call, here, fakes):
    fakes.class_folders(here / "pets", ("cat", "dog"), 3, size_px=80)
    code, out, _ = call("data", "augment", "folder", "--data", "pets")
    assert code == 0
    assert out.startswith("6 images, 7 variants each: random_crop (image_size_px 100)")


def test_without_augmentation_it_says_so(call, here):
    code, out, _ = call(
        *("data", "augment", "digits_resnet_20"),
        *("--set", "augmentation.pad_crop_px=0"),
    )
    assert code == 0
    assert "--set augmentation.flip_left_right=true" in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["cifar10_resnet_20"], 2, "needs images"),
        (["cifar10_resnet_20", "--data", "none"], 4, "no data at none"),
        (
            ["digits_resnet_20", "--set", "augmentation.saturation=1"],
            2,
            "needs colour images",
        ),
        (
            ["digits_resnet_20", "--set", "augmentation.flip=true"],
            2,
            "did you mean 'augmentation.",
        ),
        (["digits_resnet_20", "--output", "none/a.png"], 2, "cannot write none/a.png"),
    ],
)
def test_mistakes_are_sentences(call, here, arguments, code, sentence):
    given, out, err = call("data", "augment", *arguments)
    assert (given, out) == (code, "")
    assert sentence in err
    assert "Traceback" not in err
    assert not (here / "augmentation.png").exists()
