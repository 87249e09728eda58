"""Runs, experiments and nets as rows, for the commands that list them and for Python."""

import inspect
import pathlib
from typing import Any

from common.errors import ConfigError
from pipeline import experiments, settings
from pipeline.config import PipelineConfig
from pipeline.runs import parts, runs
from trainer.config import known_keys
from trainer.nets import geometry, registry
from trainer.nets.blocks import NetSpec


def of_runs(root: pathlib.Path) -> list[dict[str, Any]]:
    """A row a run under `root`, the newest last: verdict, figures, pushed version."""
    return [_run(folder) for folder in runs.list_runs(root)]


def of_experiments() -> list[dict[str, str]]:
    """A row per experiment: `name` and `description`."""
    return [
        {"name": name, "description": (inspect.getdoc(made) or "").partition("\n")[0]}
        for name, made in experiments.EXPERIMENTS.items()
    ]


def of_settings(name: str) -> dict[str, dict[str, Any]]:
    """Dotted key -> `value` and `help`, of the experiment itself.

    The environment and files of the user are ignored.

    Raises:
      ConfigError: there is no such experiment.
    """
    values = settings.resolve(name, environment={}).values()
    return {
        key: {"value": values[key], "help": field.metadata["help"]}
        for key, field in known_keys(PipelineConfig).items()
    }


def of_nets() -> list[dict[str, Any]]:
    """A row per net, with the figures of its reference."""
    return [of_net(spec) for spec in registry.NETS.values()]


def of_net(spec: NetSpec) -> dict[str, Any]:
    """The figures of a net, as its reference has it."""
    layers = geometry.layer_rows(spec)
    return {
        "name": spec.name,
        "family": spec.family,
        "image_size_px": spec.image_size_px,
        "smallest_image_size_px": geometry.smallest_input_px(spec),
        "channels": spec.channels,
        "num_classes": spec.num_classes,
        "parameters": spec.parameters,
        "multiply_adds": sum(row.cost.multiply_adds for row in layers),
        "reference": spec.reference,
    }


def of_layer(row: geometry.Row) -> dict[str, Any]:
    """The figures of a layer."""
    return {
        "name": row.name,
        "description": row.description,
        "shape": list(row.shape),
        "parameters": row.cost.parameters,
        "multiply_adds": row.cost.multiply_adds,
    }


def _run(folder: pathlib.Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": folder.name, "experiment": None}
    if (folder / runs.MEMBERS_FOLDER).is_dir():
        members = sorted(path.name for path in (folder / runs.MEMBERS_FOLDER).iterdir())
        return row | {"verdict": f"sweep of {len(members)}", "members": members}
    if part := parts.read(folder):
        return row | {
            "experiment": part.experiment,
            "verdict": part.part,
            "seconds": part.total_seconds,
        }
    try:
        summary = runs.read_summary(folder)
    except ConfigError:
        return row | {"verdict": "not finished"}
    return row | {
        "experiment": summary["experiment"],
        "verdict": "passed" if summary["passed"] else "refused",
        "test_top_1": summary["metrics"]["top_1"],
        "eval_top_1": summary["eval_top_1"],
        "seconds": summary["total_seconds"],
        "version": summary["pushed_version"],
    }
