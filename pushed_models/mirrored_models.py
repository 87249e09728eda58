"""Pushed models of a root in an object store, brought to its mirror."""

import contextlib
import logging
import pathlib
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping

from common.errors import SlimlineError
from pushed_models import models_config, version_history, versions
from storage import durable, manifest, mirror, remote

ABANDONED_SECONDS = 24 * 3600
_LOGGER = logging.getLogger("slimline.remote")
_EXTRAS = f"{manifest.EXTRA_FOLDER}/"


def pull(serving_folder: pathlib.Path) -> None:
    """Makes a folder of models what the store says; nothing where it lies in no mirror.

    A version is there once its manifest is, and the files that this names are taken, and
    no others. It appears here by a rename, whole. Versions that the store has no more go.

    Raises:
      ConfigError: the store gives no answer.
    """
    if not (found := mirror.of(serving_folder)):
        return
    serving_folder.mkdir(parents=True, exist_ok=True)
    with models_config.lock(serving_folder):
        there = found.store.below(found.name(serving_folder))
        start = f"{found.name(serving_folder)}/"
        names = {name.removeprefix(start): entry for name, entry in there.items()}
        pushed = set(_versions(names))
        for model, number in sorted(pushed):
            _take(found, serving_folder / model, number, names)
        for path in [*serving_folder.glob("*/*")]:
            is_known = (path.parent.name, path.name) in pushed
            if path.name.isdecimal() and not is_known:
                _remove(path)
        for name in names:
            if name == models_config.FILE or name.endswith(f"/{version_history.FILE}"):
                _replace(found, serving_folder / name)
        if models_config.FILE not in names:
            (serving_folder / models_config.FILE).unlink(missing_ok=True)


def sweep(model_folder: pathlib.Path) -> None:
    """Deletes what killed pushes and prunes left of versions in the store.

    A version without a manifest may be on its way there, unless its number, which is the
    time of its push, says that it has been for a day.

    Raises:
      ConfigError: the store does not do so.
    """
    if not (found := mirror.of(model_folder)):
        return
    names = found.store.below(found.name(model_folder))
    start = f"{found.name(model_folder)}/"
    parts = {name: name.removeprefix(start).split("/") for name in names}
    whole = {
        number for number, *rest in parts.values() if rest == list(manifest.FILE.parts)
    }
    oldest = time.time() - ABANDONED_SECONDS
    found.store.delete(
        [
            name
            for name, (number, *rest) in parts.items()
            if rest and number.isdecimal() and int(number) < oldest
            if number not in whole
        ]
    )


@contextlib.contextmanager
def followed(serving_folder: pathlib.Path, seconds: float) -> Iterator[None]:
    """Inside, a thread pulls again and again; nothing where there is no store.

    Where the store gives no answer, what is here stays, and that is logged once.
    """
    if mirror.of(serving_folder) is None:
        yield
        return
    ends = threading.Event()

    def follow() -> None:
        was_well = True
        while not ends.wait(seconds):
            try:
                pull(serving_folder)
                was_well = True
            except (SlimlineError, OSError) as error:
                if was_well:
                    _LOGGER.warning(
                        "the store does not answer, serving what is here: %s", error
                    )
                was_well = False

    thread = threading.Thread(target=follow, name="follow-store", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(timeout=5)


def _versions(names: Mapping[str, remote.Found]) -> Iterator[tuple[str, str]]:
    """Model and number of each version that has a manifest."""
    for name in names:
        model, _, rest = name.partition("/")
        number, _, file = rest.partition("/")
        if number.isdecimal() and file == manifest.FILE.as_posix():
            yield model, number


def _take(
    found: mirror.Mirror,
    model_folder: pathlib.Path,
    number: str,
    names: Mapping[str, remote.Found],
) -> None:
    """Brings a version, or what was added to its `assets.extra`."""
    folder = model_folder / number
    start = f"{model_folder.name}/{number}/"
    of_version = {
        name.removeprefix(start): entry
        for name, entry in names.items()
        if name.startswith(start)
    }
    file = manifest.FILE.as_posix()
    size_bytes = of_version[file].size_bytes
    is_here = (folder / file).is_file()
    if is_here and (folder / file).stat().st_size == size_bytes:
        extras = [name for name in of_version if name.startswith(_EXTRAS)]
        missing = [name for name in extras if not (folder / name).exists()]
        found.store.get({found.name(folder / name): folder / name for name in missing})
        return
    staging = model_folder / f"{versions.STAGING_PREFIX}{uuid.uuid4().hex}"
    try:
        found.store.get({found.name(folder / file): staging / file})
        listed = [name for name in manifest.files(staging / file) if name in of_version]
        extras = [name for name in of_version if name.startswith(_EXTRAS)]
        wanted = {*listed, *extras} - {file}
        found.store.get(
            {found.name(folder / name): staging / name for name in sorted(wanted)}
        )
        if problems := manifest.problems(staging):
            _LOGGER.warning(
                "%s is damaged in the store and left out: %s",
                mirror.shown(str(folder)),
                "; ".join(problems),
            )
            return
        if folder.exists():
            _remove(folder)
        staging.rename(folder)
        durable.sync(model_folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(found: mirror.Mirror, path: pathlib.Path) -> None:
    """Brings a file that changes, whole."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        found.store.get({found.name(path): temporary})
        if not path.exists() or path.read_bytes() != temporary.read_bytes():
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove(folder: pathlib.Path) -> None:
    """Takes a version away, from the sight of servers at once."""
    hidden = folder.with_name(f"{versions.STAGING_PREFIX}gone-{uuid.uuid4().hex}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
