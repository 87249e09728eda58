"""The table of sweeps, and the configurations made from it."""

import dataclasses

import pytest

from common.errors import ConfigError
from pipeline import experiments, inputs
from pipeline.sweeps import registry
from trainer.nets.registry import NETS


def base(name):
    return experiments.find(registry.experiment_of(name))


@pytest.mark.parametrize("name", registry.SWEEPS)
@pytest.mark.parametrize("is_tiny", [False, True])
def test_members_differ_in_model_and_training_only(name, is_tiny):
    config = experiments.tiny(base(name)) if is_tiny else base(name)
    members = registry.configs(name, config)
    assert list(members) == list(registry.SWEEPS[name])
    assert len(set(members.values())) == len(members) > 1
    for member in members.values():
        # What ingest and Transform depend on, and the name of the cache.
        assert member.name == config.name
        assert member.data == config.data
        assert member.preprocessing == config.preprocessing
        assert member.model.net in NETS
        assert member.evaluation.min_top_1 == 0
        inputs.check(member)


def test_some_members_in_the_order_of_the_table():
    chosen = ["cnn_gap", "cnn_sigmoid"]
    members = registry.configs("caltech_ablation", base("caltech_ablation"), chosen)
    assert list(members) == ["cnn_sigmoid", "cnn_gap"]


def test_settings_of_the_user_reach_every_member():
    config = base("mnist_mlp_bn")
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, steps=7)
    )
    members = registry.configs("mnist_mlp_bn", config)
    assert {member.train.steps for member in members.values()} == {7}
    assert {member.model.batch_norm for member in members.values()} == {True, False}


def test_unknown_sweep_and_member_name_the_nearest():
    with pytest.raises(ConfigError, match="unknown sweep 'caltech_ablatio'") as info:
        registry.find("caltech_ablatio")
    assert info.value.tip == "did you mean 'caltech_ablation'?"
    with pytest.raises(ConfigError, match="unknown member of sweep") as info:
        registry.configs("caltech_ablation", base("caltech_ablation"), ["cnn_gapp"])
    assert info.value.tip == "did you mean 'cnn_gap'?"


def test_what_the_members_vary_cannot_be_set_from_outside():
    config = base("caltech_ablation")
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, net="lenet")
    )
    with pytest.raises(ConfigError, match=r"set 'model.net' themselves") as info:
        registry.configs("caltech_ablation", config)
    assert info.value.found == "model.net=lenet"
