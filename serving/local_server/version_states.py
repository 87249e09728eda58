"""The versions of one model: who answers, what is to be loaded, what may go.

Decisions only, made again whenever something has changed; `served_models` carries them out.
"""

import dataclasses
from typing import TYPE_CHECKING

import grpc

from pushed_models import models_config
from serving.local_server import errors
from serving.local_server.answering import Target
from serving.local_server.wanted_versions import Wanted

if TYPE_CHECKING:
    from serving.local_server.loaded_model import LoadedModel

LOADING = "LOADING"
AVAILABLE = "AVAILABLE"
UNLOADING = "UNLOADING"
END = "END"


@dataclasses.dataclass(eq=False)
class Version:
    """A version on its way through TensorFlow Serving's states."""

    number: int
    state: str  # LOADING, AVAILABLE, UNLOADING or END
    error: str = ""  # why it was refused
    code: grpc.StatusCode = grpc.StatusCode.OK
    content: str = ""  # fingerprint of what was refused, until that changes
    model: "LoadedModel | None" = None  # from AVAILABLE to the end of UNLOADING


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
            one.number for one in self.versions.values() if one.state == AVAILABLE
        )

    def targets(self) -> tuple[int, ...]:
        """Versions that are to answer, the most urgent first.

        Without pins it is the newest that was not refused.
        """
        if self.wanted.is_pinned:
            return self.wanted.numbers
        refused = {one.number for one in self.versions.values() if one.error}
        return tuple(one for one in self.wanted.numbers if one not in refused)[:1]

    def due(self) -> int | None:
        """The next version to load, or None."""
        for number in self.targets():
            version = self.versions.get(number)
            if version is None or (version.state == END and not version.error):
                return number
        return None

    def settle(self) -> list[Version]:
        """Moves labels and `live` to what answers by now; returns the versions that may go.

        A version goes when all that are to answer do. Until then it stays if a request can
        get it without naming its number.
        """
        available = self.available()
        kept: set[int | None] = set()
        self.labels = {
            label: number if number in available else self.labels[label]
            for label, number in self.wanted.labels.items()
            if number in available or self.labels.get(label) in available
        }
        self.live = self._find_live(available)
        if not self.wanted.is_gone:
            kept = set(self.targets())
            if not kept or not kept <= set(available):
                kept |= {*self.labels.values(), self.live}
        return [self.versions[number] for number in available if number not in kept]

    def _find_live(self, available: list[int]) -> int | None:
        if self.wanted.is_gone:
            return None
        if self.wanted.labels.get(models_config.STABLE) in self.wanted.numbers:
            # Until stable answers what was live goes on, but nothing else steps in.
            before = self.live if self.live in available else None
            return self.labels.get(models_config.STABLE, before)
        wanted = {*available} & {*self.targets()}
        return max(wanted or available, default=None)

    def find(self, target: Target) -> Version:
        """The version that a request means.

        Raises:
          NotFound, BadRequest: there is no such version or label.
          Unavailable: it does not answer at the moment.
        """
        number = self.live
        if target.version is not None:
            number = target.version
            if number not in self.available():
                raise errors.NotFound(
                    "Servable not found for request:"
                    f" Specific({errors.shown(self.name)}, {number})"
                )
        elif target.label is not None:
            self._check_label(target.label)
            number = self.labels.get(target.label)
        if number is None:
            raise errors.Unavailable(
                "No version of the model is available at the moment; its status says why."
            )
        return self.versions[number]

    def statuses(self, target: Target) -> list[Version]:
        """Where the versions that `target` means stand, the newest first.

        Raises:
          NotFound, BadRequest: there is no such version or label.
        """
        missing = (
            Version(
                number,
                END,
                f"{models_config.FILE} names this version, but it is not there",
                grpc.StatusCode.NOT_FOUND,
            )
            for number in self.wanted.missing
        )
        found = {version.number: version for version in missing} | self.versions
        number = target.version
        if target.label is not None:
            self._check_label(target.label)
            number = self.labels.get(target.label, self.wanted.labels[target.label])
        if number is not None:
            found = {number: found[number]} if number in found else {}
        if not found:
            which = "any versions" if number is None else f"version {number}"
            raise errors.NotFound(
                f"Could not find {which} of model {errors.shown(self.name)}"
            )
        return [found[number] for number in sorted(found, reverse=True)]

    def _check_label(self, label: str) -> None:
        if label not in self.wanted.labels:
            raise errors.BadRequest(
                f"Unrecognized servable version label: {errors.shown(label)}"
            )
