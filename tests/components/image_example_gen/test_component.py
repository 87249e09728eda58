"""Channels and properties of the component."""

from tfx import types
from tfx.types import standard_artifacts

from components.image_example_gen import component, executor


def test_spec():
    contract = types.Channel(type=standard_artifacts.Schema)
    made = component.ImageExampleGen(
        contract, "data", eval_fraction=0.2, output_shards=3
    )
    assert made.inputs["contract"].type is standard_artifacts.Schema
    assert made.outputs["examples"].type is standard_artifacts.Examples
    assert made.exec_properties == {
        "input_path": "data",
        "input_format": "auto",
        "input_answers": "",
        "input_fingerprint": "",
        "input_spans": "",
        "window_spans": 1,
        "eval_fraction": 0.2,
        "test_fraction": 0.1,
        "split_seed": 0,
        "max_unreadable_share": 0.01,
        "channels": 3,
        "output_shards": 3,
        "source_fingerprint": "",
    }
    assert made.executor_spec.executor_class is executor.Executor
