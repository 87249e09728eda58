"""Parts of a pipeline, without running them."""

import pytest

from common.errors import ConfigError
from pipeline import dag, experiments
from pipeline.config import BulkInferenceConfig
from pipeline.runs import partial_runs, parts
from pipeline.runs.parts import Part
from trainer.config import as_json, flatten


def test_the_components_are_those_of_the_pipeline(compile_pipeline) -> None:
    config = BulkInferenceConfig(splits=("test",))
    nodes = compile_pipeline(bulk_inference=config).nodes
    names = [node.pipeline_node.node_info.id for node in nodes]
    assert set(names) == set(parts.COMPONENTS)
    places = {name: place for place, name in enumerate(parts.COMPONENTS)}
    for node in nodes:
        for upstream in node.pipeline_node.upstream_nodes:
            assert places[upstream] < places[node.pipeline_node.node_info.id]


def test_settings_that_components_read_exist() -> None:
    known = flatten(as_json(experiments.find("digits_resnet_20")))
    assert set(dag.NODES) == set(parts.COMPONENTS)
    for node in dag.NODES.values():
        for name in node.settings:
            assert any(key == name or key.startswith(f"{name}.") for key in known), name


def test_the_order_of_first_and_last() -> None:
    parts.check(Part("train", "push"))
    parts.check(Part("train", "train"))
    parts.check(Part(last="ingest"))
    with pytest.raises(ConfigError, match="'push' comes after 'train'") as error:
        parts.check(Part("push", "train"))
    assert error.value.tip == "--from train --to push"


def test_words() -> None:
    assert str(Part("train", "push")) == "train to push"
    assert str(Part(last="check")) == "contract to check"
    assert str(Part("evaluate")) == "evaluate to the end"
    assert not Part()


def test_only_settings_of_what_is_taken_over_have_no_effect() -> None:
    earlier = {"train.steps": 2, "data.path": "a", "evaluation.min_top_1": 0.5}
    now = {"train.steps": 3, "data.path": "b", "evaluation.min_top_1": 0.6}
    reused = ["ingest", "transform"]
    assert partial_runs.without_effect(now, earlier, reused) == [
        ("data.path", "ingest")
    ]
    assert partial_runs.without_effect(now, earlier, [*reused, "train"]) == [
        ("data.path", "ingest"),
        ("train.steps", "train"),
    ]
    assert partial_runs.without_effect(earlier, earlier, parts.COMPONENTS) == []
    # A setting that an older version did not have says nothing.
    assert partial_runs.without_effect({"train.new": 1}, {}, parts.COMPONENTS) == []


def test_an_outcome_is_kept(tmp_path) -> None:
    assert parts.read(tmp_path) is None
    outcome = parts.Outcome(
        run="r",
        folder="f",
        experiment="e",
        part="contract to check",
        base="",
        details={"check": "the data keep their contract"},
        seconds={"check": 0.5},
        total_seconds=2.0,
    )
    parts.write(tmp_path, outcome)
    assert parts.read(tmp_path) == outcome


@pytest.mark.parametrize(
    ("part", "reaches"),
    [
        (parts.Part(), True),
        (parts.Part("push"), True),
        (parts.Part("infer"), False),
        (parts.Part(last="push"), True),
        (parts.Part("train", "evaluate"), False),
    ],
)
def test_which_parts_push(part: parts.Part, reaches: bool) -> None:
    assert part.reaches("push") is reaches
