"""Pusher whose versions are whole or absent, and always rise.

The stock Pusher copies straight into the served folder and takes the clock as version: a
kill leaves half a model, two pushes in a second collide, a clock set back pushes a version
that is never served.
"""

import contextlib
import pathlib
import shutil
import time
import uuid
from typing import Any

from absl import logging
from tfx import types
from tfx.components.pusher import executor as stock_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from schema import durable

MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"
INFRA_BLESSING_KEY = "infra_blessing"
PUSHED_MODEL_KEY = "pushed_model"
SERVING_FOLDER_KEY = "serving_folder"
FINGERPRINT_KEY = "source_fingerprint"

# TensorFlow Serving skips names that are not integers.
STAGING_PREFIX = ".staging-"
ABANDONED_SECONDS = 24 * 3600


class ModelPusherSpec(component_spec.ComponentSpec):
    """Channels of ModelPusher; keys as in the stock Pusher."""

    PARAMETERS = {
        SERVING_FOLDER_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        MODEL_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
        INFRA_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
    }
    OUTPUTS = {
        PUSHED_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel
        )
    }


class Executor(stock_executor.Executor):
    """Checks both blessings as the stock executor does, then publishes."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        pushed_model = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        # The stock check takes a blessing that is not there for one that is not needed.
        is_blessed = all(
            input_dict.get(key) for key in (MODEL_BLESSING_KEY, INFRA_BLESSING_KEY)
        ) and self.CheckBlessing(input_dict)
        if not is_blessed:
            self._MarkNotPushed(pushed_model)
            return
        folder = pathlib.Path(exec_properties[SERVING_FOLDER_KEY])
        version = publish(pathlib.Path(self.GetModelPath(input_dict)), folder)
        _link(pathlib.Path(pushed_model.uri), folder / str(version))
        self._MarkPushed(
            pushed_model,
            pushed_destination=str(folder / str(version)),
            pushed_version=str(version),
        )
        logging.info("Pushed version %d to %s", version, folder)


def _link(artifact: pathlib.Path, version: pathlib.Path) -> None:
    """Makes the artifact a link to the served version.

    TFX's cache asks whether an artifact still exists: once the version is removed, the
    link leads nowhere and the next run pushes again.
    """
    artifact.parent.mkdir(parents=True, exist_ok=True)
    if artifact.is_dir():
        artifact.rmdir()
    artifact.symlink_to(version.resolve(), target_is_directory=True)


def publish(model: pathlib.Path, folder: pathlib.Path) -> int:
    """Copies a SavedModel to a new version; returns its number.

    The copy is made and synced under a name that servers skip, then renamed. The version
    is the time in seconds, or one more than the newest where the clock stands behind it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    staging = folder / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
    try:
        shutil.copytree(model, staging)
        for path in (*staging.rglob("*"), staging):
            durable.sync(path)
        while True:
            version = _next_version(folder)
            try:
                # An empty folder may be replaced by rename, a version with files not:
                # of two pushes at once one fails here and takes the next number.
                staging.rename(folder / str(version))
            except OSError:
                if not (folder / str(version)).exists():
                    raise
                continue
            durable.sync(folder)
            return version
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(folder: pathlib.Path) -> None:
    """Removes what killed pushes left behind; younger copies may be under way."""
    for path in folder.glob(f"{STAGING_PREFIX}*"):
        # Another push may finish, and rename its copy, between the two calls.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path)


def _next_version(folder: pathlib.Path) -> int:
    # Half-made version folders of other tools count too: their numbers are taken.
    taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    return max([int(time.time()), *(number + 1 for number in taken)])


class ModelPusher(base_component.BaseComponent):
    """Pushes a model with both blessings to `<serving>/<model name>/<version>`."""

    SPEC_CLASS = ModelPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        serving_folder: str,
        source_fingerprint: str,
    ):
        """Makes the component.

        Args:
          model: the candidate.
          model_blessing: the gate's decision.
          infra_blessing: whether the model can be served.
          serving_folder: folder of the model's versions, `<serving>/<model name>`.
          source_fingerprint: of the code that pushes, for the cache.
        """
        super().__init__(
            ModelPusherSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                serving_folder=serving_folder,
                source_fingerprint=source_fingerprint,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
