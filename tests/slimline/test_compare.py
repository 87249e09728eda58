"""`slimline compare`: finished runs side by side."""

import dataclasses
import json
import pathlib
import random

import numpy as np
import pandas as pd
import pytest

import slimline as sl
from components.model_evaluator import predictions
from pipeline.runs import runs

NUM_IMAGES = 400


def table(right, seed=0):
    """Predictions of two classes, the first `right` images right."""
    labels = np.random.default_rng(seed).integers(0, 2, NUM_IMAGES)
    is_right = np.arange(NUM_IMAGES) < right
    return pd.DataFrame(
        {
            "key": [f"{number:04}" for number in range(NUM_IMAGES)],
            "label": labels.astype(np.int32),
            "predicted": np.where(is_right, labels, 1 - labels).astype(np.int32),
            "label_rank": np.where(is_right, 1, 2).astype(np.int32),
        }
    )


@pytest.fixture
def make_run(tmp_path, monkeypatch, make_summary):
    """Function (name, table of predictions, settings, **changes) -> two words."""
    monkeypatch.chdir(tmp_path)
    root = pathlib.Path("runs")

    def make(seed, found, settings=None, **changes):
        changes = of_classes("cat", "dog") | changes
        folder = runs.create(root, settings or {}, {}, words=random.Random(seed))
        uri = tmp_path / f"evaluation_{seed}"
        uri.mkdir()
        if found is not None:
            found.to_parquet(uri / predictions.FILE)
        record = dataclasses.asdict(make_summary(folder, **changes)) | {
            "artifacts": {"evaluate": {"evaluation": [str(uri)]}}
        }
        (folder / runs.SUMMARY_FILE).write_text(json.dumps(record))
        (folder / "losses.csv").write_text(
            "step,loss,accuracy,learning_rate\n1,2.0,0.1,0.1\n2,1.0,0.5,0.1\n"
        )
        (folder / "history.csv").write_text("step,eval_top_1_ema\n2,0.5\n")
        return runs.two_words(folder)

    return make


def test_the_same_predictions(call, make_run):
    first, second = make_run(1, table(380)), make_run(2, table(380))
    code, out, _ = call("compare", first, second)
    assert code == 0
    assert (
        f"{second}: no difference beyond noise: every image gets the same class: top-1"
        " +0.0000, 95 % interval [-0.0069, +0.0069] on 400 images, McNemar p 1\n" in out
    )
    page = pathlib.Path("compare.html").read_text()
    assert "no difference beyond noise" in page
    assert page.count('<img class="chart"') == 3


def test_a_difference_within_noise(call, make_run):
    first, second = make_run(1, table(380)), make_run(2, table(382))
    _, out, _ = call("compare", first, second)
    assert f"{second}: no difference beyond noise: top-1 +0.0050, 95 % interval" in out


@pytest.mark.parametrize(
    ("right", "word", "value"), [(300, "worse", -0.2), (396, "better", 0.04)]
)
def test_a_real_difference(call, make_run, right, word, value):
    first, second = make_run(1, table(380)), make_run(2, table(right))
    _, out, _ = call("compare", first, second)
    assert f"{second}: {word} than {first}: top-1 {value:+.4f}, 95 % interval [" in out
    document = json.loads(call("compare", first, second, "--json")[1])
    (difference,) = document["differences"]
    assert difference["is_real"]
    assert difference["value"] == pytest.approx(value)
    assert difference["low"] < value < difference["high"]
    assert difference["p_value"] < 0.001


def test_settings_that_differ(call, make_run):
    first = make_run(1, table(380), {"train.epochs": 30, "model.net": "resnet_20"})
    second = make_run(2, table(380), {"train.epochs": 60, "model.net": "resnet_20"})
    _, out, _ = call("compare", first, second)
    rows = [line.split() for line in out.splitlines()]
    assert ["train.epochs", "30", "60"] in rows
    assert not any(row and row[0] == "model.net" for row in rows)
    assert ["test", "top-1", "0.9812", "±", "0.0175", "0.9812", "±", "0.0175"] in rows


def test_from_python(make_run):
    first = make_run(1, table(380), {"train.epochs": 30})
    second = make_run(2, table(300), {"train.epochs": 60})
    comparison = sl.compare(first, second)
    frame = comparison.to_frame()
    assert list(frame.index) == [first, second]
    assert frame.loc[second, "train.epochs"] == 60
    assert frame.loc[first, "top_1"] == 0.9812
    assert comparison.differences[0].value == pytest.approx(-0.2)
    with pytest.raises(sl.errors.ConfigError, match="nothing to compare"):
        sl.compare(first)


