"""The section `infra`."""

import dataclasses
import shutil

import pytest

from common.errors import ConfigError
from pipeline import experiments, infra, inputs
from pipeline.config import InfraConfig


def test_tensorflow_serving_needs_docker(monkeypatch) -> None:
    config = experiments.find("digits_resnet_20")
    config = dataclasses.replace(config, infra=InfraConfig(validator="tf_serving"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        inputs.check(config)
    assert caught.value.message == (
        "setting 'infra.validator' is tf_serving, which runs in Docker"
    )
    assert caught.value.found == "no docker command"
    assert caught.value.tip.startswith("--set infra.validator=process ")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    inputs.check(config)


@pytest.mark.parametrize("name", ["max_latency_ms", "max_size_mb"])
def test_tensorflow_serving_measures_nothing(monkeypatch, name) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    config = InfraConfig(validator="tf_serving", **{name: 5})
    with pytest.raises(ConfigError, match=f"'infra.{name}' has no effect"):
        infra.check(config)
