"""A model that looks for dark and light, measured on images whose answers are known."""

import json

import numpy as np
import pytest
from PIL import Image

import slimline
from common.errors import DataError

DARK, LIGHT = 0, 255


def write_images(folder, levels):
    """PNGs of one grey each, called 0.png and so on."""
    folder.mkdir(parents=True)
    for place, level in enumerate(levels):
        pixels = np.full((8, 8, 3), level, np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory, write_maps_model):
    folder = tmp_path_factory.mktemp("models") / "7"
    return write_maps_model(folder, ("dark", "light"))


@pytest.fixture
def photos(tmp_path):
    """Three dark images, and four light ones of which one is dark."""
    folder = tmp_path / "photos"
    write_images(folder / "dark", [DARK] * 3)
    write_images(folder / "light", [LIGHT] * 3 + [DARK])
    return folder


def measured(call, *arguments):
    code, out, err = call("evaluate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_figures_are_those_of_the_images(call, model, photos):
    document = measured(call, model, "--data", photos)
    assert document["schema_version"] == 1
    assert document["metrics"]["example_count"] == 7
    assert document["metrics"]["top_1"] == pytest.approx(6 / 7)
    # 8 for the right class and -8 for the other, once the other way round.
    loss = (6 * np.log1p(np.exp(-16)) + 16 + np.log1p(np.exp(-16))) / 7
    assert document["metrics"]["cross_entropy"] == pytest.approx(loss, rel=1e-3)
    assert document["per_class"]["light"] == {
        "precision": 1.0,
        "recall": 0.75,
        "f1": pytest.approx(6 / 7),
        "support": 4,
    }
    low, high = document["intervals"]["top_1"]
    assert low < 6 / 7 < high
    assert document["most_confused"] == ["light", "dark", 1]
    # Two classes have no five best.
    assert "top_5" not in document["metrics"]
    assert document["split"] == "all"
    assert "no test split" in document["notes"][0]


def test_text_has_figures_weakest_classes_and_notes(call, model, photos):
    code, out, err = call("evaluate", model, "--data", photos)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    (line,) = [line for line in lines if line.startswith("top-1")]
    assert "0.8571, 95 % interval 0." in line
    (data,) = [line for line in lines if line.startswith("data")]
    assert data.endswith("photos: all, 7 images")
    place = next(n for n, line in enumerate(lines) if line.startswith("class"))
    assert lines[place + 1].split() == ["light", "0.7500", "1.0000", "4"]
    assert any(line.startswith("note: the data have no test split") for line in lines)
    assert call("evaluate", model, "--data", photos, "-q") == (0, "", "")


def test_the_test_split_is_measured_alone_unless_all_are_asked_for(
    call, model, tmp_path
):
    folder = tmp_path / "photos"
    write_images(folder / "train" / "dark", [LIGHT] * 3)
    write_images(folder / "train" / "light", [LIGHT] * 2)
    write_images(folder / "test" / "dark", [DARK] * 2)
    write_images(folder / "test" / "light", [LIGHT])
    document = measured(call, model, "--data", folder)
    assert document["split"] == "test"
    assert document["splits"] == {"test": 3, "train": 5}
    assert document["metrics"]["example_count"] == 3
    assert document["metrics"]["top_1"] == 1
    assert document["notes"] == []
    document = measured(call, model, "--data", folder, "--split", "all")
    assert document["metrics"]["example_count"] == 8
    assert document["metrics"]["top_1"] == pytest.approx(5 / 8)
    code, _, err = call("evaluate", model, "--data", folder, "--split", "eval")
    assert code == 2
    assert err.startswith("error: the data have no split 'eval'\n  found: test, train")


def test_five_best_of_six_classes(call, tmp_path, write_maps_model):
    labels = [f"class {number}" for number in range(6)]
    model = write_maps_model(tmp_path / "six", labels)
    folder = tmp_path / "photos"
    # The third class gets 8 / 2 for dark, less than the first, and so is second.
    write_images(folder / "class 2", [DARK, DARK])
    # Light's smallest share of dark images.
    write_images(folder / "class 1", [DARK])
    document = measured(call, model, "--data", folder)
    assert document["metrics"]["top_1"] == 0
    assert document["metrics"]["top_5"] == pytest.approx(2 / 3)
    assert document["missing"] == ["class 0", "class 3", "class 4", "class 5"]
    assert "4 classes of the model without an image here" in document["notes"][-1]


def test_a_class_that_the_model_does_not_know_is_refused_or_left_out(
    call, model, photos
):
    write_images(photos / "grey", [128, 128])
    code, out, err = call("evaluate", model, "--data", photos)
    assert (code, out) == (4, "")
    assert err.splitlines() == [
        "error: the model does not know 1 class of the data",
        "  found: grey",
        "  expected: classes of the model: dark, light",
        "  tip: --skip-unknown leaves their images out",
    ]
    document = measured(call, model, "--data", photos, "--skip-unknown")
    assert document["skipped"] == {"grey": 2}
    assert document["metrics"]["example_count"] == 7
    assert "left out 2 images of 1 class" in document["notes"][1]


def test_no_class_in_common(call, model, tmp_path):
    write_images(tmp_path / "photos" / "cat", [DARK])
    write_images(tmp_path / "photos" / "dog", [LIGHT])
    code, _, err = call(
        "evaluate", model, "--data", tmp_path / "photos", "--skip-unknown"
    )
    assert code == 4
    assert err.startswith("error: the model and the data have no class in common\n")
    assert "found: in the data cat, dog" in err
    assert "tip" not in err


def test_numbered_classes_are_taken_for_labels_only_where_that_is_said(
    call, model, tmp_path
):
    folder = tmp_path / "photos"
    write_images(folder / "0", [DARK, DARK])
    write_images(folder / "1", [LIGHT])
    code, _, err = call("evaluate", model, "--data", folder)
    assert code == 4
    assert "tip: --by-number takes number k as the model's label k" in err
    document = measured(call, model, "--data", folder, "--by-number")
    assert document["metrics"]["top_1"] == 1
    assert "matched by number: 0 is dark, 1 is light" in document["notes"][1]
    write_images(folder / "2", [LIGHT])
    code, _, err = call("evaluate", model, "--data", folder, "--by-number")
    assert code == 4
    assert "found: 2\n  expected: 0 to 1" in err


def test_damaged_images_are_left_out_and_listed(call, model, photos):
    (photos / "dark" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    document = measured(call, model, "--data", photos)
    assert document["metrics"]["example_count"] == 7
    ((key, reason),) = document["unreadable"]
    assert key == "dark/bad.png"
    assert reason


def test_damaged_images_alone_are_refused(call, model, tmp_path):
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = call("evaluate", model, "--data", tmp_path / "photos")
    assert code == 4
    assert "can be read" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cats", "--data", "photos"], 2, "error: no model 'cats'"),
        (["photos", "--data", "photos"], 2, "error: no model in photos"),
        (["MODEL", "--data", "none"], 4, "error: no data at none"),
        (["MODEL"], 2, "error: missing option '--data'"),
        (
            ["MODEL", "--data", "photos", "--format", "cifar"],
            2,
            "error: setting 'data.format' is not a",
        ),
    ],
)
def test_mistakes_are_sentences(call, model, photos, arguments, code, message):
    given = [str(model) if word == "MODEL" else word for word in arguments]
    found, out, err = call("evaluate", *given)
    assert (found, out) == (code, "")
    assert err.startswith(message)


def test_pushed_models_and_runs_are_found_by_name(
    call, photos, write_maps_model, tmp_path
):
    serving = tmp_path / "runs" / "serving" / "lights"
    serving.mkdir(parents=True)
    pushed = write_maps_model(serving / "1", ("dark", "light"))
    run = tmp_path / "runs" / "2026-11-22_0201_quick-heron"
    run.mkdir()
    (run / "summary.json").write_text(json.dumps({"pushed_path": str(pushed)}))
    for wanted in ("lights", "lights@1", "quick-heron", "latest", run):
        document = measured(call, wanted, "--data", photos)
        assert tmp_path / document["model"] == pushed


def test_from_python(model, photos):
    found = slimline.evaluate(model, photos)
    assert found.metrics["top_1"] == pytest.approx(6 / 7)
    assert found.to_frame().loc["light", "support"] == 4
    assert repr(found) == "<Evaluation on 7 images: top-1 0.8571>"
    loaded = slimline.load(model)
    again = slimline.evaluate(loaded, photos, settings={"data.class_from": "folder"})
    assert again.metrics == found.metrics
    write_images(photos / "grey", [128])
    with pytest.raises(DataError, match="does not know 1 class"):
        slimline.evaluate(loaded, photos)
