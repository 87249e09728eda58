"""Manifests: the SHA-256 of every file of a folder, so that damage has a name.

That of a pushed version lies in its folder, that of an artifact beside it, because stock
components read folders that hold one file.
"""

import hashlib
import json
import math
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

from storage import durable

# TensorFlow Serving leaves `assets.extra` alone, but for the warm-up requests.
EXTRA_FOLDER = "assets.extra"
FILE = pathlib.PurePath(EXTRA_FOLDER, "manifest.json")
_VERSION = 1
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def beside(folder: pathlib.Path, name: str = "manifest.json") -> pathlib.Path:
    """Where what is said of an artifact lies, its manifest by default: `<folder>.<name>`."""
    return folder.with_name(f"{folder.name}.{name}")


def write(
    folder: pathlib.Path, place: pathlib.Path | None = None, **facts: object
) -> None:
    """Writes the manifest of a folder, durably.

    Args:
      folder: a SavedModel or an artifact.
      place: the manifest, `FILE` in the folder by default.
      facts: what else it says, fit for JSON.
    """
    place = place or folder / FILE
    files = {
        name: {
            "bytes": (folder / name).stat().st_size,
            "sha256": _sha256(folder / name),
        }
        for name, fault in _found(folder)
        if folder / name != place and not fault
    }
    place.parent.mkdir(exist_ok=True)
    document = {"version": _VERSION, "files": files, **facts}
    durable.write_text(place, json.dumps(document, indent=1, sort_keys=True))


def files(place: pathlib.Path) -> dict[str, int]:
    """What a manifest names: path below the folder -> bytes; {} where it cannot be read."""
    try:
        return {name: entry["bytes"] for name, entry in _read(place).items()}
    except _UNREADABLE:
        return {}


def fact(place: pathlib.Path, name: str) -> Any:
    """What a manifest says besides its files; None where it does not, or cannot be read."""
    try:
        return json.loads(place.read_text(encoding="utf-8")).get(name)
    except _UNREADABLE:
        return None


def exists(folder: pathlib.Path) -> bool:
    """Whether the version was pushed with a manifest."""
    return (folder / FILE).is_file()


def digest(folder: pathlib.Path) -> str:
    """SHA-256 of the manifest: equal where the content of two versions is equal."""
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()


def problems(
    folder: pathlib.Path,
    place: pathlib.Path | None = None,
    *,
    digested_bytes: float = math.inf,
) -> list[str]:
    """What differs from the manifest, a sentence each, sorted by file.

    A file beside the listed ones counts too, unless it lies in `assets.extra`, which no
    server loads, or is a hidden one of an artifact, as file managers leave them. Links,
    pipes and the like count anywhere: they lead out of the folder, or a reader waits for
    them.

    Args:
      folder: a SavedModel or an artifact.
      place: the manifest, `FILE` in the folder by default.
      digested_bytes: of folders that hold more, sizes alone are compared.
    """
    tolerated = "." if place else f"{EXTRA_FOLDER}/"
    place = place or folder / FILE
    try:
        listed = _read(place)
    except _UNREADABLE as error:
        name = place.relative_to(folder) if folder in place.parents else place.name
        return [f"{name} cannot be read: {type(error).__name__}"]
    found = dict(_found(folder))
    is_digested = sum(entry["bytes"] for entry in listed.values()) <= digested_bytes
    sentences = {name: f"{name} is missing" for name in listed.keys() - found.keys()}
    for name, fault in found.items():
        if fault:
            sentences[name] = f"{name} is {fault}"
        elif name in listed:
            if difference := _difference(folder / name, listed[name], is_digested):
                sentences[name] = f"{name} {difference}"
        elif not name.startswith(tolerated) and folder / name != place:
            sentences[name] = f"{name} is not in the manifest"
    return [sentences[name] for name in sorted(sentences)]


def _read(place: pathlib.Path) -> dict[str, dict[str, Any]]:
    if not place.is_file():  # a pipe in its place would be waited for
        raise FileNotFoundError(place)
    document = json.loads(place.read_text(encoding="utf-8"))
    return {
        str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
        for name, entry in document["files"].items()
    }


def _found(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """All below `folder` but folders: POSIX path relative to it, and what is odd or ''."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = pathlib.Path(parent, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # the model card's temporary file, renamed
                continue
            if stat.S_ISDIR(mode):
                continue
            fault = "" if stat.S_ISREG(mode) else "not a regular file"
            if stat.S_ISLNK(mode):
                fault = "a link"
            yield path.relative_to(folder).as_posix(), fault


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(path: pathlib.Path, listed: dict[str, Any], is_digested: bool) -> str:
    """How a file differs from its entry, or ''."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes != listed["bytes"]:
            return f"has {size_bytes:,} bytes, its manifest {listed['bytes']:,}"
        if is_digested and _sha256(path) != listed["sha256"]:
            return "is not what was written: SHA-256 differs"
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return ""
