"""Class names of the model that is compared with."""

import pathlib

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from components.model_evaluator import component


@pytest.mark.parametrize(
    ("lines", "size", "known"),
    [
        ("cat\ndog\n", 2, ("cat", "dog")),
        ("cat\ndog\n", -1, ("cat", "dog")),  # the graph leaves it open
        ("cat\ndog\n", 3, ()),
        ("cat\ndog\ncat\n", 3, ()),
        (None, 2, ()),
    ],
)
def test_names_that_do_not_fit_the_outputs_are_unknown(
    tmp_path: pathlib.Path, lines: str | None, size: int, known: tuple[str, ...]
) -> None:
    model = saved_model_pb2.SavedModel()
    signature = model.meta_graphs.add().signature_def["serving_default"]
    shape = signature.outputs["probabilities"].tensor_shape
    shape.dim.add(size=-1)
    shape.dim.add(size=size)
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    if lines is not None:
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "labels.txt").write_text(lines)
    assert component._labels(tmp_path) == known
