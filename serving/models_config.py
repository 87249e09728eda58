"""TensorFlow Serving's `models.config`: which versions of which models are served.

The file is the single place where that is decided: TensorFlow Serving reads it with
`--model_config_file`, the local server reads it, `slimline models` writes it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from schema import durable, versions
from schema.errors import ConfigError

FILE = "models.config"  # in the folder of the models
# Where the containers of TensorFlow Serving see the folder of the models.
CONTAINER_FOLDER = "/models"
STABLE = "stable"
CANARY = "canary"


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is to be served of one model.

    Attributes:
      versions: numbers, rising; none means the newest complete version, whatever it is.
      labels: label -> version.
    """

    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(serving_folder: pathlib.Path) -> dict[str, Entry]:
    """Entry of each model, by name.

    A model folder that the file does not name serves its newest version, as all do where
    there is no file yet.

    Raises:
      ConfigError: the file is not a ModelServerConfig.
    """
    entries = {
        path.name: Entry() for path in _model_folders(serving_folder)
    } | _in_file(serving_folder)
    return dict(sorted(entries.items()))


def write(serving_folder: pathlib.Path, entries: Mapping[str, Entry]) -> None:
    """Writes the file, whole or not at all.

    Base paths that the file has are kept: they are where a server sees the folder, which
    this machine cannot know.
    """
    base_paths = {
        model.name: model.base_path for model in _parse(serving_folder).config
    }
    document = model_server_config_pb2.ModelServerConfig()
    for name, entry in sorted(entries.items()):
        model = document.model_config_list.config.add(
            name=name,
            base_path=base_paths.get(name, f"{CONTAINER_FOLDER}/{name}"),
            model_platform="tensorflow",
        )
        if entry.versions:
            model.model_version_policy.specific.versions.extend(sorted(entry.versions))
        for label, version in sorted(entry.labels.items()):
            model.version_labels[label] = version
    durable.write_text(serving_folder / FILE, text_format.MessageToString(document))


def _in_file(serving_folder: pathlib.Path) -> dict[str, Entry]:
    return {
        model.name: Entry(
            versions=tuple(sorted(model.model_version_policy.specific.versions)),
            labels=dict(model.version_labels),
        )
        for model in _parse(serving_folder).config
    }


def _parse(
    serving_folder: pathlib.Path,
) -> model_server_config_pb2.ModelConfigList:
    path = serving_folder / FILE
    document = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), document)
    except FileNotFoundError:
        pass
    except (text_format.ParseError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}",
            expected="a ModelServerConfig of TensorFlow Serving in text form",
        ) from error
    return document.model_config_list


def _model_folders(serving_folder: pathlib.Path) -> list[pathlib.Path]:
    if not serving_folder.is_dir():
        return []
    return [path for path in serving_folder.iterdir() if versions.numbers(path)]
