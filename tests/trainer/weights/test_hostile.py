"""Malicious files of weights run nothing, take little memory and end in a sentence."""

import importlib.util
import pathlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from common.errors import ConfigError
from trainer.weights import keras_h5, opening, pytorch, safetensors, tensors


def neighbour(name):
    """A module of this folder, which is no package."""
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYTORCH = neighbour("hostile_pytorch").files()
SAFETENSORS = neighbour("hostile_safetensors").FILES
H5 = neighbour("hostile_h5").FILES
WATCHED = (
    "import",
    "exec",
    "compile",
    "os.",
    "socket",
    "subprocess",
    "pickle",
    "shutil",
)
_events: list[str] | None = None


def _watch(event, arguments):
    if _events is not None and event.startswith(WATCHED):
        _events.append(event)


@pytest.fixture(scope="module", autouse=True)
def hook(tmp_path_factory, torch_files):
    """Watches what is run, after one good file: Python imports codecs at their first use."""
    path = tmp_path_factory.mktemp("good") / "net.pth"
    state = torch_files.state_dict_of({"w": np.ones(3)})
    path.write_bytes(torch_files.zip_bytes(state))
    opening.read(path)
    sys.addaudithook(_watch)  # cannot be removed; sleeps while _events is None


def read_watched(path):
    """Error of reading `path`, what it ran, and its peak of memory in bytes."""
    global _events
    tracemalloc.start()
    _events = []
    try:
        opening.read(path)
        error = None
    except ConfigError as caught:
        error = caught
    finally:
        events, _events = _events, None
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return error, events, peak_bytes


def test_there_are_enough_of_them():
    assert len(PYTORCH) >= 60


@pytest.mark.parametrize("name", PYTORCH)
def test_malicious_state_dicts(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, words = PYTORCH[name]
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    error, events, peak_bytes = read_watched(path)
    assert error is not None
    assert events == []
    assert "\n" not in error.message
    if words:
        with pytest.raises(ConfigError, match=words or "."):
            pytorch.read(path)
    assert peak_bytes <= 2 * len(content) + tensors.SLACK_BYTES
    assert [file.name for file in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.nightly)])
def test_mutants_of_state_dicts(tmp_path, torch_files, count):
    arrays = {"w": np.ones((3, 2), np.float32), "b": np.ones(2, np.float16)}
    state = torch_files.state_dict_of(arrays)
    random = np.random.default_rng(5)
    path = tmp_path / "net.pth"
    refused = 0
    for content in (torch_files.legacy_bytes(state), torch_files.zip_bytes(state)):
        for _ in range(count):
            mutant = bytearray(content)
            for place in random.integers(len(mutant), size=random.integers(1, 5)):
                mutant[place] = random.integers(256)
            path.write_bytes(mutant)
            error, events, peak_bytes = read_watched(path)
            assert events == []
            assert peak_bytes <= tensors.SLACK_BYTES
            refused += error is not None
    assert refused > count


def test_lying_safetensors_are_enough():
    assert len(SAFETENSORS) >= 20


@pytest.mark.parametrize("name", SAFETENSORS)
def test_lying_safetensors(name, tmp_path):
    content, words = SAFETENSORS[name]
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    error, events, peak_bytes = read_watched(path)
    assert error is not None
    assert events == []
    assert "\n" not in error.message
    with pytest.raises(ConfigError, match=words or "."):
        safetensors.read(path)
    assert peak_bytes <= 2 * len(content) + tensors.SLACK_BYTES


def test_lying_h5_are_enough():
    assert len(H5) >= 20


@pytest.mark.parametrize("name", H5)
def test_lying_h5(name, tmp_path):
    write, words = H5[name]
    path = tmp_path / "net.h5"
    write(path)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=words or ".") as info:
        keras_h5.read(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in info.value.message
    assert peak_bytes <= 2 * path.stat().st_size + tensors.SLACK_BYTES


def test_the_good_files_of_the_liars_are_read(tmp_path):
    path = tmp_path / "net.h5"
    neighbour("hostile_h5").good(path)
    assert keras_h5.read(path).keys() == {"a/kernel", "b/kernel"}
    path = tmp_path / "net.safetensors"
    liar = neighbour("hostile_safetensors")
    path.write_bytes(liar.content(liar.GOOD))
    assert safetensors.read(path).keys() == {"a", "b"}


def test_hdf5_that_never_ends_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "net.h5"
    neighbour("hostile_h5").good(path)
    sleep = (sys.executable, "-c", "import time; time.sleep(60)")
    monkeypatch.setattr(keras_h5, "COMMAND", sleep)
    monkeypatch.setattr(keras_h5, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="found no end of it"):
        keras_h5.read(path)


def test_hdf5_that_crashes_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "net.h5"
    neighbour("hostile_h5").good(path)
    crash = (sys.executable, "-c", "import os; os.abort()")
    monkeypatch.setattr(keras_h5, "COMMAND", crash)
    with pytest.raises(ConfigError, match="ended with exit code -6"):
        keras_h5.read(path)


def test_nothing_beside_the_weights_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.h5"
    neighbour("hostile_h5").good(path)
    for module in ("h5py", "json", "numpy", "trainer"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w')")
    keras_h5.read(path)
    assert not (tmp_path / "ran").exists()


def test_hdf5_has_little_memory(tmp_path):
    path = tmp_path / "net.h5"
    code = (
        "import pathlib, sys; from trainer.weights import h5_places\n"
        "h5_places.look = lambda *_: bytearray(2**28)\n"
        "h5_places.main(pathlib.Path(sys.argv[1]))"
    )
    neighbour("hostile_h5").good(path)
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == '{"refused": "it is damaged (MemoryError)"}\n'
