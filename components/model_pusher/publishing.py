"""A SavedModel becomes a new version: whole or not at all, and live at once."""

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterator

from schema import (
    data_profile,
    durable,
    manifest,
    models_config,
    version_history,
    versions,
)
from schema.errors import ConfigError

ABANDONED_SECONDS = 24 * 3600
MEBIBYTE = 2**20
_LOGGER = logging.getLogger("slimline.push")


def publish(
    model: pathlib.Path,
    folder: pathlib.Path,
    *,
    by: str = "",
    data_profile_file: pathlib.Path | None = None,
) -> int:
    """Copies a SavedModel to a new version and makes it live; returns its number.

    The copy is made under a name that servers skip, with its manifest, synced, then
    renamed. Where `models.config` pins the model to versions, the new one becomes
    `stable` there, and the one before stays served beside it, so that going back needs no
    loading. Killed between the two, the version before stays live, and the next push or
    `slimline models promote` mends it.

    The version is the time in seconds, or one more than the newest where the clock stands
    behind it.

    Args:
      model: folder of the SavedModel.
      folder: of the model's versions, `<serving>/<model name>`.
      by: the run that pushes, for the history.
      data_profile_file: of the training data, to be kept beside the model.

    Raises:
      ConfigError: the folder cannot be written to, the disk is full, or `models.config`
        cannot be read; nothing is pushed then.
    """
    serving_folder = folder.parent
    # Before the copy: a file that nobody can read would be found out too late.
    models_config.read(serving_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with models_config.lock(serving_folder):
            _sweep(folder)
        with _staging(folder) as staging:
            shutil.copytree(model, staging)
            if data_profile_file is not None:
                target = data_profile.of_version(staging)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(data_profile_file, target)
            manifest.write(staging)
            for path in (*staging.rglob("*"), staging):
                durable.sync(path)
            with models_config.lock(serving_folder):
                return _make_live(staging, folder, by)
    except OSError as error:
        raise _cannot_push(folder, model, error) from error


@contextlib.contextmanager
def _staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name for the copy, which is gone afterwards, by rename or by failure."""
    path = folder / f"{versions.STAGING_PREFIX}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _make_live(staging: pathlib.Path, folder: pathlib.Path, by: str) -> int:
    """Renames the copy, names it in `models.config`, and writes the history."""
    serving_folder, name = folder.parent, folder.name
    entries = models_config.read(serving_folder)
    entry = entries.get(name, models_config.Entry())
    former = entry.live(versions.numbers(folder))
    version = _rename(staging, folder)
    try:
        durable.sync(folder)
        if entry.is_pinned:
            entry = entry.with_stable(version, versions.numbers(folder), former)
        models_config.write(serving_folder, entries | {name: entry})
    except OSError:
        (folder / str(version)).rename(staging)
        raise
    row = version_history.now(version_history.PUSH, version, former, by=by)
    try:
        version_history.append(folder, row)
    except OSError:
        # The version is live: a push that failed now would be made a second time.
        _LOGGER.warning("the push of %s is missing in its history", name, exc_info=True)
    return version


def _rename(staging: pathlib.Path, folder: pathlib.Path) -> int:
    while True:
        version = _next_version(folder)
        try:
            # An empty folder may be replaced by rename, a version with files not: where
            # another tool has taken the number meanwhile, this takes the next.
            staging.rename(folder / str(version))
        except OSError:
            if not (folder / str(version)).exists():
                raise
        else:
            return version


def _sweep(folder: pathlib.Path) -> None:
    """Removes what killed pushes left behind; younger copies may be under way."""
    for path in folder.glob(f"{versions.STAGING_PREFIX}*"):
        # Another push may fail, and remove its copy, between the two calls.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path)


def _next_version(folder: pathlib.Path) -> int:
    # Half-made version folders of other tools count too: their numbers are taken.
    taken = versions.present(folder)
    return max([int(time.time()), *(number + 1 for number in taken)])


def _cannot_push(
    folder: pathlib.Path, model: pathlib.Path, error: OSError
) -> ConfigError:
    # copytree collects what went wrong in a list, with the reason at the end of each.
    is_list = isinstance(error, shutil.Error)
    reason = str(error.args[0][0][-1]) if is_list else error.strerror or str(error)
    if os.strerror(errno.ENOSPC) not in reason:
        return ConfigError(
            f"cannot push to {folder}: {reason}", tip="nothing was pushed"
        )
    needed = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return ConfigError(
        f"no space left to push to {folder}",
        found=f"{shutil.disk_usage(place).free / MEBIBYTE:,.1f} MiB free",
        expected=f"{needed / MEBIBYTE:,.1f} MiB and a little more",
        tip=f"slimline models prune {folder.name} --keep 2 makes room; then the same"
        " slimline run goes on with the push",
    )
