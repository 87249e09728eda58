"""What plays Kubeflow, for every test here."""

import importlib.util
import pathlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def kubeflow() -> ModuleType:
    """The module `backend.py` of this folder."""
    return _load("backend")


@pytest.fixture
def forked_containers(warm_forks):
    """What starts containers in less time, in place of `Backend.start`."""

    def start(
        words: Sequence[str],
        folder: pathlib.Path,
        variables: Mapping[str, str],
        log: pathlib.Path,
    ) -> int:
        with log.open("wb") as file:
            fork = warm_forks.start(
                words, folder, variables, stdout=file.fileno(), stderr=file.fileno()
            )
        return fork.wait()

    return start


def _load(name: str) -> ModuleType:
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"kubeflow_{name}", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
