"""Whether a model may be pushed."""

import pathlib

from components.model_pusher import publishing
from pipeline import evaluation, inputs
from pipeline.config import PipelineConfig
from pushed_models import versions


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
