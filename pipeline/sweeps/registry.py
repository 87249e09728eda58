"""Named sweeps: an experiment, and members that change settings of model and training.

Ingest and Transform do not depend on those settings: after the first member they come from
TFX's cache, as finished members do when an interrupted sweep is rerun.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import OPEN_GATE, PipelineConfig
from pipeline.settings import put
from trainer import lookup
from trainer.config import as_json, flatten, from_json

# Dotted key -> value, by member.
Members = Mapping[str, Mapping[str, Any]]


def of_nets(*names: str) -> Members:
    """A member for each net, with its name."""
    return {name: {"model.net": name} for name in names}


BATCH_NORM_PAIR: Members = {
    "batch_norm": {"model.batch_norm": True},
    "no_batch_norm": {"model.batch_norm": False},
}


def without(tools: Members, seeds: Sequence[int]) -> Members:
    """The experiment as it is ('all') and without each of `tools`, with each seed.

    Args:
      tools: name of a member -> the settings that leave a tool out.
      seeds: of the training.
    """
    return {
        f"{name}_{seed}": {**settings, "train.seed": seed}
        for name, settings in {"all": {}, **tools}.items()
        for seed in seeds
    }


# The rates of airbench94's recipe for Nesterov's rule: 11.5 for the sum of 1,024 losses, by
# 1 + 1 / (1 - momentum), and 64 times that for batch norm.
NESTEROV: Mapping[str, Any] = {
    "train.optimizer": "nesterov",
    "train.learning_rate": 1.5,
    "train.norm_rate_factor": 64.0,
    "train.first_rate_factor": 1.0,
    "train.head_rate_factor": 1.0,
    "train.weight_decay": 1.33e-3,
}
# Test-time views are not among them: the table shows every member without them, too.
FAST_TOOLS: Members = {
    "relu": {"model.activation": "relu"},
    "no_dirac": {"model.weight_init": "fan_in_uniform"},
    "no_whitening": {"model.whitening": False},
    "no_logits_scale": {"model.logits_scale": 1.0},
    "nesterov": NESTEROV,
    "random_flip": {
        "augmentation.alternating_flip": False,
        "augmentation.flip_left_right": True,
    },
    "zero_border": {"augmentation.fill": "zero"},
    "no_smoothing": {"train.label_smoothing": 0.0},
    "one_rate_for_norm": {"train.norm_rate_factor": 1.0},
}

# By name: that of the experiment, or one that `_EXPERIMENTS` maps to it.
SWEEPS: dict[str, Members] = {
    "cifar10_inception_v2": BATCH_NORM_PAIR,
    "mnist_mlp_bn": BATCH_NORM_PAIR,
    "cifar10_fast_ablation": without(FAST_TOOLS, seeds=(1, 2, 3)),
    "caltech_classics": of_nets(
        "lenet",
        "alexnet",
        "vgg_13",
        "vgg_16",
        "vgg_19",
        "googlenet",
        "vgg_13_bn",
        "googlenet_bn",
    ),
    "caltech_ablation": of_nets(
        "cnn_sigmoid",
        "cnn_bn",
        "cnn_leaky",
        "cnn_gap",
        "cnn_dropout",
        "cnn_3x3",
        "cnn_concat",
        "cnn_all_tricks",
    ),
}


# No name of an experiment begins another's (`inputs.identity`).
_EXPERIMENTS = {"cifar10_fast_ablation": "cifar10_fast"}


def experiment_of(name: str) -> str:
    """Name of the experiment that the members of the sweep `name` change."""
    return _EXPERIMENTS.get(name, name)


def find(name: str) -> Members:
    """The members of the sweep `name`.

    Raises:
      ConfigError: there is no such sweep; the nearest is named.
    """
    return lookup.find_by_name(SWEEPS, name, "sweep")


def configs(
    name: str, base: PipelineConfig, chosen: Sequence[str] = ()
) -> dict[str, PipelineConfig]:
    """Configuration of each member, in the order of the table.

    The gate is open: a sweep deploys nothing, and a net that does not learn is a result.

    Args:
      name: of the sweep.
      base: the experiment with the user's settings.
      chosen: members to take; all if empty.

    Raises:
      ConfigError: an unknown sweep or member, or the user changed a setting that the
        members set.
    """
    members = find(name)
    for member in chosen:
        lookup.find_by_name(members, member, f"member of sweep '{name}'")
    own = flatten(as_json(experiments.find(base.name)))
    given = flatten(as_json(base))
    varied = sorted({key for settings in members.values() for key in settings})
    for key in varied:
        if given[key] != own[key]:
            raise ConfigError(
                f"the members of sweep '{name}' set '{key}' themselves",
                found=f"{key}={given[key]}",
                tip=f"slimline run {base.name} --set {key}={given[key]} trains that one",
            )
    made = {}
    for member in [name for name in members if not chosen or name in chosen]:
        values = as_json(dataclasses.replace(base, evaluation=OPEN_GATE))
        for key, value in members[member].items():
            put(values, key, value)
        made[member] = from_json(PipelineConfig, values)
    return made
