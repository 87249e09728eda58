"""Decides which version of a model answers, and which to load and unload.

`served_models` asks again after every change, and carries the decisions out.
"""

import dataclasses
from typing import TYPE_CHECKING

import grpc

from pushed_models import models_config
from serving.local_server import errors
from serving.local_server.wanted_versions import Wanted
from serving.model_spec import ModelSpec

if TYPE_CHECKING:
    from serving.local_server.loaded_model import LoadedModel

LOADING = "LOADING"
AVAILABLE = "AVAILABLE"
UNLOADING = "UNLOADING"
END = "END"


@dataclasses.dataclass(eq=False)
class Version:
    """A version and its state, one of TensorFlow Serving's."""

    number: int
    state: str  # LOADING, AVAILABLE, UNLOADING or END
    error: str = ""  # why it was refused, in state END
    code: grpc.StatusCode = grpc.StatusCode.OK
    content: str = ""  # fingerprint of a refused version
    model: "LoadedModel | None" = None  # from AVAILABLE to the end of UNLOADING


@dataclasses.dataclass(eq=False)
class ModelVersions:
    """The versions of a model."""

    name: str  # of the model
    wanted: Wanted  # its wanted versions
    # Number -> version, of those that were loaded or refused and still exist.
    versions: dict[int, Version] = dataclasses.field(default_factory=dict)
    # Label -> version that answers to it; the former version while the wanted one loads
    # or is refused.
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    # The version that answers requests without version and label, or None.
    live: int | None = None

    def available(self) -> list[int]:
        """Versions that answer, ascending."""
        return sorted(
            one.number for one in self.versions.values() if one.state == AVAILABLE
        )

    def targets(self) -> tuple[int, ...]:
        """Versions that should answer, most urgent first.

        Unless models.config names versions, this is the newest one that was not refused.
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
        """Updates labels and `live`; returns the versions to unload.

        Other versions than the targets are unloaded when all targets answer. Until then
        those stay that requests get without naming their number.
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
            # Until the stable version answers, only the former live one takes its place.
            before = self.live if self.live in available else None
            return self.labels.get(models_config.STABLE, before)
        wanted = {*available} & {*self.targets()}
        return max(wanted or available, default=None)

    def find(self, spec: ModelSpec) -> Version:
        """The version that a request names.

        Raises:
          NotFound, BadRequest: there is no such version or label.
          Unavailable: it does not answer at the moment.
        """
        number = self.live
        if spec.version is not None:
            number = spec.version
            if number not in self.available():
                raise errors.NotFound(
                    "Servable not found for request:"
                    f" Specific({errors.shown(self.name)}, {number})"
                )
        elif spec.label is not None:
            self._check_label(spec.label)
            number = self.labels.get(spec.label)
        if number is None:
            raise errors.Unavailable(
                "No version of the model is available at the moment; its status says why."
            )
        return self.versions[number]

    def statuses(self, spec: ModelSpec) -> list[Version]:
        """The versions that `spec` names, newest first.

        Raises:
          NotFound, BadRequest: there is no such version or label.
        """
        error = f"{models_config.FILE} names this version, but it is missing"
        known = {
            number: Version(number, END, error, grpc.StatusCode.NOT_FOUND)
            for number in self.wanted.missing
        } | self.versions
        number = spec.version
        if spec.label is not None:
            self._check_label(spec.label)
            number = self.labels.get(spec.label, self.wanted.labels[spec.label])
        if number is not None:
            known = {number: known[number]} if number in known else {}
        if not known:
            which = "any versions" if number is None else f"version {number}"
            raise errors.NotFound(
                f"Could not find {which} of model {errors.shown(self.name)}"
            )
        return [known[number] for number in sorted(known, reverse=True)]

    def _check_label(self, label: str) -> None:
        if label not in self.wanted.labels:
            raise errors.BadRequest(
                f"Unrecognized servable version label: {errors.shown(label)}"
            )
