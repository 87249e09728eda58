"""Malicious files of weights run nothing, take little memory and end in a sentence."""

import importlib.util
import pathlib
import sys
import tracemalloc

import numpy as np
import pytest

from schema.errors import ConfigError
from trainer.weights import opening, pytorch, tensors


def neighbour(name):
    """A module of this folder, which is no package."""
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYTORCH = neighbour("hostile_pytorch").files()
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
        with pytest.raises(ConfigError, match=words):
            pytorch.read(path)
    assert peak_bytes <= 2 * len(content) + tensors.SLACK_BYTES
    assert [file.name for file in tmp_path.iterdir()] == ["net.pth"]


def test_mutants_of_state_dicts(tmp_path, torch_files):
    arrays = {"w": np.ones((3, 2), np.float32), "b": np.ones(2, np.float16)}
    state = torch_files.state_dict_of(arrays)
    random = np.random.default_rng(5)
    path = tmp_path / "net.pth"
    refused = 0
    for content in (torch_files.legacy_bytes(state), torch_files.zip_bytes(state)):
        for _ in range(1_500):
            mutant = bytearray(content)
            for place in random.integers(len(mutant), size=random.integers(1, 5)):
                mutant[place] = random.integers(256)
            path.write_bytes(mutant)
            error, events, peak_bytes = read_watched(path)
            assert events == []
            assert peak_bytes <= tensors.SLACK_BYTES
            refused += error is not None
    assert refused > 1_500
