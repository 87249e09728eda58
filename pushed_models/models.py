"""Versions of pushed models: list, promote, canary, rollback, prune, verify, history.

Servers poll `models.config`, so a change made here is served a moment later.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence

from common import notebook_html
from common.errors import ConfigError, os_errors_as
from pushed_models import mirrored_models, models_config, version_history, versions
from pushed_models.models_config import CANARY, STABLE, Entry
from pushed_models.version_history import Row
from storage import durable, manifest, mirror

# States of a version beside those of its labels; servers do not load a kept one.
SERVED = "served"
KEPT = "kept"
BY = "slimline.models"
_PRUNED_PREFIX = f"{versions.STAGING_PREFIX}pruned-"


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of a model, as `PushedModel.list` gives it.

    Attributes:
      model: name of the model.
      version: number.
      state: 'stable', 'canary', 'served' (loaded by servers, without a label) or 'kept'.
      is_live: whether requests that name no version get it.
      is_complete: whether it has a SavedModel.
      pushed: UTC, ISO 8601; None if unknown.
      size_bytes: of all its files.
      by: the run that pushed it, or ''.
    """

    model: str
    version: int
    state: str
    is_live: bool
    is_complete: bool
    pushed: str | None
    size_bytes: int
    by: str


@dataclasses.dataclass(frozen=True)
class Change:
    """A change that was made or, with `is_dry`, planned.

    Attributes:
      model: name of the model.
      action: one of those of `version_history`.
      version: the one that became live or canary, or stopped being the canary.
      former: the live version, or the canary, before; None if there was none.
      served: versions that servers load from now on.
      labels: label -> version.
      is_needed: False if nothing had to change; then nothing is written.
      is_verified: False if the version has no manifest to verify its files against.
    """

    model: str
    action: str
    version: int
    former: int | None
    served: tuple[int, ...]
    labels: dict[str, int]
    is_needed: bool
    is_verified: bool


@dataclasses.dataclass(frozen=True)
class Pruned:
    """Versions that were deleted or, with `is_dry`, would be.

    Attributes:
      model: name of the model.
      versions: numbers, ascending.
      size_bytes: of their files.
    """

    model: str
    versions: tuple[int, ...]
    size_bytes: int


_Planned = tuple[Entry, int, int | None]  # new entry, version, the one it follows
# Takes the entry, the complete versions and the live one.
_Plan = Callable[[Entry, Sequence[int], int], _Planned]


def names(root: pathlib.Path) -> list[str]:
    """Names of the models under `root` that have a version, complete or not, sorted."""
    folder = root / versions.SERVING_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if versions.present(path))


def find(root: pathlib.Path, name: str) -> "PushedModel":
    """The model of that name under `root`, the folder of the runs.

    Raises:
      ConfigError: there is no such model.
    """
    known = names(root)
    if name not in known:
        raise ConfigError(
            f"no model '{name}' in {root / versions.SERVING_FOLDER}",
            found=", ".join(known) or "no models",
            tip="" if known else versions.TRAIN_TIP,
        )
    return PushedModel(root / versions.SERVING_FOLDER, name)


