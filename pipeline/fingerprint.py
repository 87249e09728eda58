"""Fingerprints of our source, with which TFX's cache detects changes of code.

TFX compares dotted entry points by name only. A fingerprint covers the modules that an entry
point imports, directly or not, also inside functions; TensorFlow, TFX with its stock
components, and tf-slim by version.
"""

import functools
import hashlib
import importlib.metadata
import pathlib
import re
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).parents[1]
LIBRARIES = ("tensorflow", "tfx", "tf-slim")

# Imports are found in the text: parsing the whole project takes a second. A sentence in a
# docstring that looks like an import adds at most a module.
_NOT_CODE = re.compile(r"#.*|\\\n")
_IMPORT = re.compile(
    r"(?:^|[;:])[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?import\b[ \t]*(\([^)]*\)|[^\n;]*)",
    re.MULTILINE,
)
_NAME = re.compile(r"([\w.]+)(?:\s+as\s+\w+)?")
# A module that runs in a process of its own.
_STARTED = re.compile(r'"-m",\s*"([\w.]+)"')


def source(*entry_points: str) -> str:
    """SHA-256 over `LIBRARIES` and all modules of ours that the entry points import.

    Args:
      *entry_points: modules by dotted name, or what they define, such as
        'trainer.preprocessing.preprocessing_fn'.
    """
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {_version(library)}\0".encode())
    for file in files(entry_points):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def files(entry_points: Iterable[str]) -> list[pathlib.Path]:
    """Files of the entry points and of our modules that they import, directly or not."""
    found: set[pathlib.Path] = set()
    names = set(entry_points)
    waiting = list(names)
    while waiting:
        for file in _files_of(waiting.pop()):
            if file not in found:
                found.add(file)
                new = _imports(file, file.stat().st_mtime_ns) - names
                names |= new
                waiting += new
    return sorted(found)


def _files_of(name: str) -> Iterator[pathlib.Path]:
    """Files that Python runs for a module: its own, and those of the packages above it."""
    path = ROOT
    for part in name.split("."):
        path /= part
        if (package := path / "__init__.py").is_file():
            yield package
        elif path.parent != ROOT and path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")
            return
        else:
            return  # another project's, or a name that a module defines
    if (path / "__main__.py").is_file():
        yield path / "__main__.py"


@functools.cache
def _imports(file: pathlib.Path, modified: int) -> frozenset[str]:
    """Dotted names of modules and of their members that a file imports."""
    del modified  # only a key of the cache
    text = _NOT_CODE.sub("", file.read_text(encoding="utf-8"))
    names = set(_STARTED.findall(text))
    for module, imported in _IMPORT.findall(text):
        prefix = f"{module}." if module else ""
        names.update(prefix + name for name in _NAME.findall(imported))
    return frozenset(names)


_version = functools.cache(importlib.metadata.version)
