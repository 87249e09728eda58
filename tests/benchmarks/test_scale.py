"""The stages of the scale benchmark, and the images it makes up."""

import pathlib

import numpy as np
import scale

from components.image_example_gen import layouts


def test_images_are_a_release_of_cifar10(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(scale, "IMAGES_A_FILE", 40)
    scale.write_images(tmp_path / "data", 100)
    plan = layouts.plan(str(tmp_path / "data"))
    assert plan.layout.format == "cifar10_binary"
    found = [batch for unit in plan.units for batch in plan.read(unit)]
    assert sorted(len(batch.indices) for batch in found) == [20, 40, 40]
    pixels = np.concatenate([batch.pixels for batch in found])
    assert pixels.shape == (100, 32, 32, 3)
    assert len(np.unique(pixels.reshape(100, -1), axis=0)) == 100
    # Neighbours are alike, as in photographs, and not equal.
    differences = np.abs(np.diff(pixels.astype(int), axis=2))
    assert 1 < differences.mean() < 20


def test_stages_are_components_of_a_run(tmp_path: pathlib.Path) -> None:
    for stage in scale.STAGES:
        component, arguments = scale._component(stage, tmp_path)
        assert component.id == stage
        assert "--runner=FnApiRunner" in arguments
        needed = {each.producer_component_id for each in component.inputs.values()}
        assert needed <= set(scale.STAGES[: scale.STAGES.index(stage)])
