import io

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from pushed_models import models_config
from serving import local_model

LABELS = ("red", "green", "the blue")


@pytest.fixture(scope="module")
def version(tmp_path_factory, write_colour_model):
    return write_colour_model(tmp_path_factory.mktemp("model") / "7")


@pytest.fixture(scope="module")
def model(version):
    return local_model.LocalModel.load(version)


def image(red, green, blue):
    return np.full((4, 4, 3), (red, green, blue), np.uint8)


def png(pixels):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def test_labels_are_in_label_order(model):
    assert model.labels == LABELS


def test_predict_gives_the_best_first(model):
    (prediction,) = model.predict([image(20, 50, 30)])
    assert prediction.label == "green"
    assert prediction.score == pytest.approx(0.5)
    assert [label for label, _ in prediction.top] == ["green", "the blue", "red"]
    assert [score for _, score in prediction.top] == pytest.approx([0.5, 0.3, 0.2])


def test_all_kinds_of_images_agree_in_order(model, tmp_path):
    pixels = image(0, 0, 9)
    path = tmp_path / "blue.png"
    path.write_bytes(png(pixels))
    images = [path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels]
    predictions = model.predict([*images, image(9, 0, 0)])
    assert [found.label for found in predictions] == ["the blue"] * 5 + ["red"]


def test_more_images_than_a_batch(model, monkeypatch):
    monkeypatch.setattr(local_model, "BATCH_SIZE", 2)
    images = [image(9, 0, 0), image(0, 9, 0), image(0, 0, 9)]
    assert [found.label for found in model.predict(images)] == list(LABELS)


def test_nothing_gives_nothing(model):
    assert model.predict([]) == []


def test_top_is_at_most_all(model):
    assert len(model.predict([image(1, 2, 3)], top=1)[0].top) == 1
    assert len(model.predict([image(1, 2, 3)], top=9)[0].top) == 3
    with pytest.raises(ValueError, match="at least 1"):
        model.predict([image(1, 2, 3)], top=0)


def test_one_image_is_no_sequence(model):
    with pytest.raises(TypeError, match="put it into a list"):
        model.predict("cat.png")


def test_an_unreadable_image_is_named(model, tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(
        png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    )
    bad = tmp_path / "bad.png"
    # Whole in its header, so that only the decoder in the graph can tell.
    bad.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cannot read image .*bad\.png"):
        model.predict([good, bad])
    with pytest.raises(DataError, match="cannot read image number 1"):
        model.predict([image(1, 1, 1), b"nothing"])


def test_load_refuses_other_models(tmp_path, write_colour_model):
    folder = write_colour_model(tmp_path / "other" / "1", signature="serving_default")
    with pytest.raises(ConfigError, match="takes no images"):
        local_model.LocalModel.load(folder)
    (folder / "assets" / "labels.txt").unlink()
    with pytest.raises(ConfigError, match="names no classes"):
        local_model.LocalModel.load(folder)
    with pytest.raises(ConfigError, match="no model in"):
        local_model.LocalModel.load(tmp_path)


@pytest.fixture
def root(tmp_path):
    for version in ("cifar10/6", "cifar10/17", "cifar10/9"):
        folder = tmp_path / "serving" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    # Half a push, and a name that servers skip.
    (tmp_path / "serving" / "cifar10" / "99").mkdir()
    (tmp_path / "serving" / "cifar10" / ".staging-1").mkdir()
    return tmp_path


def add_model(root, name):
    folder = root / "serving" / name / "3"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


@pytest.mark.parametrize(
    ("wanted", "version"), [(None, "17"), ("cifar10", "17"), ("cifar10@6", "6")]
)
def test_find_by_name(root, wanted, version):
    found = local_model.find_model(root, wanted)
    assert found == root / "serving" / "cifar10" / version


def test_a_name_means_the_version_that_is_live(root):
    pinned = models_config.Entry((6, 17), {"stable": 6, "canary": 17})
    models_config.write(root / "serving", {"cifar10": pinned})
    folder = root / "serving" / "cifar10"
    assert local_model.find_model(root, "cifar10") == folder / "6"
    assert local_model.find_model(root) == folder / "6"
    assert local_model.find_model(root, str(folder)) == folder / "6"
    assert local_model.find_model(root, "cifar10@17") == folder / "17"


def test_models_of_tiny_runs_are_taken_by_name_only(root):
    tiny = add_model(root, "cifar10-tiny")
    assert local_model.find_model(root).parent.name == "cifar10"
    assert local_model.find_model(root, "cifar10-tiny") == tiny


def test_find_by_path(root, monkeypatch):
    folder = root / "serving" / "cifar10"
    assert local_model.find_model(root, str(folder / "9")) == folder / "9"
    assert local_model.find_model(root, str(folder)) == folder / "17"
    monkeypatch.chdir(root / "serving")
    assert local_model.find_model(root / "none", "./cifar10").name == "17"


def test_find_says_what_there_is(root):
    with pytest.raises(ConfigError, match="no version '5'") as caught:
        local_model.find_model(root, "cifar10@5")
    assert caught.value.found == "17, 9, 6"
    with pytest.raises(ConfigError, match="no model 'cifar'"):
        local_model.find_model(root, "cifar")
    add_model(root, "digits")
    with pytest.raises(ConfigError, match="which model") as caught:
        local_model.find_model(root)
    assert caught.value.found == "cifar10, digits"


def test_find_without_models_says_what_to_run(tmp_path):
    with pytest.raises(ConfigError, match="no model in") as caught:
        local_model.find_model(tmp_path)
    assert caught.value.tip.startswith("slimline run")
