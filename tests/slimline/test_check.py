import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pets(tmp_path):
    """train/ and test/ of cats and dogs: copies, a dark and a bad file."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for text in ("cat", "dog"):
            folder = tmp_path / "pets" / split / text
            folder.mkdir(parents=True)
            for number in range(3):
                noise = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(noise).save(folder / f"{number}.png")
    train = tmp_path / "pets" / "train" / "cat"
    shutil.copy(tmp_path / "pets" / "test" / "dog" / "1.png", train / "copy.png")
    shutil.copy(train / "0.png", train / "again.png")
    dark = random.integers(0, 9, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(dark).save(train / "dark.png")
    (train / "bad.png").write_bytes(b"no image")
    return "pets"


def test_tells_what_it_found(call, pets):
    code, out, err = call("data", "check", pets)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == [
        "pets",
        "images    15, 2 classes",
        "size      width 32 / 32 / 32, height 32 / 32 / 32 px"
        " (smallest / median / largest)",
    ]
    assert "cat    3     6" in lines
    start = lines.index("unreadable 1")
    assert lines[start + 1].startswith("  train/cat/bad.png: not an image")
    assert lines[start + 2 : start + 8] == [
        "exact duplicates 2 groups, 1 across splits, 1 with several classes",
        "  test/dog/1.png (dog, test) = train/cat/copy.png (cat, train)",
        "  train/cat/0.png (cat, train) = train/cat/again.png (cat, train)",
        "near-duplicates 0 groups, 0 across splits, 0 with several classes",
        "dark       1",
        "  train/cat/dark.png (cat, train)  0.03",
    ]
    assert "not found  light, plain, blurry, odd shape, odd size, gray" in lines


def test_json_has_all_keys(call, pets, tmp_path):
    code, out, err = call("data", "check", pets, "--json", "--output", "found.json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema_version"] == 1
    findings = document["findings"]
    assert findings["images"] == {
        "test": {"cat": 3, "dog": 3},
        "train": {"cat": 6, "dog": 3},
    }
    assert [key for key, _ in findings["unreadable"]] == ["train/cat/bad.png"]
    group, _ = findings["exact_duplicates"]
    assert [image["key"] for image in group["images"]] == [
        "test/dog/1.png",
        "train/cat/copy.png",
    ]
    (dark,) = findings["odd_images"]["dark"]
    assert dark["image"] == {
        "key": "train/cat/dark.png",
        "split": "train",
        "text": "cat",
    }
    assert json.loads((tmp_path / "found.json").read_text()) == document


def test_quiet(call, pets, tmp_path):
    assert call("data", "check", pets, "-q", "--output", "found.json") == (0, "", "")
    assert (tmp_path / "found.json").is_file()


def test_without_the_extra_it_says_how_to_get_the_rest(call, pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanvision", None)
    monkeypatch.setitem(sys.modules, "cleanvision.issue_managers", None)
    code, out, err = call("data", "check", pets)
    assert (code, err) == (0, "")
    assert "exact duplicates 2 groups, 1 across splits, 1 with several classes" in out
    assert "near-duplicates 0" not in out
    (line,) = [line for line in out.splitlines() if line.startswith("left out:")]
    assert "near duplicates and dark, light" in line
    assert "uv pip install --editable '.[data]'" in line


def test_a_run_doubts_labels(call, pets, write_evaluation, tmp_path):
    names = [f"test/{text}/{n}.png" for text in ("cat", "dog") for n in range(3)]
    probabilities = np.eye(2)[[0, 0, 0, 1, 1, 0]]
    uri = write_evaluation(
        tmp_path / "evaluation",
        names,
        [0, 0, 0, 1, 1, 1],
        probabilities,
        ("cat", "dog"),
    )
    run = tmp_path / "runs" / "2026-11-26_0125_keen-finch"
    run.mkdir(parents=True)
    artifacts = {"evaluate": {"evaluation": [uri]}}
    (run / "summary.json").write_text(json.dumps({"artifacts": artifacts}))
    code, out, err = call("data", "check", pets, "--run", "keen-finch")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    start = lines.index("labels     1 doubtful")
    assert lines[start + 1] == "  test/dog/2.png (dog) rather cat  0.00"
    assert call("data", "check", pets, "--run", "none")[0] == 2


def test_names_do_not_steer_the_terminal(call, tmp_path):
    # File names of that kind are refused when they are read; class names come in by lists.
    folder = tmp_path / "pets"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    (folder / "labels.csv").write_text(
        "path,label\na.png,cat\x1b[2J\nb.png,\x1b]0;owned\x07\x9b1m\n"
    )
    code, out, err = call("data", "check", "pets")
    assert (code, err) == (0, "")
    assert not set(out) & set("\x1b\x07\x9b")
    assert "a.png (cat\\x1b[2J, all) = b.png (\\x1b]0;owned\\x07\\x9b1m, all)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["none"], 4, "error: no data at none"),
        (["empty"], 4, "error: empty is empty"),
        (["pets", "--format", "png"], 2, "setting 'data.format' is not a layout"),
        (["pets", "--output", "none/found.json"], 2, "cannot write none/found.json"),
    ],
)
def test_mistakes_are_sentences(call, pets, tmp_path, arguments, code, sentence):
    (tmp_path / "empty").mkdir()
    given, out, err = call("data", "check", *arguments)
    assert (given, out) == (code, "")
    assert sentence in err
    assert "Traceback" not in err
