"""The manifest of a pushed version: the SHA-256 of every file, so that damage has a name."""

import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

from schema import durable

# TensorFlow Serving leaves `assets.extra` alone, but for the warm-up requests.
EXTRA_FOLDER = "assets.extra"
FILE = pathlib.PurePath(EXTRA_FOLDER, "manifest.json")
_VERSION = 1


def write(folder: pathlib.Path) -> None:
    """Writes the manifest of a SavedModel into its folder, durably."""
    files = {
        name: _entry(folder / name)
        for name, fault in _found(folder)
        if name != str(FILE) and not fault
    }
    (folder / FILE).parent.mkdir(exist_ok=True)
    durable.write_text(
        folder / FILE,
        json.dumps({"version": _VERSION, "files": files}, indent=1, sort_keys=True),
    )


def exists(folder: pathlib.Path) -> bool:
    """Whether the version was pushed with a manifest."""
    return (folder / FILE).is_file()


def digest(folder: pathlib.Path) -> str:
    """SHA-256 of the manifest: equal where the content of two versions is equal."""
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()


def problems(folder: pathlib.Path) -> list[str]:
    """What differs from the manifest, a sentence each, sorted by file.

    A file beside the listed ones counts too, unless it lies in `assets.extra`, which no
    server loads. Links, pipes and the like count anywhere: they lead out of the folder, or
    a reader waits for them.
    """
    try:
        listed = _read(folder)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        return [f"{FILE} cannot be read: {type(error).__name__}"]
    found = dict(_found(folder))
    sentences = {name: f"{name} is missing" for name in listed.keys() - found.keys()}
    for name, fault in found.items():
        if fault:
            sentences[name] = f"{name} is {fault}"
        elif name in listed:
            if difference := _difference(folder / name, listed[name]):
                sentences[name] = f"{name} {difference}"
        elif not name.startswith(f"{EXTRA_FOLDER}/"):
            sentences[name] = f"{name} is not in the manifest"
    return [sentences[name] for name in sorted(sentences)]


def _read(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    if not exists(folder):  # a pipe in its place would be waited for
        raise FileNotFoundError(folder / FILE)
    document = json.loads((folder / FILE).read_text(encoding="utf-8"))
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


def _entry(path: pathlib.Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}


def _difference(path: pathlib.Path, listed: dict[str, Any]) -> str:
    """How a file differs from its entry, or ''."""
    try:
        entry = _entry(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"
    if entry["bytes"] != listed["bytes"]:
        return f"has {entry['bytes']:,} bytes, its manifest {listed['bytes']:,}"
    if entry["sha256"] != listed["sha256"]:
        return "is not what was pushed: SHA-256 differs"
    return ""
