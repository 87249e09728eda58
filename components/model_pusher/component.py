"""Pusher whose versions are published atomically, and always rise.

The stock Pusher copies straight into the served folder and takes the clock as version: a
kill leaves half a model, two pushes in a second collide, a clock set back pushes a version
that is never served.
"""

import pathlib

from absl import logging
from tfx.components.util import model_utils
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components import artifacts
from components.model_pusher.publishing import publish
from pushed_models import data_profile
from schema import features


@artifacts.component
def ModelPusher(
    model: InputArtifact[standard_artifacts.Model],
    serving_folder: Parameter[str],
    is_gate_open: Parameter[int],
    force_reason: Parameter[str],
    source_fingerprint: Parameter[str],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing] = None,
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing] = None,
    profile: InputArtifact[standard_artifacts.ExampleStatistics] = None,
) -> None:
    """Pushes a model with both blessings to `<serving>/<model name>/<version>`.

    Args:
      model: the candidate.
      serving_folder: folder of the model's versions, `<serving>/<model name>`.
      is_gate_open: 1 where the gate requires nothing of the model, else 0.
      force_reason: why it may replace a version of which something was required.
      source_fingerprint: of the code that pushes, for the cache.
      pushed_model: marked as by the stock Pusher; a link to the version.
      model_blessing: the gate's decision; without it nothing is pushed.
      infra_blessing: whether the model can be served; without it nothing is pushed.
      profile: of the data that the model was trained on, kept beside it for the check of
        the next data.

    Raises:
      ConfigError: as `publish`.
    """
    is_blessed = (
        model_blessing
        and infra_blessing
        and model_utils.is_model_blessed(model_blessing)
        and model_utils.is_infra_validated(infra_blessing)
    )
    pushed_model.set_int_custom_property("pushed", int(bool(is_blessed)))
    if not is_blessed:
        return
    file = None
    if profile:
        uri = artifact_utils.get_split_uri([profile], features.TRAIN)
        file = pathlib.Path(uri) / data_profile.FILE_NAME
    folder = pathlib.Path(serving_folder)
    version = publish(
        pathlib.Path(path_utils.serving_model_path(model.uri)),
        folder,
        by=artifacts.run_name(),
        data_profile_file=file,
        is_gate_open=bool(is_gate_open),
        force_reason=force_reason,
    )
    destination = folder / str(version)
    _link(pathlib.Path(pushed_model.uri), destination)
    pushed_model.set_string_custom_property("pushed_destination", str(destination))
    pushed_model.set_string_custom_property("pushed_version", str(version))
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
