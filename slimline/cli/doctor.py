"""slimline doctor: what on this machine would keep a run from working."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator

import click
from packaging.requirements import Requirement

from slimline import errors
from slimline.terminal import machine, options, output

OK = "ok"
WARN = "warn"
FAIL = "fail"
GIB = 2**30
MIN_MEMORY_BYTES = 4 * GIB
MIN_DISK_BYTES = 5 * GIB
GPU_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes:
      name: what was looked at.
      status: 'ok', 'warn' or 'fail'.
      detail: what was found.
      fix: what to do, '' where nothing is wrong.
    """

    name: str
    status: str
    detail: str
    fix: str = ""


@click.command(short_help="Check this machine and installation.")
@options.root_option
@click.option("--gpu", "asks_gpu", is_flag=True, help="Ask TensorFlow for GPUs (slow).")
@options.output_options
def command(root: pathlib.Path, asks_gpu: bool) -> output.Result:
    """Check this machine and installation: each line ok, warn or fail, with the fix."""
    checks = [
        _python(),
        *_packages(),
        _bytecode(),
        _compiler(),
        _command_on_path("tfx"),
        _command_on_path("pip"),
        _cores(),
        _memory(),
        _disk(root),
        _writable(root),
        _gpu(asks_gpu),
    ]
    has_failed = any(check.status == FAIL for check in checks)
    document = {"checks": [dataclasses.asdict(check) for check in checks]}
    text = "\n".join([machine.describe(), "", *map(_line, checks)])
    code = errors.RUN_FAILED if has_failed else errors.DONE
    return output.Result(text, document, exit_code=code)


def _line(check: Check) -> str:
    line = f"{check.status:<6}{check.name:<14}{check.detail}"
    return f"{line}\n{'':<20}fix: {check.fix}" if check.fix else line


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        return Check("python", OK, found)
    return Check("python", FAIL, found, "use Python 3.11: make install sets it up")


def _packages() -> Iterator[Check]:
    wrong = []
    count = 0
    for text in importlib.metadata.requires("slimline") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        found = machine.version(requirement.name)
        is_missing = found == "missing"
        if is_missing or not requirement.specifier.contains(found, prereleases=True):
            wrong.append((requirement, found))
    if not wrong:
        yield Check("packages", OK, f"{count} within the tested ranges")
    for requirement, found in wrong:
        yield Check(
            requirement.name,
            FAIL,
            f"{found}, wanted {requirement.specifier or 'any'}",
            "make install brings the locked set",
        )


def _bytecode() -> Check:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        return Check("bytecode", FAIL, "TensorFlow is missing", "make install")
    cached = pathlib.Path(importlib.util.cache_from_source(spec.origin))
    if cached.is_file() or not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return Check("bytecode", OK, "compiled, or compiled at the first import")
    return Check(
        "bytecode",
        WARN,
        "not compiled, and PYTHONDONTWRITEBYTECODE is set: each start is slow",
        "make install compiles it",
    )


def _compiler() -> Check:
    found = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), "")
    header = pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h"
    missing = [
        *([] if found else ["a C++ compiler"]),
        *([] if header.is_file() else ["the Python headers"]),
    ]
    if not missing:
        return Check("compiler", OK, f"{found} and Python headers")
    return Check(
        "compiler",
        WARN,
        f"without {' and '.join(missing)}; installed packages run all the same",
        "apt-get install g++ python3.11-dev, before the next make install",
    )


def _command_on_path(name: str) -> Check:
    # Next to the interpreter, links not followed: that is where a venv has its commands.
    folder = pathlib.Path(sys.executable).parent
    found = shutil.which(name)
    if found and pathlib.Path(found).parent == folder:
        return Check(name, OK, found)
    if not (folder / name).is_file():
        return Check(name, WARN, "missing; the tfx command needs it", "make install")
    return Check(
        name,
        WARN,
        f"in {folder}, which is not first on PATH; the tfx command needs that",
        f"source {folder / 'activate'}",
    )


def _cores() -> Check:
    count = machine.cpu_count()
    if count > 1:
        return Check("cpu", OK, f"{count} cores")
    return Check("cpu", WARN, "1 core", "training will be slow")


def _memory() -> Check:
    size = machine.memory_bytes()
    detail = f"{size / GIB:.1f} GiB"
    if size >= MIN_MEMORY_BYTES:
        return Check("memory", OK, detail)
    return Check("memory", WARN, detail, f"{MIN_MEMORY_BYTES // GIB} GiB are enough")


def _disk(root: pathlib.Path) -> Check:
    free = shutil.disk_usage(_existing(root)).free
    detail = f"{free / GIB:.1f} GiB free for {root}"
    if free >= MIN_DISK_BYTES:
        return Check("disk", OK, detail)
    return Check("disk", WARN, detail, "make room, or --root DIR on another disk")


def _writable(root: pathlib.Path) -> Check:
    folder = _existing(root)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check("root", OK, f"{root} can be written")
    except OSError as error:
        return Check(
            "root",
            FAIL,
            f"{folder} cannot be written: {error.strerror or error}",
            "--root DIR elsewhere",
        )


def _gpu(asks: bool) -> Check:
    devices = machine.gpu_devices()
    if not asks:
        detail = (
            f"{len(devices)} device files" if devices else "none; training uses CPU"
        )
        return Check("gpu", OK, detail)
    # A process of its own: TensorFlow writes to the terminal and keeps the memory.
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=GPU_SECONDS,
            check=True,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        return Check("gpu", FAIL, f"TensorFlow does not load: {error}", "make install")
    count = int(answer[-1])
    if devices and not count:
        return Check(
            "gpu",
            WARN,
            f"{len(devices)} device files, but TensorFlow finds no GPU",
            "install the CUDA libraries of this TensorFlow: tensorflow[and-cuda]",
        )
    return Check("gpu", OK, f"TensorFlow finds {count}")


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above `path` that exists."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
