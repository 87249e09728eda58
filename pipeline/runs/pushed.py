"""Whether a model may be pushed, and where a pushed version stands."""

import pathlib

from components.model_pusher import publishing
from pipeline import evaluation, inputs
from pipeline.config import PipelineConfig
from pushed_models import models_config, version_history, versions


def check(config: PipelineConfig, root: pathlib.Path) -> None:
    """Finds out before a run whether its model could be pushed.

    Args:
      config: the experiment.
      root: of the runs.

    Raises:
      ConfigError: the gate is open, and the live version had to pass thresholds.
    """
    name = inputs.model_name(config, inputs.expected_path(config, root))
    publishing.check_replacing(
        root / versions.SERVING_FOLDER / name,
        evaluation.limits(config.evaluation).is_open,
        config.serving.force_push,
    )


def is_live(folder: pathlib.Path) -> bool:
    """Whether the version in `folder`, `<serving>/<model name>/<version>`, is live."""
    return str(models_config.live(folder.parent)) == folder.name


def previous(folder: pathlib.Path) -> int | None:
    """The version that a rollback from this one goes to; None unless it is live."""
    if not is_live(folder):
        return None
    there = versions.numbers(folder.parent)
    return version_history.previous(folder.parent, int(folder.name), there)


def in_short(folder: pathlib.Path, where: str = "") -> str:
    """'version 7 is live · version 6 kept for rollback', of a version's folder.

    Args:
      folder: of the version.
      where: put after 'is live', as ' in runs/serving/cats/7'.
    """
    version = folder.name
    if is_live(folder):
        back = previous(folder)
        kept = "" if back is None else f" · version {back} kept for rollback"
        return f"version {version} is live{where}{kept}"
    # From the cache: it was pushed before, and another was made live since.
    live = models_config.live(folder.parent)
    others = "" if live is None else f" before, version {live} is live"
    return f"version {version} was pushed{others}"
