"""What plays Kubeflow, for every test here."""

import importlib.util
import pathlib
import sys
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def kubeflow() -> ModuleType:
    """The module `backend.py` of this folder."""
    return _load("backend")


@pytest.fixture
def forked_containers():
    """Function of a backend that starts containers in less time."""
    with _load("forked_containers").ForkedContainers() as forks:
        yield forks.start


def _load(name: str) -> ModuleType:
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"kubeflow_{name}", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
