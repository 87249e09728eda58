"""Experiments and their tiny forms."""

import dataclasses

import pytest

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import PipelineConfig
from schema import contract
from trainer.config import as_json, from_json, known_keys
from trainer.nets import geometry, registry


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
@pytest.mark.parametrize("is_tiny", [False, True])
def test_every_experiment_fits_its_net_and_data(name: str, is_tiny: bool) -> None:
    config = experiments.find(name)
    assert config.name == name
    if is_tiny:
        config = experiments.tiny(config)
    size_px = config.trainer.image_size_px
    geometry.check_image_size(registry.find(config.model.net), size_px, size_px)
    if config.data.contract:
        assert config.data.contract in contract.names()


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_configuration_survives_json(name: str) -> None:
    config = experiments.find(name)
    assert from_json(PipelineConfig, as_json(config)) == config


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_every_experiment_says_how_to_run_it(name: str) -> None:
    docstring = experiments.EXPERIMENTS[name].__doc__ or ""
    assert "Run: " in docstring
    assert "Expect: " in docstring


def test_every_setting_has_help() -> None:
    for key, field in known_keys(PipelineConfig).items():
        assert field.metadata.get("help"), key


def test_tiny_takes_two_steps() -> None:
    tiny = experiments.tiny(experiments.cifar10_resnet_20())
    assert (tiny.train.steps, tiny.train.batch_size) == (2, 4)
    assert (tiny.schedule.name, tiny.schedule.warmup_epochs) == ("constant", 0)
    assert tiny.preprocessing.crop_px == 8
    assert dataclasses.replace(tiny, train=None).name == "cifar10_resnet_20"


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match="unknown experiment 'cifar_resnet_20'"
    ) as caught:
        experiments.find("cifar_resnet_20")
    assert caught.value.tip == "did you mean 'cifar10_resnet_20'?"
