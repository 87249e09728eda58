"""Fetches the model that is live, as the baseline of the gate.

Only blessed models are pushed, so the one that is live was blessed once. After a rollback
it is not the newest: a candidate must not fall behind what it would take the place of. A
component does what TFX does with a Resolver node, because open-source
Kubeflow Pipelines runs no resolvers. The candidate is an input so that the cache ties the
baseline to it: evaluating the same candidate twice gives the same verdict.
"""

import pathlib
import shutil
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from common.errors import DataError
from components import artifacts
from pushed_models import mirrored_models, models_config
from storage import manifest

MODEL_KEY = "model"
BASELINE_KEY = "baseline_model"
SERVING_FOLDER_KEY = "serving_folder"
FINGERPRINT_KEY = "source_fingerprint"

# 1 where the artifact holds a model, 0 where nothing was pushed before.
EXISTS_PROPERTY = "exists"
VERSION_PROPERTY = "version"


class BaselineModelSpec(component_spec.ComponentSpec):
    """Channels of BaselineModel."""

    PARAMETERS = {
        SERVING_FOLDER_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {
        BASELINE_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model)
    }


class Executor(base_executor.BaseExecutor):
    """Copies the live version into the artifact, in TFX's model layout.

    A copy, because the version may be pruned while the artifact is still compared.
    """

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class.

        Raises:
          DataError: the live version is damaged.
        """
        baseline = artifact_utils.get_single_instance(output_dict[BASELINE_KEY])
        folder = pathlib.Path(exec_properties[SERVING_FOLDER_KEY])
        mirrored_models.pull(folder.parent)
        live = models_config.live(folder)
        pathlib.Path(baseline.uri).mkdir(parents=True, exist_ok=True)
        baseline.set_int_custom_property(EXISTS_PROPERTY, int(live is not None))
        if live is not None:
            _refuse_damaged(folder / str(live))
            baseline.set_string_custom_property(VERSION_PROPERTY, str(live))
            shutil.copytree(
                folder / str(live), path_utils.serving_model_dir(baseline.uri)
            )


def _refuse_damaged(version: pathlib.Path) -> None:
    """Raises DataError for a version that is not what was pushed; foreign ones pass."""
    if manifest.exists(version) and (found := manifest.problems(version)):
        raise DataError(
            f"version {version.name} in {version.parent}, which is live, is damaged",
            found="; ".join(found),
            tip=f"slimline models rollback {version.parent.name}, or push it again",
        )


class BaselineModel(base_component.BaseComponent):
    """The live version in a serving folder as a Model artifact."""

    SPEC_CLASS = BaselineModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        serving_folder: str | RuntimeParameter,
        source_fingerprint: str,
    ):
        """Makes the component.

        Args:
          model: the candidate, a Model channel.
          serving_folder: folder with a model's versions, `<serving>/<model name>`.
          source_fingerprint: of the code, for the cache.
        """
        super().__init__(
            BaselineModelSpec(
                model=model,
                serving_folder=serving_folder,
                source_fingerprint=source_fingerprint,
                baseline_model=types.Channel(type=standard_artifacts.Model),
            )
        )
