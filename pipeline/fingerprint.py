"""Fingerprints of our own source, so that TFX's cache sees a change of code.

With dotted entry points TFX compares names only.
"""

import hashlib
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def source(*parts: str) -> str:
    """SHA-256 over the Python files of packages or single files, by dotted name.

    Args:
      *parts: such as 'schema' or 'trainer.preprocessing', relative to the project.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = ROOT.joinpath(*part.split("."))
        files = (
            sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        )
        for file in files:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(ROOT)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()
