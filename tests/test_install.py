"""What the set-up says on a machine where something is missing."""

import pathlib
import shutil
import subprocess

import pytest

PROJECT = pathlib.Path(__file__).parents[1]
NEEDED = ("sh", "dirname", "printf", "cat", "touch", "env", "uname")


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of programs that stands for a machine: shell, python3, compiler."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in NEEDED:
        (programs / name).symlink_to(shutil.which(name))
    write_program(programs / "python3", "exit 0")
    write_program(programs / "c++", "exit 0")
    return programs


def write_program(path: pathlib.Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def install(
    machine: pathlib.Path, tmp_path: pathlib.Path
) -> subprocess.CompletedProcess:
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts" / "install.sh", checkout / "scripts")
    return subprocess.run(
        [str(machine / "sh"), "scripts/install.sh"],
        cwd=checkout,
        env={"PATH": str(machine), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def error_of(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_no_python(machine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (machine / "python3").unlink()
    assert "'python3' with its venv module is needed" in error_of(
        install(machine, tmp_path)
    )


def test_no_venv(machine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_program(machine / "python3", "exit 1")
    assert "apt install python3-venv" in error_of(install(machine, tmp_path))


def test_no_compiler(machine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (machine / "c++").unlink()
    assert "a C++ compiler is needed" in error_of(install(machine, tmp_path))


def test_no_python_3_11(machine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    # A python3 that makes a .venv/uv whose uv cannot find or fetch Python 3.11.
    uv = tmp_path / "checkout" / ".venv" / "uv" / "bin" / "uv"
    write_program(
        machine / "python3",
        f'[ "$2" = venv ] || exit 0\n/bin/mkdir -p {uv.parent}\n'
        f"printf '#!/bin/sh\\nexit 2\\n' > {uv}\n"
        f"printf '#!/bin/sh\\nexit 0\\n' > {uv.parent}/pip\n"
        f"/bin/chmod +x {uv} {uv.parent}/pip",
    )
    assert "Python 3.11 is needed" in error_of(install(machine, tmp_path))


def test_no_headers(machine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    python = tmp_path / "checkout" / ".venv" / "bin" / "python"
    uv = tmp_path / "checkout" / ".venv" / "uv" / "bin" / "uv"
    for path, code in ((python, 1), (uv, 0)):
        path.parent.mkdir(parents=True)
        write_program(path, f"exit {code}")
    assert "headers of Python 3.11" in error_of(install(machine, tmp_path))
