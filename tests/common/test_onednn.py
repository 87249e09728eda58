"""oneDNN is asked for before anything of ours imports TensorFlow."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from common import onednn

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def asked(package: str, **environment: str) -> str:
    """What a new process asks TensorFlow for, once it has imported a package."""
    inherited = {k: v for k, v in os.environ.items() if k != onednn.VARIABLE}
    code = (
        f"import os, sys, {package}\n"
        "assert 'tensorflow' not in sys.modules\n"
        f"print(os.environ.get('{onednn.VARIABLE}'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_asks(package: str) -> None:
    expected = "1" if platform.machine() == "x86_64" else "None"
    assert asked(package) == expected


def test_the_environment_has_the_last_word() -> None:
    assert asked("trainer", **{onednn.VARIABLE: "0"}) == "0"


def test_tells_what_tensorflow_does() -> None:
    from trainer import training

    assert training.onednn.is_on() == (os.environ.get(onednn.VARIABLE) == "1")


def test_tells_what_tensorflow_does_not() -> None:
    code = "from trainer import training\nprint(training.onednn.is_on())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {onednn.VARIABLE: "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "False"
