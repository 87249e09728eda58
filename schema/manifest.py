"""The manifest of a pushed version: the SHA-256 of every file, so that damage has a name."""

import hashlib
import json
import pathlib
from typing import Any

from schema import durable

# TensorFlow Serving leaves `assets.extra` alone, but for the warm-up requests.
EXTRA_FOLDER = "assets.extra"
FILE = pathlib.PurePath(EXTRA_FOLDER, "manifest.json")
_VERSION = 1


def write(folder: pathlib.Path) -> None:
    """Writes the manifest of a SavedModel into its folder, durably."""
    files = {
        name: _entry(folder / name) for name in _names(folder) if name != str(FILE)
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
    server loads.
    """
    try:
        listed = _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{FILE} cannot be read: {type(error).__name__}"]
    found = _names(folder)
    sentences = {name: f"{name} is missing" for name in set(listed) - set(found)}
    for name in found:
        if name in listed:
            entry = _entry(folder / name)
            if entry["bytes"] != listed[name]["bytes"]:
                sentences[name] = (
                    f"{name} has {entry['bytes']:,} bytes, its manifest"
                    f" {listed[name]['bytes']:,}"
                )
            elif entry["sha256"] != listed[name]["sha256"]:
                sentences[name] = f"{name} is not what was pushed: SHA-256 differs"
        elif not name.startswith(f"{EXTRA_FOLDER}/"):
            sentences[name] = f"{name} is not in the manifest"
    return [sentences[name] for name in sorted(sentences)]


def _read(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return {
        str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
        for name, entry in document["files"].items()
    }


def _names(folder: pathlib.Path) -> list[str]:
    """Files below `folder`, as POSIX paths relative to it, sorted; links count as files."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _entry(path: pathlib.Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}
