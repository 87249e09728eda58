"""Fetches the live model, as the baseline of the gate.

Only blessed models are pushed, so the live one was blessed once. After a rollback it is not
the newest: a candidate must not fall behind the model that it would replace. A component does
what TFX does with a Resolver node, because open-source Kubeflow Pipelines runs no resolvers.
"""

import pathlib
import shutil

from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from common.errors import DataError
from components import artifacts
from pushed_models import mirrored_models, models_config
from storage import manifest

# 1 where the artifact holds a model, 0 where nothing was pushed before.
EXISTS_PROPERTY = "exists"
VERSION_PROPERTY = "version"


@artifacts.component
def BaselineModel(
    model: InputArtifact[standard_artifacts.Model],
    serving_folder: Parameter[str],
    source_fingerprint: Parameter[str],
    baseline_model: OutputArtifact[standard_artifacts.Model],
) -> None:
    """Copies the live version into an artifact, in TFX's model layout.

    A copy, because the version may be pruned while the artifact is still compared.

    Args:
      model: the candidate. As an input it ties the baseline to the candidate in the cache:
        evaluating the same candidate twice gives the same verdict.
      serving_folder: folder of the model's versions, `<serving>/<model name>`.
      source_fingerprint: of the code, for the cache.
      baseline_model: the copy; EXISTS_PROPERTY says whether there is one.

    Raises:
      DataError: the live version is damaged.
    """
    folder = pathlib.Path(serving_folder)
    mirrored_models.pull(folder.parent)
    live = models_config.live(folder)
    pathlib.Path(baseline_model.uri).mkdir(parents=True, exist_ok=True)
    baseline_model.set_int_custom_property(EXISTS_PROPERTY, int(live is not None))
    if live is None:
        return
    version = folder / str(live)
    # Versions that other tools pushed have no manifest.
    if manifest.exists(version) and (found := manifest.problems(version)):
        raise DataError(
            f"version {live} in {folder}, which is live, is damaged",
            found="; ".join(found),
            tip=f"slimline models rollback {folder.name}, or push it again",
        )
    baseline_model.set_string_custom_property(VERSION_PROPERTY, str(live))
    shutil.copytree(version, path_utils.serving_model_dir(baseline_model.uri))
