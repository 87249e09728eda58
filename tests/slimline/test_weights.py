"""slimline weights: what it imports, prints, asks and refuses."""

import dataclasses
import json
import pathlib
import sys
import tarfile
import zipfile

import click
import numpy as np
import pytest

from slimline.terminal import options
from trainer.config import PreprocessingConfig
from trainer.nets import registry
from trainer.nets.published import Source
from trainer.weights import mapping, opening, safetensors, store

PREPROCESSING = PreprocessingConfig(
    resize_px=40,
    crop_px=32,
    interpolation="bicubic",
    standardise="fixed",
    mean=(127.0,),
    deviation=(1.0, 2.5, 3.0),
)


@pytest.fixture(autouse=True)
def spec(tmp_path, monkeypatch):
    """LeNet-5 with rules for weights, a store of its own, nothing built in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMLINE_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setattr(store, "BUILT_IN", {})
    source = Source("slim", "somebody", (), PREPROCESSING)
    changed = dataclasses.replace(registry.NETS["lenet_5"], sources=(source,))
    monkeypatch.setitem(registry.NETS, "lenet_5", changed)
    return changed


@pytest.fixture
def source(spec) -> pathlib.Path:
    path = pathlib.Path("given.safetensors")
    with path.open("wb") as file:
        shapes = mapping.expected_shapes(spec, 3)
        safetensors.write(
            file, {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        )
    return path


def as_json(call, *arguments, code=0):
    found, out, _ = call("weights", *arguments, "--json")
    assert found == code
    document = json.loads(out)
    assert document.pop("schema_version") == 1
    return document


def test_import_list_show_remove(call, source) -> None:
    labels = pathlib.Path("labels.txt")
    labels.write_text("cat\ndog\nhorse\n\n")
    code, out, err = call(
        *("weights", "import", source, "--net", "lenet_5", "--name", "pets"),
        *("--licence", "MIT", "--labels", labels),
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"imported {source.absolute()}\n")
    code, listed, err = call("weights", "list")
    assert (code, err) == (0, "")
    heading, line = listed.splitlines()
    assert heading.split()[:4] == ["name", "net", "classes", "parameters"]
    assert line.split()[:3] == ["pets", "lenet_5", "3"]
    assert "MIT" in line
    code, shown, err = call("weights", "show", "pets")
    assert (code, err) == (0, "")
    assert opening.sha256(source) in shown
    assert "classes     3 (cat, dog, horse)\n" in shown
    images = "32 px of 40, bicubic, (x - 127) / [1, 2.5, 3]"
    assert f"images      {images}\n" in shown
    code, out, err = call("weights", "remove", "pets", "--yes")
    assert (code, out, err) == (0, "deleted the weights 'pets'\n", "")
    assert call("weights", "list")[1].startswith("no weights in ")
    assert source.exists()


def test_json(call, source) -> None:
    imported = as_json(call, "import", source, "--net", "lenet_5")["imported"]
    assert imported["name"] == "lenet_5"
    assert imported["preprocessing"]["crop_px"] == 32
    assert as_json(call, "list")["weights"] == [imported]
    assert as_json(call, "show", "lenet_5")["weights"] == imported
    assert as_json(call, "remove", "lenet_5", "--yes") == {"removed": "lenet_5"}
    error = as_json(call, "show", "lenet_5", code=2)["error"]
    assert error["message"].startswith("there are no weights 'lenet_5'")


def test_quiet(call, source) -> None:
    arguments = ["weights", "import", source, "--net", "lenet_5", "-q"]
    assert call(*arguments) == (0, "", "")


def test_removing_needs_yes_without_a_terminal(call, source) -> None:
    call("weights", "import", source, "--net", "lenet_5")
    code, out, err = call("weights", "remove", "lenet_5")
    assert (code, out) == (2, "")
    assert "--yes does it unasked" in err
    assert store.find("lenet_5")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_removing_asks_on_a_terminal(call, source, monkeypatch, answer) -> None:
    call("weights", "import", source, "--net", "lenet_5")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer == "y")
    code, _, err = call("weights", "remove", "lenet_5")
    assert code == (0 if answer == "y" else 130)
    assert ("nothing was deleted" in err) == (answer == "n")
    assert bool(store.all_manifests()) == (answer == "n")


def test_an_unknown_name_is_found_out_before_the_question(call) -> None:
    code, _, err = call("weights", "remove", "nothing")
    assert code == 2
    assert "there are no weights 'nothing'" in err


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_are_not_unpacked(call, source, kind) -> None:
    path = pathlib.Path(f"weights.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(source)
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            archive.add(source)
    code, _, err = call("weights", "import", path, "--net", "lenet_5")
    assert code == 2
    assert "is not a file of weights" in err
    assert "tip: unpack it and name the file of weights in it" in err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a\nb\n", "found: 2 labels"),
        ("a\n\nb\n", "has an empty line"),
        ("a\n\udce9\n", "is not text in UTF-8"),
    ],
)
def test_labels_that_do_not_fit(call, source, content, sentence) -> None:
    labels = pathlib.Path("labels.txt")
    labels.write_text(content, encoding="utf-8", errors="surrogateescape")
    code, _, err = call(
        "weights", "import", source, "--net", "lenet_5", "--labels", labels
    )
    assert code == 2
    assert sentence in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.pth", "--net", "lenet_5"], "there are no weights at"),
        (["given.safetensors", "--net", "lenet"], "rules for these weights"),
        (["given.safetensors", "--net", "lenet_6"], "unknown net 'lenet_6'"),
        (["given.safetensors"], "missing option '--net'"),
        (["given.safetensors", "--net", "lenet_5", "--name", "../x"], "no name for"),
    ],
)
def test_mistakes_are_sentences(call, source, arguments, sentence) -> None:
    code, out, err = call("weights", "import", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_names_are_completed(call, source) -> None:
    call("weights", "import", source, "--net", "lenet_5", "--name", "pets")
    context = click.Context(click.Command("show"))
    parameter = click.Argument(["name"])
    assert options.complete_weights(context, parameter, "pe") == ["pets"]
    assert options.complete_weights(context, parameter, "x") == []
