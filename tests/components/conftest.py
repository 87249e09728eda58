"""What the tests of several components need."""

import pathlib

import pytest


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """Folder of a SavedModel that holds bytes in place of a graph."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder
