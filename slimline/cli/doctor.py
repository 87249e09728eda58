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


def _check(name: str, is_ok: bool, detail: str, fix: str, status: str = WARN) -> Check:
    """The line of a check; `fix` and `status` count where it is not `is_ok`."""
    return Check(name, OK, detail) if is_ok else Check(name, status, detail, fix)


@click.command(short_help="Check this machine and installation.")
@options.root_option
@options.flag("--gpu", "asks_gpu", help="Ask TensorFlow for GPUs (slow).")
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
        *_resources(root),
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
    version = ".".join(map(str, sys.version_info[:3]))
    is_tested = sys.version_info[:2] == (3, 11)
    fix = "use Python 3.11: make install sets it up"
    return _check("python", is_tested, version, fix, FAIL)


def _packages() -> Iterator[Check]:
    count = wrong = 0
    for text in importlib.metadata.requires("slimline") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        name, tested = requirement.name, requirement.specifier
        found = machine.version(name)
        if found == "missing" or not tested.contains(found, prereleases=True):
            wrong += 1
            detail = f"{found}, expected {tested or 'any'}"
            yield Check(name, FAIL, detail, "make install brings the locked set")
    if not wrong:
        yield Check("packages", OK, f"{count} within the tested ranges")


def _bytecode() -> Check:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        return Check("bytecode", FAIL, "TensorFlow is missing", "make install")
    cached = pathlib.Path(importlib.util.cache_from_source(spec.origin))
    if cached.is_file() or not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return Check("bytecode", OK, "compiled, or compiled at the first import")
    detail = "not compiled, and PYTHONDONTWRITEBYTECODE is set: each start is slow"
    return Check("bytecode", WARN, detail, "make install compiles it")


def _compiler() -> Check:
    found = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), "")
    header = pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h"
    missing = [] if found else ["a C++ compiler"]
    if not header.is_file():
        missing.append("the Python headers")
    detail = f"{found} and Python headers"
    if missing:
        detail = f"without {' and '.join(missing)}; installed packages still run"
    fix = "apt-get install g++ python3.11-dev, before the next make install"
    return _check("compiler", not missing, detail, fix)


def _command_on_path(name: str) -> Check:
    # A venv has its commands next to its interpreter; links are not followed.
    folder = pathlib.Path(sys.executable).parent
    found = shutil.which(name)
    if found and pathlib.Path(found).parent == folder:
        return Check(name, OK, found)
    if not (folder / name).is_file():
        return Check(name, WARN, "missing; the tfx command needs it", "make install")
    detail = f"in {folder}, which is not first on PATH; the tfx command needs that"
    return Check(name, WARN, detail, f"source {folder / 'activate'}")


def _resources(root: pathlib.Path) -> Iterator[Check]:
    cores = machine.cpu_count()
    detail = f"{cores} core{'s'[: cores != 1]}"
    yield _check("cpu", cores > 1, detail, "training will be slow")
    memory = machine.memory_bytes()
    fix = f"{MIN_MEMORY_BYTES // GIB} GiB are enough"
    yield _check("memory", memory >= MIN_MEMORY_BYTES, f"{memory / GIB:.1f} GiB", fix)
    free = shutil.disk_usage(_existing(root)).free
    detail = f"{free / GIB:.1f} GiB free for {root}"
    fix = "make room, or --root DIR on another disk"
    yield _check("disk", free >= MIN_DISK_BYTES, detail, fix)


def _writable(root: pathlib.Path) -> Check:
    folder = _existing(root)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check("root", OK, f"{root} can be written")
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror or error}"
        return Check("root", FAIL, detail, "--root DIR elsewhere")


def _gpu(asks: bool) -> Check:
    devices = len(machine.gpu_devices())
    if not asks:
        detail = f"{devices} device files" if devices else "none; training uses CPU"
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
    detail = f"TensorFlow finds {count}"
    if is_unused := bool(devices and not count):
        detail = f"{devices} device files, but TensorFlow finds no GPU"
    fix = "install the CUDA libraries of this TensorFlow: tensorflow[and-cuda]"
    return _check("gpu", not is_unused, detail, fix)


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above `path` that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
