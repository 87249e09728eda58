"""Pusher whose versions are whole or absent, and always rise.

The stock Pusher copies straight into the served folder and takes the clock as version: a
kill leaves half a model, two pushes in a second collide, a clock set back pushes a version
that is never served.
"""

import pathlib
from typing import Any

from absl import logging
from tfx import types
from tfx.components.pusher import executor as stock_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components import artifacts
from components.model_pusher.publishing import publish
from pushed_models import data_profile
from schema import features

PROFILE_KEY = "profile"


class ModelPusherSpec(ComponentSpec):
    """Channels of ModelPusher; keys as in the stock Pusher."""

    PARAMETERS = {
        "serving_folder": ExecutionParameter(type=str),
        "is_gate_open": ExecutionParameter(type=int),
        "force_reason": ExecutionParameter(type=str),
        "source_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {
        keys.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        keys.MODEL_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
        keys.INFRA_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
        PROFILE_KEY: ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS = {
        keys.PUSHED_MODEL_KEY: ChannelParameter(type=standard_artifacts.PushedModel)
    }


class Executor(stock_executor.Executor):
    """Checks both blessings as the stock executor does, then publishes."""

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        pushed_model = artifact_utils.get_single_instance(
            output_dict[keys.PUSHED_MODEL_KEY]
        )
        # The stock check takes a missing blessing for one that is not needed.
        is_blessed = all(
            input_dict.get(key)
            for key in (keys.MODEL_BLESSING_KEY, keys.INFRA_BLESSING_KEY)
        ) and self.CheckBlessing(input_dict)
        if not is_blessed:
            self._MarkNotPushed(pushed_model)
            return
        folder = pathlib.Path(exec_properties["serving_folder"])
        # The run, where the orchestrator names it; tests call without a context.
        by = (self._context and self._context.pipeline_run_id) or ""
        version = publish(
            pathlib.Path(self.GetModelPath(input_dict)),
            folder,
            by=by,
            data_profile_file=_profile(input_dict),
            is_gate_open=bool(exec_properties["is_gate_open"]),
            force_reason=exec_properties["force_reason"],
        )
        _link(pathlib.Path(pushed_model.uri), folder / str(version))
        self._MarkPushed(
            pushed_model,
            pushed_destination=str(folder / str(version)),
            pushed_version=str(version),
        )
        logging.info("Pushed version %d to %s", version, folder)


def _profile(input_dict: dict[str, list[types.Artifact]]) -> pathlib.Path | None:
    """What goes beside the model, for the check of the next data."""
    if not input_dict.get(PROFILE_KEY):
        return None
    uri = artifact_utils.get_split_uri(input_dict[PROFILE_KEY], features.TRAIN)
    return pathlib.Path(uri) / data_profile.FILE_NAME


def _link(artifact: pathlib.Path, version: pathlib.Path) -> None:
    """Makes the artifact a link to the served version.

    TFX's cache asks whether an artifact still exists: once the version is removed, the
    link leads nowhere and the next run pushes again.
    """
    artifact.parent.mkdir(parents=True, exist_ok=True)
    if artifact.is_dir():
        artifact.rmdir()
    artifact.symlink_to(version.resolve(), target_is_directory=True)


class ModelPusher(base_component.BaseComponent):
    """Pushes a model with both blessings to `<serving>/<model name>/<version>`."""

    SPEC_CLASS = ModelPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        serving_folder: str | RuntimeParameter,
        source_fingerprint: str,
        profile: types.BaseChannel | None = None,
        is_gate_open: bool = False,
        force_reason: str = "",
    ):
        """Makes the component.

        Args:
          model: the candidate.
          model_blessing: the gate's decision.
          infra_blessing: whether the model can be served.
          serving_folder: folder of the model's versions, `<serving>/<model name>`.
          source_fingerprint: of the code that pushes, for the cache.
          profile: of the data that the model was trained on, kept beside it.
          is_gate_open: whether the gate requires nothing of the model.
          force_reason: why it may replace a version of which something was required.
        """
        super().__init__(
            ModelPusherSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                serving_folder=serving_folder,
                is_gate_open=int(is_gate_open),
                force_reason=force_reason,
                source_fingerprint=source_fingerprint,
                profile=profile,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
