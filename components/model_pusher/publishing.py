"""A SavedModel becomes a new version: atomically, and live at once."""

import contextlib
import errno
import functools
import logging
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator

from common.errors import ConfigError
from pushed_models import (
    data_profile,
    mirrored_models,
    models_config,
    version_history,
    versions,
)
from storage import durable, manifest, mirror

MEBIBYTE = 2**20
_LOGGER = logging.getLogger("slimline.push")


def publish(
    model: pathlib.Path,
    folder: pathlib.Path,
    *,
    by: str = "",
    data_profile_file: pathlib.Path | None = None,
    is_gate_open: bool = False,
    force_reason: str = "",
) -> int:
    """Copies a SavedModel to a new version and makes it live; returns its number.

    The copy is made under a name that servers skip, with its manifest, synced, then
    renamed. Where `models.config` pins the model to versions, the new one becomes
    `stable` there, and the one before stays served beside it, so that going back needs no
    loading. Killed between the two, the version before stays live, and the next push or
    `slimline models promote` repairs it.

    In an object store, which has no rename, the files come first and the manifest last;
    readers take only what a manifest names.

    The version is the time in seconds, or one more than the newest where the clock stands
    behind it.

    Args:
      model: folder of the SavedModel.
      folder: of the model's versions, `<serving>/<model name>`.
      by: the run that pushes, for the history.
      data_profile_file: of the training data, to be kept beside the model.
      is_gate_open: whether nothing was required of the model.
      force_reason: why it may replace a version of which something was required; kept in
        the history.

    Raises:
      ConfigError: the folder cannot be written to, the disk is full, `models.config`
        cannot be read, or as `check_replacing`; nothing is pushed then.
    """
    serving_folder = folder.parent
    # Before the copy: later, an unreadable file would be found too late.
    models_config.read(serving_folder)
    row = functools.partial(
        version_history.now,
        version_history.PUSH,
        reason=force_reason,
        by=by,
        is_gate_open=is_gate_open,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with models_config.lock(serving_folder):
            _sweep(folder)
            mirrored_models.sweep(folder)
        with _staging(folder) as staging:
            shutil.copytree(model, staging)
            if data_profile_file is not None:
                target = data_profile.of_version(staging)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(data_profile_file, target)
            manifest.write(staging)
            for path in (*staging.rglob("*"), staging):
                durable.sync(path)
            mirrored_models.pull(serving_folder)
            with models_config.lock(serving_folder):
                check_replacing(folder, is_gate_open, force_reason)
                return _make_live(staging, folder, row)
    except OSError as error:
        raise _cannot_push(folder, model, error) from error


def check_replacing(
    folder: pathlib.Path, is_gate_open: bool, force_reason: str
) -> None:
    """Keeps a model of which nothing was required from replacing one that had to pass.

    Args:
      folder: of the model's versions.
      is_gate_open: whether nothing is required of the new model.
      force_reason: why it may go live all the same, or ''.

    Raises:
      ConfigError: it may not.
    """
    live = models_config.live(folder)
    if not is_gate_open or force_reason or live is None:
        return
    if version_history.had_open_gate(folder, live):
        return
    raise ConfigError(
        f"the gate is open, and version {live} of '{folder.name}' had to pass thresholds",
        found="evaluation.min_top_1 0 and no limit on a drop: any model would replace it",
        expected="a threshold, as --set evaluation.min_top_1=0.5",
        tip="--force-push REASON replaces it all the same and keeps the reason in the"
        " history; --set serving.model_name=NAME pushes beside it",
    )


@contextlib.contextmanager
def _staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name for the copy, which is gone afterwards, by rename or by failure."""
    path = folder / f"{versions.STAGING_PREFIX}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _make_live(
    staging: pathlib.Path,
    folder: pathlib.Path,
    row: Callable[[int, int | None], version_history.Row],
) -> int:
    """Renames the copy, names it in `models.config`, and writes the history.

    Args:
      staging: the copy.
      folder: of the model's versions.
      row: makes the row of the history from the version and the one live before.
    """
    serving_folder, name = folder.parent, folder.name
    entries = models_config.read(serving_folder)
    entry = entries.get(name, models_config.Entry())
    former = entry.live(versions.numbers(folder))
    version = _rename(staging, folder)
    try:
        durable.sync(folder)
        pushed = folder / str(version)
        mirror.publish(pushed, pushed / manifest.FILE, is_new=True)
        if entry.is_pinned:
            entry = entry.with_stable(version, versions.numbers(folder), former)
        models_config.write(serving_folder, entries | {name: entry})
    except (OSError, ConfigError):
        (folder / str(version)).rename(staging)
        raise
    try:
        version_history.append(folder, row(version, former))
    except (OSError, ConfigError):
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
    """Removes what killed pushes left; younger copies may be in progress."""
    for path in folder.glob(f"{versions.STAGING_PREFIX}*"):
        # Another push may fail, and remove its copy, between the two calls.
        with contextlib.suppress(FileNotFoundError):
            age_seconds = time.time() - path.stat().st_mtime
            if age_seconds > mirrored_models.ABANDONED_SECONDS:
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
