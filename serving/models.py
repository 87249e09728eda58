"""Versions of pushed models: which is live, which is the canary, and their history.

Servers follow `models.config`; what is changed here is served a moment later.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence

from common.errors import ConfigError
from pushed_models import mirrored_models, models_config, version_history, versions
from pushed_models.models_config import CANARY, STABLE, Entry
from pushed_models.version_history import Row
from serving import notebook_html
from storage import durable, manifest, mirror

# States of a version; what servers do not load is kept.
SERVED = "served"
KEPT = "kept"
BY = "slimline.models"
_PRUNED_PREFIX = f"{versions.STAGING_PREFIX}pruned-"


@dataclasses.dataclass(frozen=True)
class Version:
    """A version as the list has it.

    Attributes:
      model: name of the model.
      version: number.
      state: 'stable', 'canary', 'served' (loaded by servers, without a label) or 'kept'.
      is_live: whether a request gets it that names no version.
      is_complete: False where a server would find no SavedModel.
      pushed: UTC, ISO 8601; None where nothing tells.
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
    """What was done, or would be.

    Attributes:
      model: name of the model.
      action: as in the history.
      version: the one that became live or canary, or is canary no more.
      former: what was live, or canary, before; None where nothing was.
      served: versions that servers load from now on.
      labels: label -> version.
      is_needed: False where it was so already; nothing is written then.
      is_verified: False where the version has no manifest to be held against.
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
    """What was deleted, or would be.

    Attributes:
      model: name of the model.
      versions: numbers, rising.
      size_bytes: of their files.
    """

    model: str
    versions: tuple[int, ...]
    size_bytes: int


# From entry, complete versions and the live one: new entry, version and what it follows.
_Plan = Callable[[Entry, Sequence[int], int], tuple[Entry, int, int | None]]


def names(root: pathlib.Path) -> list[str]:
    """Names of the models under `root` that have a version, whole or not, sorted."""
    folder = root / versions.SERVING_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if versions.present(path))


def find(root: pathlib.Path, name: str) -> "PushedModel":
    """The model of that name.

    Args:
      root: folder of the runs; models lie in its `serving/`.
      name: of the model.

    Raises:
      ConfigError: there is no such model.
    """
    known = names(root)
    if name not in known:
        raise ConfigError(
            f"no model '{name}' in {root / versions.SERVING_FOLDER}",
            found=", ".join(known) or "no models",
            tip=""
            if known
            else "slimline run trains and pushes one; --root DIR looks elsewhere",
        )
    return PushedModel(root / versions.SERVING_FOLDER, name)


class PushedModel:
    """The versions of one model.

    What changes them takes a `reason` in the words of the user and `by`, the command that
    does it, for the history; with `is_dry` it says what it would do and writes nothing.
    """

    def __init__(self, serving_folder: pathlib.Path, name: str):
        """Takes the folder of all models and the name of this one; see `find`."""
        self.name = name
        self.folder = serving_folder / name
        self._serving_folder = serving_folder

    def __repr__(self) -> str:
        versions_there = self.list()
        live = [str(each.version) for each in versions_there if each.is_live]
        count = f"{len(versions_there)} version{'s' * (len(versions_there) != 1)}"
        return (
            f"<PushedModel {self.name}: {count}, {live[0] if live else 'none'} is live>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the versions, the newest first."""
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
        """All versions, oldest first; also those that `models.config` names in vain."""
        entry = self._entry()
        complete = versions.numbers(self.folder)
        live = entry.live(complete)
        pushes = {
            row.version: row
            for row in self.history()
            if row.action == version_history.PUSH
        }
        named = {*entry.versions, *entry.labels.values()}
        return [
            Version(
                model=self.name,
                version=number,
                state=_state(number, entry, live),
                is_live=number == live,
                is_complete=number in complete,
                pushed=pushes[number].time
                if number in pushes
                else _written(self.folder / str(number)),
                size_bytes=_size_bytes(self.folder / str(number)),
                by=pushes[number].by if number in pushes else "",
            )
            for number in sorted({*versions.present(self.folder), *named})
        ]

    def history(self) -> Sequence[Row]:
        """What was changed, oldest first."""
        return version_history.read(self.folder)

    def promote(
        self,
        version: int | None = None,
        *,
        reason: str = "",
        by: str = BY,
        is_dry: bool = False,
    ) -> Change:
        """Makes a version `stable`: the canary by default, without one the newest.

        The version that was live stays served beside it, so that going back needs no
        loading.

        Raises:
          ConfigError: there is no such version, or its files are not what was pushed.
        """

        def plan(
            entry: Entry, complete: Sequence[int], live: int
        ) -> tuple[Entry, int, int | None]:
            wanted = version
            if wanted is None:
                wanted = entry.labels.get(CANARY, complete[-1])
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
        """Makes the version `stable` that was live before, or the version `to`.

        The one that was live is served no more: TensorFlow Serving gives the newest that it
        has loaded to a request without label.

        Raises:
          ConfigError: there is no such version, or its files are not what was pushed.
        """

        def plan(
            entry: Entry, complete: Sequence[int], live: int
        ) -> tuple[Entry, int, int | None]:
            left = entry.labels.get(STABLE, live)
            wanted = to
            if wanted is None:
                wanted = self._previous(entry, complete)
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
        """Serves a version beside the live one as `canary`, the newest by default.

        With `is_off` the canary is served no more.

        Raises:
          ConfigError: there is no such version, it is the live one, its files are not what
            was pushed, or there is no canary to take off.
        """

        def put_on(
            entry: Entry, complete: Sequence[int], live: int
        ) -> tuple[Entry, int, int | None]:
            wanted = complete[-1] if version is None else version
            if wanted == live:
                raise ConfigError(
                    f"version {live} of '{self.name}' is live: a canary is another",
                    found=f"{_listed(complete)} there",
                )
            former = entry.labels.get(CANARY)
            labels = {**entry.labels, CANARY: wanted}
            beside = {*entry.versions} - {former}
            entry = dataclasses.replace(entry, labels=labels)
            return entry.with_stable(live, complete, *beside), wanted, former

        def take_off(
            entry: Entry, complete: Sequence[int], live: int
        ) -> tuple[Entry, int, int | None]:
            former = entry.labels.get(CANARY)
            if former is None or version not in (None, former):
                raise ConfigError(
                    f"'{self.name}' has no canary"
                    + ("" if version is None else f" {version}"),
                    found="" if former is None else f"version {former} is canary",
                )
            labels = {
                label: number
                for label, number in entry.labels.items()
                if label != CANARY
            }
            beside = {*entry.versions} - {former}
            entry = dataclasses.replace(entry, labels=labels)
            return entry.with_stable(live, complete, *beside), former, former

        if is_off:
            action = version_history.CANARY_OFF
            return self._change(action, take_off, reason, by, is_dry)
        return self._change(version_history.CANARY, put_on, reason, by, is_dry)

    def prune(
        self, keep: int, *, reason: str = "", by: str = BY, is_dry: bool = False
    ) -> Pruned:
        """Deletes all versions but the newest `keep` and those that are needed.

        Needed are what servers load, and what a rollback would go to. A version vanishes
        from the servers' sight at once, by a rename; killed, the next prune goes on.

        Raises:
          ConfigError: `keep` is negative, or a version cannot be removed.
        """
        if keep < 0:
            raise ConfigError("cannot keep fewer than 0 versions", found=str(keep))
        if is_dry:
            return self._pruned(self._superfluous(keep))
        with self._changing():
            for path in self.folder.glob(f"{_PRUNED_PREFIX}*"):
                shutil.rmtree(path)
            mirrored_models.sweep(self.folder)
            pruned = self._pruned(self._superfluous(keep))
            for number in pruned.versions:
                version = self.folder / str(number)
                mirror.withdraw(version, version / manifest.FILE)
                hidden = f"{_PRUNED_PREFIX}{number}-{uuid.uuid4().hex}"
                target = version.rename(self.folder / hidden)
                durable.sync(self.folder)
                self._note(version_history.PRUNE, number, None, reason, by)
                shutil.rmtree(target)
        return pruned

    def verify(self, version: int | None = None) -> dict[int, Sequence[str]]:
        """What of each version is not as it was pushed, a sentence each; none is sound.

        Args:
          version: the only one to look at; all by default, also those that
            `models.config` names in vain.

        Raises:
          ConfigError: there is no such version.
        """
        entry = self._entry()
        there = versions.present(self.folder)
        wanted = sorted({*there, *entry.versions, *entry.labels.values()})
        if version is not None:
            if version not in wanted:
                raise self._unknown(version, there)
            wanted = [version]
        return {number: self._problems(number) for number in wanted}

    def _change(
        self, action: str, plan: _Plan, reason: str, by: str, is_dry: bool
    ) -> Change:
        """Plans a change and, unless it `is_dry` or not needed, makes and notes it."""
        if is_dry:
            return self._plan(action, plan)[0]
        with self._changing():
            change, entry = self._plan(action, plan)
            if change.is_needed:
                entries = models_config.read(self._serving_folder)
                models_config.write(self._serving_folder, entries | {self.name: entry})
                self._note(action, change.version, change.former, reason, by)
        return change

    def _plan(self, action: str, plan: _Plan) -> tuple[Change, Entry]:
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
        is_needed = after != before
        is_verified = True
        if action != version_history.CANARY_OFF:
            is_verified = self._check(version, complete)
        change = Change(
            model=self.name,
            action=action,
            version=version,
            former=former,
            served=after.versions,
            labels=dict(after.labels),
            is_needed=is_needed,
            is_verified=is_verified,
        )
        return change, after

    def _check(self, version: int, complete: Sequence[int]) -> bool:
        """Refuses a version that is missing or damaged; False where nobody can tell."""
        if version not in complete:
            raise self._unknown(version, complete)
        folder = self.folder / str(version)
        if not manifest.exists(folder):
            return False
        if found := manifest.problems(folder):
            raise ConfigError(
                f"version {version} of '{self.name}' is damaged: {'; '.join(found)}",
                found=f"{_listed(complete)} there",
                tip=f"slimline models verify {self.name} looks at all of them",
            )
        return True

    def _problems(self, version: int) -> Sequence[str]:
        folder = self.folder / str(version)
        if not folder.is_dir():
            return [f"it is not there, but {models_config.FILE} names it"]
        if manifest.exists(folder):
            return manifest.problems(folder)
        found = [f"{manifest.FILE} is missing: nobody can tell what was pushed"]
        if not (folder / versions.SAVED_MODEL_FILE).is_file():
            found.append(f"{versions.SAVED_MODEL_FILE} is missing")
        return found

    def _superfluous(self, keep: int) -> Sequence[int]:
        entry = self._entry()
        complete = versions.numbers(self.folder)
        back = self._previous(entry, complete)
        needed = {
            entry.live(complete),
            back,
            *entry.versions,
            *entry.labels.values(),
        }
        old = complete[: max(len(complete) - keep, 0)]
        return [number for number in old if number not in needed]

    def _previous(self, entry: Entry, complete: Sequence[int]) -> int | None:
        """Where a rollback leads; from `stable` also where its files are gone."""
        left = entry.labels.get(STABLE, entry.live(complete))
        return version_history.previous(self.folder, left, complete)

    def _pruned(self, numbers: Sequence[int]) -> Pruned:
        size = sum(_size_bytes(self.folder / str(number)) for number in numbers)
        return Pruned(self.name, tuple(numbers), size)

    def _entry(self) -> Entry:
        return models_config.read(self._serving_folder).get(self.name, Entry())

    def _unknown(self, version: int, there: Sequence[int]) -> ConfigError:
        return ConfigError(
            f"model '{self.name}' has no version '{version}'",
            found=", ".join(map(str, reversed(there))),
        )

    def _note(
        self, action: str, version: int, former: int | None, reason: str, by: str
    ) -> None:
        row = version_history.now(action, version, former, reason=reason, by=by)
        try:
            version_history.append(self.folder, row)
        except OSError as error:
            raise ConfigError(
                f"{action} of version {version} is done, but missing in"
                f" {self.folder / version_history.FILE}:"
                f" {error.strerror or error}"
            ) from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Keeps others away, and turns a failure to write into a sentence."""
        try:
            with models_config.lock(self._serving_folder):
                yield
        except OSError as error:
            raise ConfigError(
                f"cannot change {self.folder}: {error.strerror or error}"
            ) from error


def _state(number: int, entry: Entry, live: int | None) -> str:
    for label in (STABLE, CANARY):
        if entry.labels.get(label) == number:
            return label
    is_served = number == live or number in (*entry.versions, *entry.labels.values())
    return SERVED if is_served else KEPT


def _written(folder: pathlib.Path) -> str | None:
    """When a version without a row in the history was written."""
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
