"""Images in an object store, brought to a folder of this machine."""

import functools
import itertools
import json
import pathlib

import filelock

from common.errors import ConfigError, DataError
from storage import durable, locks, mirror, remote

LOCK_SECONDS = 3600.0
_TAGS_FILE = ".tags.json"
_INCOMING = ".incoming"
# Fetched before it is written down that they are here: what an interruption costs.
_AT_ONCE = 500


@functools.cache
def local(uri: str) -> pathlib.Path:
    """The copy of an archive or a folder, brought up to date once in a process.

    Only objects that changed are fetched, and files whose object is gone are removed.

    Args:
      uri: of the archive or the folder; of a pattern of spans the folder that holds all of
        them is brought.

    Returns:
      Path of the copy, which has the name of the original, or the pattern below it.

    Raises:
      ConfigError: the store gives no answer.
      DataError: there is nothing, or it has names that no folder can hold.
    """
    uri = remote.normal(uri)
    base, pattern = _split(uri)
    store = remote.Store(base)
    place = mirror.folder_for(mirror.DATA, base)
    copy = place / base.rpartition("/")[2]
    try:
        with locks.acquire(place / ".lock", LOCK_SECONDS):
            if (single := store.file()) is not None:
                _bring(store, place, {"": single}, {"": copy})
            else:
                found = store.below()
                if not found:
                    raise DataError(
                        f"no data at {uri}",
                        expected="an archive (.tar, .tar.gz, .tar.xz, .zip), or objects"
                        " below it",
                    )
                files = {name: copy / name for name in found}
                _remove_others(copy, {*files.values()})
                _bring(store, place, found, files)
    except filelock.Timeout as error:
        raise ConfigError(
            f"another command has been fetching {uri} for {LOCK_SECONDS:g} s"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot keep a copy of {uri} in {copy}: {error.strerror or error}",
            tip=f"{mirror.STATE_VARIABLE} names another folder for it",
        ) from error
    return copy / pattern if pattern else copy


def _split(uri: str) -> tuple[str, str]:
    """What is fetched, and the pattern of spans below it, or ''."""
    scheme, _, path = uri.partition("://")
    parts = path.split("/")
    plain = list(itertools.takewhile(lambda part: "{" not in part, parts))
    return f"{scheme}://{'/'.join(plain)}", "/".join(parts[len(plain) :])


def _bring(
    store: remote.Store,
    place: pathlib.Path,
    found: dict[str, remote.Found],
    files: dict[str, pathlib.Path],
) -> None:
    known = _tags(place)
    tags = {name: f"{entry.tag} {entry.size_bytes}" for name, entry in found.items()}
    missing = [
        name
        for name in found
        if not tags[name] or known.get(name) != tags[name] or not files[name].is_file()
    ]
    here = {name: tags[name] for name in found if name not in {*missing}}
    for start in range(0, len(missing), _AT_ONCE):
        names = missing[start : start + _AT_ONCE]
        incoming = {name: place / _INCOMING / str(n) for n, name in enumerate(names)}
        store.get(incoming)
        for name, path in incoming.items():
            files[name].parent.mkdir(parents=True, exist_ok=True)
            # By rename: another run may be reading the file before.
            path.replace(files[name])
        here |= {name: tags[name] for name in names}
        durable.write_text(place / _TAGS_FILE, json.dumps(here))


def _remove_others(copy: pathlib.Path, wanted: set[pathlib.Path]) -> None:
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()


def _tags(place: pathlib.Path) -> dict[str, str]:
    try:
        document = json.loads((place / _TAGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