def test_from_python_runs_and_folders(make_run, make_summary):
    folders = [
        runs.find(pathlib.Path("runs"), make_run(seed, table(right)))
        for seed, right in ((1, 380), (2, 300))
    ]
    first, second = (sl.Run(make_summary(folder)) for folder in folders)
    words = [runs.two_words(folder) for folder in folders]
    # Elsewhere than under their root: a folder says where it is.
    comparison = sl.compare(first, second, root="elsewhere")
    assert [each.name for each in comparison.contenders] == words
    assert comparison == sl.compare(*folders) == sl.compare(first, words[1])
    assert repr(comparison).splitlines() == [
        f"<Comparison of {words[0]}, {words[1]}>",
        f"{words[1]}: {comparison.differences[0].sentence}",
    ]
    with pytest.raises(sl.errors.ConfigError, match="not the folder of a run"):
        sl.compare(first, pathlib.Path("runs"))


def test_a_notebook_shows_the_page_in_a_cell(make_run):
    names = make_run(1, table(380)), make_run(2, table(300))
    text = sl.compare(*names)._repr_html_()
    assert text.startswith('<div class="slimline">') and text.endswith("</div>")
    assert f"worse than {names[0]}" in text
    assert text.count('<img class="chart"') == 3
    # It stands in a page that is not ours.
    assert "<html" not in text and ":root" not in text and "<script" not in text


def test_other_test_images_are_not_paired(call, make_run):
    first, second = make_run(1, table(380)), make_run(2, table(380, seed=9))
    _, out, _ = call("compare", first, second)
    assert f"{second}: not tested on the same images" in out


def of_classes(*names):
    """Figures per class; their order is that of the label numbers."""
    return {"per_class": {name: {"recall": 0.5, "support": 1} for name in names}}


def test_runs_of_other_classes_are_compared_by_name(call, make_run):
    """A class went in front of the others: every label number is another."""
    before, after = table(380), table(380)
    after[["label", "predicted"]] += 1
    new = pd.DataFrame(
        {"key": ["9999"], "label": [0], "predicted": [1], "label_rank": [2]}
    )
    first = make_run(1, before, **of_classes("cat", "dog"))
    second = make_run(2, pd.concat([after, new]), **of_classes("auk", "cat", "dog"))
    _, out, _ = call("compare", first, second)
    assert (
        f"{second}: no difference beyond noise: every image gets the same class: top-1"
        " +0.0000, 95 % interval [-0.0069, +0.0069] on 400 images of the 2 classes that"
        " both know, McNemar p 1\n" in out
    )


def test_equal_numbers_of_other_classes_are_not_compared(call, make_run):
    first = make_run(1, table(380), **of_classes("cat", "dog"))
    second = make_run(2, table(300), **of_classes("auk", "emu"))
    _, out, _ = call("compare", first, second)
    assert f"{second}: no class in common to compare\n" in out


def test_deleted_artifacts(call, make_run):
    first, second = make_run(1, table(380)), make_run(2, None)
    code, out, _ = call("compare", first, second)
    assert code == 0
    assert f"{second}: the predictions of {second} are gone (" in out


def test_members_of_a_sweep(call, make_run):
    alone = make_run(1, table(380))
    words = make_run(2, table(380))
    sweep = runs.find(pathlib.Path("runs"), words)
    member = sweep / runs.MEMBERS_FOLDER / "bn_off"
    member.mkdir(parents=True)
    for name in (runs.SUMMARY_FILE, "losses.csv", "history.csv"):
        (sweep / name).rename(member / name)
    settings = json.dumps({"model": {"batch_norm": False}})
    (member / runs.MEMBER_SETTINGS_FILE).write_text(settings)
    _, out, _ = call("compare", alone, f"{words}/bn_off")
    assert f"{words}/bn_off: no difference beyond noise" in out
    assert ["model.batch_norm", "-", "false"] in [
        row.split() for row in out.splitlines()
    ]


def test_mistakes(call, make_run):
    first = make_run(1, table(380))
    code, _, err = call("compare", first)
    assert code == 2
    assert "error: nothing to compare\n  found: 1 run\n" in err
    code, _, err = call("compare", first, first)
    assert code == 2
    assert f"run '{first}' is given twice" in err
    code, _, err = call("compare", first, "nobody")
    assert code == 2
    assert "no run 'nobody'" in err
