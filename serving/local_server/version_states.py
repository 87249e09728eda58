"""The versions of one model: who answers, what is to be loaded, what may go.

Decisions only, made anew whenever something has changed; `served_models` carries them out.
"""

import asyncio
import dataclasses
import math

from schema import models_config
from serving.local_server import errors
from serving.local_server.loaded_model import LoadedModel
from serving.local_server.wanted_versions import Wanted

START = "START"
LOADING = "LOADING"
AVAILABLE = "AVAILABLE"
UNLOADING = "UNLOADING"
END = "END"

_OK = 0
_NOT_FOUND = 5
_NOT_THERE = f"{models_config.FILE} names this version, but it is not there"


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """Where a version stands, in TensorFlow Serving's words.

    Attributes:
      version: its number.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      error_code: of gRPC; 0 where all is well.
      error_message: why it was refused, or ''.
    """

    version: int
    state: str
    error_code: int = _OK
    error_message: str = ""


@dataclasses.dataclass(eq=False)
class Version:
    """A version on its way through the states.

    Attributes:
      status: where it stands.
      content: fingerprint of what was loaded or refused, or ''.
      retry_time: of the event loop, when one that was refused is looked at again, though its
        content is the same; infinite for never.
      model: in memory, from AVAILABLE to the end of UNLOADING.
      lease_count: requests that hold it.
      is_free: set while none does.
    """

    status: VersionStatus
    content: str = ""
    retry_time: float = math.inf
    model: LoadedModel | None = None
    lease_count: int = 0
    is_free: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_free.set()

    @property
    def is_refused(self) -> bool:
        """Whether it was found unfit to be served."""
        return self.status.error_code != _OK

    def enter(self, state: str, error_code: int = _OK, message: str = "") -> None:
        """Changes the status."""
        self.status = VersionStatus(self.status.version, state, error_code, message)


@dataclasses.dataclass(eq=False)
class ModelVersions:
    """The versions of a model.

    Attributes:
      name: of the model.
      wanted: what the folder asks for; of a model that is gone, nothing.
      versions: number -> version, of those that were to be loaded and are still there.
      labels: label -> version that answers to it. It stays behind what is wanted while
        that is being loaded, or was refused.
      live: the version that answers where a request names none, or None.
    """

    name: str
    wanted: Wanted
    versions: dict[int, Version] = dataclasses.field(default_factory=dict)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    live: int | None = None

    def available(self) -> list[int]:
        """Versions that answer, rising."""
        return sorted(
            number
            for number, version in self.versions.items()
            if version.status.state == AVAILABLE
        )

    def targets(self) -> tuple[int, ...]:
        """Versions that are to answer, the most urgent first.

        Without pins it is the newest that was not refused.
        """
        if self.wanted.is_pinned:
            return self.wanted.candidates
        sound = (
            number
            for number in self.wanted.candidates
            if number not in self.versions or not self.versions[number].is_refused
        )
        return tuple(sound)[:1]

    def due(self) -> int | None:
        """The next version to load, or None."""
        for number in self.targets():
            version = self.versions.get(number)
            if version is None or (
                version.status.state in (START, END) and not version.is_refused
            ):
                return number
        return None

    def may_answer(self, number: int) -> bool:
        """Whether a version that has just been loaded is still of use.

        Where versions come faster than they load, each that is newer than what answers
        is; else none would ever get its turn.
        """
        is_newer = number > max(self.available(), default=-1)
        is_there = number in self.wanted.candidates
        return number in self.targets() or (
            not self.wanted.is_pinned and is_there and is_newer
        )

    def settle(self) -> list[int]:
        """Moves labels and `live` to what answers by now; returns the versions that may go.

        A version goes when all that are to answer do. Until then it stays if a request can
        get it without naming its number.
        """
        available = self.available()
        if self.wanted.is_gone:
            self.labels, self.live = {}, None
            return available
        moved = {
            label: number if number in available else self.labels.get(label)
            for label, number in self.wanted.labels.items()
        }
        self.labels = {
            label: number
            for label, number in moved.items()
            if number is not None and number in available
        }
        self.live = self._find_live(available)
        kept: set[int | None] = set(self.targets())
        if not kept or not kept <= set(available):
            kept |= {*self.labels.values(), self.live}
        return [number for number in available if number not in kept]

    def _find_live(self, available: list[int]) -> int | None:
        if self.wanted.labels.get(models_config.STABLE) in self.wanted.candidates:
            # Until stable answers what was live goes on, but nothing else steps in.
            before = self.live if self.live in available else None
            return self.labels.get(models_config.STABLE, before)
        targets = self.targets()
        wanted = [number for number in available if number in targets]
        return max(wanted or available, default=None)

    def find(self, version: int | None, label: str | None) -> Version:
        """The version that a request means.

        Raises:
          UnknownVersion, UnknownLabel: there is no such thing.
          NotAvailable: it does not answer at the moment.
        """
        if version is not None:
            if version not in self.available():
                raise errors.UnknownVersion(self.name, version)
            return self.versions[version]
        if label is not None and label not in self.wanted.labels:
            raise errors.UnknownLabel(label)
        number = self.live if label is None else self.labels.get(label)
        if number is None:
            raise errors.NotAvailable(
                "No version of the model is available at the moment; its status says why."
            )
        return self.versions[number]

    def statuses(self, version: int | None, label: str | None) -> list[VersionStatus]:
        """Where the versions stand, the newest first.

        Args:
          version: only this one; None for all.
          label: only the one that answers to it; None for all.

        Raises:
          UnknownModel, UnknownVersion, UnknownLabel: there is no such thing.
        """
        found = {number: one.status for number, one in self.versions.items()}
        for number in self.wanted.missing:
            found.setdefault(
                number,
                VersionStatus(number, END, _NOT_FOUND, _NOT_THERE),
            )
        if label is not None:
            if label not in self.wanted.labels:
                raise errors.UnknownLabel(label)
            version = self.labels.get(label, self.wanted.labels[label])
        if version is not None:
            if version not in found:
                raise errors.UnknownVersion(self.name, version)
            return [found[version]]
        if not found:
            raise errors.UnknownModel(
                self.name,
                f"Could not find any versions of model {errors.shown(self.name)}",
            )
        return [found[number] for number in sorted(found, reverse=True)]
