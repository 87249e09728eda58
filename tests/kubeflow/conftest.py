"""The backend that plays Kubeflow, for every test here."""

import importlib.util
import pathlib
import sys
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def kubeflow() -> ModuleType:
    """The module `backend.py` of this folder."""
    path = pathlib.Path(__file__).with_name("backend.py")
    spec = importlib.util.spec_from_file_location("kubeflow_backend", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
