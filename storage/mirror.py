"""Roots in object stores: each has a folder on this machine, its mirror.

Everything else reads and writes folders. What a reader elsewhere may take goes to the store
as well, from the few places where it is complete: files first, the manifest last, because a
store has no rename. Paths that lie in no mirror are left alone.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import time

from common.errors import ConfigError, os_errors_as
from storage import durable, manifest, remote

STATE_VARIABLE = "SLIMLINE_STATE"
ROOTS, DATA = "roots", "data"
# In a mirror: the URI that it belongs to.
MARKER = ".slimline-remote"
# Beside an artifact that is a link, with where it leads.
LINK = "link.json"


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A root in a store, and its folder here."""

    folder: pathlib.Path
    store: remote.Store

    def name(self, path: pathlib.Path) -> str:
        """Name in the store of what lies at `path` here."""
        return path.relative_to(self.folder).as_posix()


def folder_for(kind: str, uri: str) -> pathlib.Path:
    """Where this machine keeps what it has of a URI; the same for the same URI.

    Args:
      kind: ROOTS or DATA.
      uri: as `remote.normal` gives it.

    Raises:
      ConfigError: the place cannot be written to.
    """
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    state = os.environ.get(STATE_VARIABLE) or f"{home}/slimline"
    words = re.sub(r"[^a-z0-9]+", "-", uri.lower()).strip("-")[:60]
    digest = hashlib.sha256(uri.encode()).hexdigest()[:8]
    place = pathlib.Path(state).expanduser().resolve() / kind / f"{words}-{digest}"
    with os_errors_as(
        ConfigError,
        f"cannot keep a copy of {uri} in {place}",
        tip=f"{STATE_VARIABLE} names another folder",
    ):
        place.mkdir(parents=True, exist_ok=True)
    return place


def make(uri: str) -> Mirror:
    """The mirror of a root, made where there is none; nothing is asked of the store.

    Raises:
      ConfigError: as `remote.Store` and `folder_for`.
    """
    store = _store(remote.normal(uri))
    folder = folder_for(ROOTS, store.uri)
    if not (folder / MARKER).exists():
        durable.write_text(folder / MARKER, f"{store.uri}\n")
    return Mirror(folder, store)


def concerns(root: str | os.PathLike[str]) -> bool:
    """Whether a root lies in a store, given by its URI or by its mirror."""
    return remote.is_uri(root) or pathlib.Path(root, MARKER).is_file()


def of(path: pathlib.Path) -> Mirror | None:
    """The mirror that `path` is or lies in."""
    path = path.absolute()
    for folder in (path, *path.parents):
        try:
            uri = (folder / MARKER).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        return Mirror(folder, _store(uri))
    return None


def shown(path: str) -> str:
    """A path for people: what lies in a mirror by its URI."""
    found = of(pathlib.Path(path))
    if found is None:
        return path
    name = found.name(pathlib.Path(path).absolute())
    return found.store.uri if name == "." else f"{found.store.uri}/{name}"


def put(path: pathlib.Path) -> None:
    """Stores one file of a mirror.

    Raises:
      ConfigError: the store does not take it.
    """
    if found := of(path):
        found.store.put({found.name(path): path})


def put_text(path: pathlib.Path, text: str) -> None:
    """Stores what is about to be written to a file of a mirror.

    Raises:
      ConfigError: the store does not take it.
    """
    if found := of(path):
        found.store.put_bytes(found.name(path), text.encode("utf-8"))


def publish(folder: pathlib.Path, place: pathlib.Path, *, is_new: bool = False) -> None:
    """Stores what a manifest names, then the manifest; nothing where that is there.

    Args:
      folder: a version or an artifact.
      place: its manifest.
      is_new: whether it must not be there.

    Raises:
      ConfigError: the store does not take it, or it `is_new` and there. Without its
        manifest no reader takes what was stored of it.
    """
    if not (found := of(folder)):
        return
    if found.store.exists(found.name(place)):
        if is_new:
            raise ConfigError(
                f"{shown(str(folder))} was pushed by another machine meanwhile",
                tip="the same command again takes the next number",
            )
        return
    files = {found.name(folder / name): folder / name for name in manifest.files(place)}
    found.store.put(files)
    found.store.put({found.name(place): place})


def publish_link(link: pathlib.Path) -> None:
    """Stores where an artifact that is a link leads to within its root."""
    if not (found := of(link.parent)):
        return
    name = found.name(manifest.beside(link, LINK))
    if link.exists() and not found.store.exists(name):
        document = {"target": found.name(link.resolve())}
        found.store.put_bytes(name, json.dumps(document).encode())


def withdraw(folder: pathlib.Path, *places: pathlib.Path) -> None:
    """Deletes a version or an artifact from the store, its manifest first.

    Args:
      folder: of the version or the artifact.
      *places: what makes it one, as its manifest.

    Raises:
      ConfigError: the store does not do so.
    """
    if found := of(folder.parent):
        store = found.store
        store.delete([found.name(place) for place in places])
        store.delete(list(store.below(found.name(folder))))


def fetch(folder: pathlib.Path, place: pathlib.Path) -> None:
    """Fetches what a manifest names of an artifact and is not here.

    Raises:
      ConfigError: the store does not give it.
    """
    if not (found := of(folder)) or not place.exists():
        return
    missing = {
        found.name(folder / name): folder / name
        for name, size_bytes in manifest.files(place).items()
        if _size_bytes(folder / name) != size_bytes
    }
    there = missing and found.store.below(found.name(folder))
    found.store.get({name: path for name, path in missing.items() if name in there})


def fetch_outlines(folder: pathlib.Path) -> None:
    """Fetches which artifacts there are below a folder of a mirror, not their files.

    Raises:
      ConfigError: the store does not give it.
    """
    if not (found := of(folder)):
        return
    names = found.store.below(found.name(folder))
    ends = (".manifest.json", f".{LINK}")
    wanted = {name: found.folder / name for name in names if name.endswith(ends)}
    wanted = {name: path for name, path in wanted.items() if not path.exists()}
    found.store.get(wanted)
    for path in wanted.values():
        if path.name.endswith(ends[0]):
            path.with_name(path.name.removesuffix(ends[0])).mkdir(exist_ok=True)
            continue
        target = found.folder / json.loads(path.read_text(encoding="utf-8"))["target"]
        link = path.with_name(path.name.removesuffix(ends[1]))
        is_inside = found.folder in target.resolve().parents
        if is_inside and target.exists() and not link.is_symlink():
            link.symlink_to(target, target_is_directory=True)


def first_number(root: pathlib.Path) -> int:
    """Number after which executions are counted in a mirror; 0 elsewhere.

    The time in milliseconds: machines that share a root never give two executions one
    number, and with it one folder.
    """
    return int(time.time() * 1000) if of(root) else 0


@functools.cache
def _store(uri: str) -> remote.Store:
    return remote.Store(uri)


def _size_bytes(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
