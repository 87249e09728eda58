"""The DAG by its compiled nodes and edges."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from tfx.proto.orchestration import pipeline_pb2

from pipeline import dag, experiments
from pipeline.config import BulkInferenceConfig, InfraConfig
from trainer.config import PreprocessingConfig, TrainConfig, TrainerConfig
from trainer.nets import registry
from trainer.nets.published import Source
from trainer.weights import mapping, safetensors, store

EDGES = {
    "contract": set(),
    "ingest": {"contract"},
    "statistics": {"ingest", "contract"},
    "check": {"ingest", "statistics", "contract"},
    "transform": {"ingest", "contract", "check"},
    "train": {"ingest", "transform", "contract"},
    "baseline": {"train"},
    "evaluate": {"ingest", "train", "baseline"},
    "infra": {"train", "contract"},
    "push": {"train", "evaluate", "infra", "check"},
}


def edges_of(compiled: pipeline_pb2.Pipeline) -> dict[str, set[str]]:
    return {
        node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes)
        for node in compiled.nodes
    }


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_nodes_and_edges(compile_pipeline, name: str) -> None:
    assert edges_of(compile_pipeline(name)) == EDGES


def test_a_comparison_leaves_out_what_leads_to_a_server(compile_pipeline) -> None:
    edges = edges_of(compile_pipeline("caltech_ablation", deploys=False))
    assert edges == {
        name: above for name, above in EDGES.items() if name not in ("infra", "push")
    }


def test_tensorflow_serving_takes_the_place_of_the_process(compile_pipeline) -> None:
    config = InfraConfig(validator="tf_serving")
    compiled = compile_pipeline("digits_resnet_20", infra=config)
    above = {"train", "ingest"}
    assert edges_of(compiled) == EDGES | {"infra": above}
    infra = parameters(compiled, "infra")
    assert json.loads(infra["serving_spec"]) == {
        "tensorflow_serving": {"tags": [dag.TF_SERVING_TAG]},
        "local_docker": {},
    }
    request = json.loads(infra["request_spec"])
    assert request["split_name"] == "eval"
    assert request["tensorflow_serving"] == {"signature_names": ["serving_default"]}


def test_bulk_inference_follows_the_gate(compile_pipeline) -> None:
    config = BulkInferenceConfig(splits=("eval", "test"))
    compiled = compile_pipeline("digits_resnet_20", bulk_inference=config)
    assert edges_of(compiled) == EDGES | {"infer": {"ingest", "train", "evaluate"}}
    infer = parameters(compiled, "infer")
    assert json.loads(infer["data_spec"]) == {"example_splits": ["eval", "test"]}
    assert json.loads(infer["model_spec"]) == {
        "model_signature_name": ["serving_default"]
    }


def test_limits_reach_the_check_alone(compile_pipeline) -> None:
    config = InfraConfig(max_difference=0.5, max_latency_ms=20, max_size_mb=30)
    compiled = compile_pipeline("digits_resnet_20", infra=config)
    assert json.loads(parameters(compiled, "infra")["limits"]) == {
        "max_difference": 0.5,
        "max_latency_ms": 20,
        "max_size_mb": 30,
        "timeout_seconds": 300.0,
    }
    before = compile_pipeline("digits_resnet_20")
    for component in EDGES.keys() - {"infra"}:
        assert parameters(compiled, component) == parameters(before, component)


def parameters(compiled: pipeline_pb2.Pipeline, component: str) -> dict[str, str]:
    (node,) = (
        node.pipeline_node
        for node in compiled.nodes
        if node.pipeline_node.node_info.id == component
    )
    return {
        name: value.field_value.string_value
        for name, value in node.parameters.parameters.items()
    }


def test_transform_writes_no_pixels_and_analyses_train_only(compile_pipeline) -> None:
    transform = parameters(compile_pipeline("cifar10_resnet_20"), "transform")
    assert json.loads(transform["splits_config"])["analyze"] == ["train"]
    compiled = compile_pipeline("cifar10_resnet_20")
    (node,) = (
        node.pipeline_node
        for node in compiled.nodes
        if node.pipeline_node.node_info.id == "transform"
    )
    assert "transformed_examples" not in node.outputs.outputs


def test_the_gate_looks_at_test_and_the_trainer_does_not(compile_pipeline) -> None:
    compiled = compile_pipeline("cifar10_resnet_20")
    assert parameters(compiled, "evaluate")["split"] == "test"
    train = parameters(compiled, "train")
    assert json.loads(train["train_args"])["splits"] == ["train"]
    assert json.loads(train["eval_args"])["splits"] == ["eval"]


def test_other_weights_of_the_same_name_train_anew(
    compile_pipeline, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFX compares properties, and the name of the weights stays."""
    images = PreprocessingConfig(resize_px=32, crop_px=32)
    spec = dataclasses.replace(
        registry.NETS["lenet_5"], sources=(Source("slim", "somebody", (), images),)
    )
    monkeypatch.setitem(registry.NETS, "lenet_5", spec)
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "store"))
    random = np.random.default_rng(0)
    found = []
    for _ in range(2):
        with (tmp_path / "lenet.safetensors").open("wb") as file:
            shapes = mapping.expected_shapes(spec, 10).items()
            safetensors.write(
                file,
                {name: random.random(shape, np.float32) for name, shape in shapes},
            )
        store.add(tmp_path / "lenet.safetensors", "lenet_5", name="mine")
        train = TrainConfig(weights="mine")
        compiled = compile_pipeline("digits_resnet_20", train=train)
        found.append(
            {component: parameters(compiled, component) for component in EDGES}
        )
        store.remove("mine")
    first, second = found
    assert [name for name in EDGES if first[name] != second[name]] == ["train"]
    configs = [json.loads(one["train"]["custom_config"]) for one in found]
    fingerprints = [config.pop("weights_fingerprint") for config in configs]
    assert configs[0] == configs[1]
    assert fingerprints[0] != fingerprints[1]


def test_thresholds_do_not_reach_the_trainer(compile_pipeline) -> None:
    """Another threshold must not train anew."""
    train = parameters(compile_pipeline("cifar10_resnet_20"), "train")
    config = json.loads(train["custom_config"])["config"]
    fields = {field.name for field in dataclasses.fields(TrainerConfig)}
    assert set(config) == fields
    assert not fields & {"data", "evaluation", "infra", "bulk_inference", "serving"}