class PushedModel:
    """The versions of one model.

    Methods that change them take a `reason`, in the user's words, and `by`, the command
    that makes the change, for the history. With `is_dry` they return what they would do
    and write nothing.
    """

    def __init__(self, serving_folder: pathlib.Path, name: str):
        """Takes the folder of all models and the name of this one; see `find`."""
        self.name = name
        self.folder = serving_folder / name
        self._serving_folder = serving_folder

    def __repr__(self) -> str:
        listed = self.list()
        live = next((str(each.version) for each in listed if each.is_live), "none")
        plural = "s" * (len(listed) != 1)
        return (
            f"<PushedModel {self.name}: {len(listed)} version{plural}, {live} is live>"
        )

    def _repr_html_(self) -> str:
        """The versions for a notebook, newest first."""
        rows = [
            (
                str(each.version),
                f"{each.state}, live" if each.is_live else each.state,
                each.pushed or "",
                f"{each.size_bytes / 1e6:.1f} MB" if each.is_complete else "incomplete",
                each.by,
            )
            for each in reversed(self.list())
        ]
        heads = ("version", "state", "pushed", "size", "by")
        return notebook_html.table(self.name, heads, rows)

    def list(self) -> Sequence[Version]:
        """All versions, oldest first, including missing ones that `models.config` names."""
        entry = self._entry()
        complete = versions.numbers(self.folder)
        live = entry.live(complete)
        pushes = {
            row.version: row
            for row in self.history()
            if row.action == version_history.PUSH
        }
        listed = []
        for number in sorted({*versions.present(self.folder), *_named(entry)}):
            folder, push = self.folder / str(number), pushes.get(number)
            listed.append(
                Version(
                    model=self.name,
                    version=number,
                    state=_state(number, entry, live),
                    is_live=number == live,
                    is_complete=number in complete,
                    pushed=push.time if push else _written(folder),
                    size_bytes=_size_bytes(folder),
                    by=push.by if push else "",
                )
            )
        return listed

    def history(self) -> Sequence[Row]:
        """All changes, oldest first."""
        return version_history.read(self.folder)

    def promote(
        self,
        version: int | None = None,
        *,
        reason: str = "",
        by: str = BY,
        is_dry: bool = False,
    ) -> Change:
        """Makes a version `stable`: by default the canary, or the newest without one.

        The version that was live stays loaded, so that a rollback needs no loading.

        Raises:
          ConfigError: there is no such version, or it differs from its manifest.
        """

        def plan(entry: Entry, complete: Sequence[int], live: int) -> _Planned:
            wanted = entry.labels.get(CANARY, complete[-1])
            wanted = wanted if version is None else version
            if entry.labels.get(STABLE) == wanted == live:
                return entry, wanted, live
            return entry.with_stable(wanted, complete, live), wanted, live

        return self._change(version_history.PROMOTE, plan, reason, by, is_dry)

    def rollback(
        self,
        to: int | None = None,
        *,
        reason: str = "",
        by: str = BY,
        is_dry: bool = False,
    ) -> Change:
        """Makes the version that was live before, or the version `to`, `stable`.

        The version that was live is unloaded: TensorFlow Serving answers requests without
        a label with the newest version in memory.

        Raises:
          ConfigError: there is no such version, or it differs from its manifest.
        """

        def plan(entry: Entry, complete: Sequence[int], live: int) -> _Planned:
            left = entry.labels.get(STABLE, live)
            wanted = self._previous(entry, complete) if to is None else to
            if wanted is None:
                raise ConfigError(
                    f"no version of '{self.name}' to go back to",
                    found=f"version {left} is live, {_listed(complete)} there",
                )
            if wanted == left:
                raise ConfigError(f"version {left} of '{self.name}' is live already")
            return entry.with_stable(wanted, complete), wanted, left

        return self._change(version_history.ROLLBACK, plan, reason, by, is_dry)

    def canary(
        self,
        version: int | None = None,
        *,
        is_off: bool = False,
        reason: str = "",
        by: str = BY,
        is_dry: bool = False,
    ) -> Change:
        """Serves a version, by default the newest, as `canary` beside the live one.

        With `is_off` the canary is removed instead.

        Raises:
          ConfigError: there is no such version, it is the live one, it differs from its
            manifest, or there is no canary to remove.
        """

        def plan(entry: Entry, complete: Sequence[int], live: int) -> _Planned:
            labels = {**entry.labels}
            former = labels.pop(CANARY, None)
            if is_off:
                if former is None or version not in (None, former):
                    number = "" if version is None else f" {version}"
                    raise ConfigError(
                        f"'{self.name}' has no canary{number}",
                        found="" if former is None else f"version {former} is canary",
                    )
                wanted = former
            else:
                wanted = complete[-1] if version is None else version
                if wanted == live:
                    raise ConfigError(
                        f"version {live} of '{self.name}' is live and cannot be the canary",
                        found=f"{_listed(complete)} there",
                    )
                labels[CANARY] = wanted
            beside = {*entry.versions} - {former}
            entry = dataclasses.replace(entry, labels=labels)
            return entry.with_stable(live, complete, *beside), wanted, former

        action = version_history.CANARY_OFF if is_off else version_history.CANARY
        return self._change(action, plan, reason, by, is_dry)

    def prune(
        self, keep: int, *, reason: str = "", by: str = BY, is_dry: bool = False
    ) -> Pruned:
        """Deletes all versions but the newest `keep` and those that are needed.

        Needed are the versions that servers load and the one that a rollback would make
        live. A rename hides a version from servers before its files are deleted; after a
        kill the next prune deletes the rest.

        Raises:
          ConfigError: `keep` is negative, or a version cannot be removed.
        """
        if keep < 0:
            raise ConfigError("cannot keep fewer than 0 versions", found=str(keep))
        with contextlib.nullcontext() if is_dry else self._changing():
            if not is_dry:
                for path in self.folder.glob(f"{_PRUNED_PREFIX}*"):
                    shutil.rmtree(path)
                mirrored_models.sweep(self.folder)
            numbers = tuple(self._superfluous(keep))
            size = sum(_size_bytes(self.folder / str(number)) for number in numbers)
            for number in () if is_dry else numbers:
                version = self.folder / str(number)
                mirror.withdraw(version, version / manifest.FILE)
                hidden = f"{_PRUNED_PREFIX}{number}-{uuid.uuid4().hex}"
                target = version.rename(self.folder / hidden)
                durable.sync(self.folder)
                self._note(version_history.PRUNE, number, None, reason, by)
                shutil.rmtree(target)
        return Pruned(self.name, numbers, size)

    def verify(self, version: int | None = None) -> dict[int, Sequence[str]]:
        """Version -> how it differs from what was pushed, a sentence each.

        By default all versions, including missing ones that `models.config` names.

        Raises:
          ConfigError: there is no such version.
        """
        present = versions.present(self.folder)
        wanted = sorted({*present, *_named(self._entry())})
        if version is not None:
            if version not in wanted:
                raise self._unknown(version, present)
            wanted = [version]
        return {number: self._problems(number) for number in wanted}

    def _change(
        self, action: str, plan: _Plan, reason: str, by: str, is_dry: bool
    ) -> Change:
        """Plans a change and, unless it `is_dry` or not needed, writes and records it."""
        with contextlib.nullcontext() if is_dry else self._changing():
            before = self._entry()
            complete = versions.numbers(self.folder)
            live = before.live(complete)
            if live is None:
                raise ConfigError(
                    f"model '{self.name}' has no complete version",
                    expected=f"{versions.SAVED_MODEL_FILE} in one of them",
                    tip=f"slimline models verify {self.name} says what is missing",
                )
            after, version, former = plan(before, complete, live)
            is_off = action == version_history.CANARY_OFF
            change = Change(
                model=self.name,
                action=action,
                version=version,
                former=former,
                served=after.versions,
                labels=dict(after.labels),
                is_needed=after != before,
                is_verified=is_off or self._is_verified(version, complete),
            )
            if change.is_needed and not is_dry:
                entries = models_config.read(self._serving_folder)
                models_config.write(self._serving_folder, entries | {self.name: after})
                self._note(action, version, former, reason, by)
        return change

    def _is_verified(self, version: int, complete: Sequence[int]) -> bool:
        """Whether a version equals its manifest; False without a manifest.

        Raises:
          ConfigError: it is missing, or differs from its manifest.
        """
        if version not in complete:
            raise self._unknown(version, complete)
        folder = self.folder / str(version)
        if not manifest.exists(folder):
            return False
        if faults := manifest.problems(folder):
            raise ConfigError(
                f"version {version} of '{self.name}' is damaged: {'; '.join(faults)}",
                found=f"{_listed(complete)} there",
                tip=f"slimline models verify {self.name} checks all of them",
            )
        return True

    def _problems(self, version: int) -> Sequence[str]:
        folder = self.folder / str(version)
        if not folder.is_dir():
            return [f"{models_config.FILE} names it, but it is missing"]
        if manifest.exists(folder):
            return manifest.problems(folder)
        faults = [f"{manifest.FILE} is missing: its files cannot be verified"]
        if not (folder / versions.SAVED_MODEL_FILE).is_file():
            faults.append(f"{versions.SAVED_MODEL_FILE} is missing")
        return faults

    def _superfluous(self, keep: int) -> Sequence[int]:
        entry = self._entry()
        complete = versions.numbers(self.folder)
        back = self._previous(entry, complete)
        needed = {entry.live(complete), back, *_named(entry)}
        old = complete[: max(len(complete) - keep, 0)]
        return [number for number in old if number not in needed]

    def _previous(self, entry: Entry, complete: Sequence[int]) -> int | None:
        """Target of a rollback; from `stable` even if its files are missing."""
        left = entry.labels.get(STABLE, entry.live(complete))
        return version_history.previous(self.folder, left, complete)

    def _entry(self) -> Entry:
        return models_config.read(self._serving_folder).get(self.name, Entry())

    def _unknown(self, version: int, present: Sequence[int]) -> ConfigError:
        return ConfigError(
            f"model '{self.name}' has no version '{version}'",
            found=", ".join(map(str, reversed(present))),
        )

    def _note(
        self, action: str, version: int, former: int | None, reason: str, by: str
    ) -> None:
        row = version_history.now(action, version, former, reason=reason, by=by)
        with os_errors_as(
            ConfigError,
            f"{action} of version {version} is done, but not recorded in"
            f" {self.folder / version_history.FILE}",
        ):
            version_history.append(self.folder, row)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Locks `models.config`; a failure to write becomes a ConfigError."""
        with (
            os_errors_as(ConfigError, f"cannot change {self.folder}"),
            models_config.lock(self._serving_folder),
        ):
            yield


def _named(entry: Entry) -> set[int]:
    return {*entry.versions, *entry.labels.values()}


def _state(number: int, entry: Entry, live: int | None) -> str:
    for label in (STABLE, CANARY):
        if entry.labels.get(label) == number:
            return label
    return SERVED if number in {live, *_named(entry)} else KEPT


def _written(folder: pathlib.Path) -> str | None:
    """Time of the last change of a version that has no row in the history."""
    for file in (manifest.FILE, versions.SAVED_MODEL_FILE):
        with contextlib.suppress(OSError):
            seconds = (folder / file).stat().st_mtime
            moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
            return moment.isoformat(timespec="seconds")
    return None


def _size_bytes(folder: pathlib.Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _listed(numbers: Sequence[int]) -> str:
    """'version 6 is' or 'versions 6, 7 are'."""
    listed = ", ".join(map(str, numbers))
    return f"version {listed} is" if len(numbers) == 1 else f"versions {listed} are"
