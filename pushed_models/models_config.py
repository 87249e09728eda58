"""TensorFlow Serving's `models.config`: which versions of which models are served.

The file is the single place where that is decided: TensorFlow Serving reads it with
`--model_config_file`, the local server reads it, the pusher and `slimline models` write it,
one at a time.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Mapping

import filelock
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from common.errors import ConfigError
from pushed_models import versions
from storage import durable, locks, mirror

FILE = "models.config"  # in the folder of the models
LOCK_FILE = ".models.config.lock"
LOCK_SECONDS = 60.0
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

    @property
    def is_pinned(self) -> bool:
        """Whether it names versions, so that a new one is not served by being there."""
        return bool(self.versions or self.labels)

    def live(self, complete: Collection[int]) -> int | None:
        """The version that a request gets which names none.

        It is `stable` where that is there, else the newest of those named; where none of
        them is there, as after a hand has removed them, the newest of all.

        Args:
          complete: versions that are there.
        """
        stable = self.labels.get(STABLE)
        if stable in complete:
            return stable
        named = set(self.versions) & set(complete)
        return max(named or complete, default=None)

    def with_stable(
        self, version: int, complete: Collection[int], *beside: int | None
    ) -> "Entry":
        """The entry after `version` has become stable.

        Every labelled version stays served. Those that are not there are dropped.

        Args:
          version: a complete one.
          complete: versions that are there.
          *beside: versions to serve as well, such as the former stable one.
        """
        labels = {
            label: number
            for label, number in self.labels.items()
            if number in complete and (label, number) != (CANARY, version)
        } | {STABLE: version}
        served = set(complete) & {*labels.values(), *beside}
        return Entry(tuple(sorted(served)), dict(sorted(labels.items())))


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


def live(model_folder: pathlib.Path) -> int | None:
    """The complete version that is live in a model's folder, or None.

    Raises:
      ConfigError: the file beside the model is not a ModelServerConfig.
    """
    model_folder = model_folder.absolute()
    entry = _in_file(model_folder.parent).get(model_folder.name, Entry())
    return entry.live(versions.numbers(model_folder))


def write(serving_folder: pathlib.Path, entries: Mapping[str, Entry]) -> None:
    """Writes the file, atomically; nothing where it says the same already.

    The file of a root in an object store is written there first.

    What else the file has is kept: base paths, which are where a server sees the folder
    and this machine cannot know, and settings such as the log of requests.
    """
    document = _parse(serving_folder)
    models = document.model_config_list.config
    known = {model.name: model for model in models}
    for name, entry in sorted(entries.items()):
        model = known.get(name)
        if model is None:
            model = models.add(
                name=name,
                base_path=f"{CONTAINER_FOLDER}/{name}",
                model_platform="tensorflow",
            )
        policy = model.model_version_policy
        if not entry.versions and policy.HasField("specific"):
            model.ClearField("model_version_policy")
        elif set(policy.specific.versions) != set(entry.versions):
            policy.specific.versions[:] = sorted(entry.versions)
        model.version_labels.clear()
        model.version_labels.update(sorted(entry.labels.items()))
    for model in [model for model in models if model.name not in entries]:
        models.remove(model)
    if document != _parse(serving_folder):
        text = text_format.MessageToString(document)
        mirror.put_text(serving_folder / FILE, text)
        durable.write_text(serving_folder / FILE, text)


@contextlib.contextmanager
def lock(serving_folder: pathlib.Path) -> Iterator[None]:
    """Keeps others from changing the file; readers need no lock.

    Raises:
      ConfigError: another holds it for too long, or it is no file that can be locked.
    """
    file = serving_folder / LOCK_FILE
    try:
        held = locks.acquire(file, LOCK_SECONDS)
    except filelock.Timeout as error:
        raise ConfigError(
            f"another command has been changing the models in {serving_folder} for"
            f" {LOCK_SECONDS:g} s",
            tip="wait for it, or find out what it waits for",
        ) from error
    with held:
        yield


def _in_file(serving_folder: pathlib.Path) -> dict[str, Entry]:
    return {
        model.name: Entry(
            versions=tuple(sorted(model.model_version_policy.specific.versions)),
            labels=dict(sorted(model.version_labels.items())),
        )
        for model in _parse(serving_folder).model_config_list.config
    }


def _parse(serving_folder: pathlib.Path) -> model_server_config_pb2.ModelServerConfig:
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
    return document


def _model_folders(serving_folder: pathlib.Path) -> list[pathlib.Path]:
    if not serving_folder.is_dir():
        return []
    return [path for path in serving_folder.iterdir() if versions.numbers(path)]
