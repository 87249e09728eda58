"""A command in a warm fork is the command: the same words, streams, signals and exit code."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

BIN = pathlib.Path(sys.executable).parent


def real(words: list[str], folder: pathlib.Path, variables: dict[str, str]):
    """The same command in a process of its own."""
    return run_real([str(BIN / words[0]), *words[1:]], folder, variables)


def run_real(command: Sequence[str], folder: pathlib.Path, variables: dict[str, str]):
    """Runs a command line to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["slimline", "experiments", "digits_resnet_20"], 0),
        (["slimline", "runs", "--root", "runs", "--json"], 0),
        (["slimline", "run", "--set", "train.epoch=3"], 2),
        (["python", "-m", "pipeline.kubeflow.entrypoint", "--nothing"], 2),
        (["python", "-m", "schema.nothing"], 1),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_it_ends_as_the_real_command(warm_forks, tmp_path, words, code) -> None:
    variables = {**os.environ, "HOME": str(tmp_path), "COLUMNS": "70"}
    expected = real(words, tmp_path, variables)
    found = warm_forks.run(words, tmp_path, variables)
    assert expected.returncode == code, expected.stderr
    assert (found.returncode, found.stdout) == (code, expected.stdout)
    # An interpreter names itself, and the lines of runpy in the stack.
    if words[-1] != "schema.nothing":
        assert found.stderr == expected.stderr
    else:
        assert (
            "No module named" in found.stderr and "No module named" in expected.stderr
        )


# Module -> how it ends, in every way that a process can.
ENDINGS = {
    "tells": "import json; print(json.dumps([sys.argv[1:], os.getcwd(), sys.stdin.read(),"
    " os.environ.get('ASKED'), os.environ.get('HOME'), __name__]))",
    "exits": "sys.exit(7)",
    "exits_with_words": "print('out'); sys.exit('a sentence')",
    "raises": "raise OSError('no luck')",
    "is_killed": "print('lost, since nobody flushes'); os.kill(os.getpid(), 9)",
    "prints_much": "sys.stdout.write('x' * 300_000); sys.stderr.write('y' * 300_000)",
    "ends_late": "import atexit, threading, time\n"
    "atexit.register(print, 'at exit')\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
    "starts_another": "import subprocess\n"
    "sys.exit(subprocess.run(['sh', '-c', 'echo child; exit 5']).returncode)",
}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "module") for name in ENDINGS),
        *(("tells", form) for form in ("script", "code")),
        *((name, "in place") for name in ("tells", "exits", "is_killed", "ends_late")),
    ],
)
def test_it_ends_in_the_same_way(warm_forks, tmp_path, name, form) -> None:
    code = f"import os, sys\n{ENDINGS[name]}\n"
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    (tmp_path / "here").mkdir()
    forms = {"script": [str(script)], "code": ["-c", code]}
    words = ["python", *forms.get(form, ["-m", name]), "one", "two words"]
    variables = {"PYTHONPATH": str(tmp_path), "ASKED": "ä b", "HOME": "/nowhere"}

    def in_place(words, folder, variables):
        return run_real(warm_forks.command(*words), folder, variables)

    start = in_place if form == "in place" else warm_forks.run
    found, expected = (
        each(words, tmp_path / "here", variables) for each in (start, real)
    )
    assert found.returncode == expected.returncode
    assert found.stdout == expected.stdout
    # The stack of a fork begins in other files.
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_what_a_fork_changes_stays_in_it(warm_forks, tmp_path) -> None:
    (tmp_path / "changes.py").write_text(
        "import os, sys, schema\n"
        "print(hasattr(schema, 'left'), os.environ.get('LEFT'), len(sys.argv))\n"
        "schema.left = os.environ['LEFT'] = 'behind'\n"
    )
    variables = {"PYTHONPATH": str(tmp_path)}
    for _ in range(2):
        found = warm_forks.run(["python", "-m", "changes"], tmp_path, variables)
        assert (found.returncode, found.stdout) == (0, "False None 1\n")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_signals_reach_it_alone(warm_forks, tmp_path, number, code) -> None:
    (tmp_path / "waits.py").write_text(
        "import time\nprint('here', flush=True)\ntime.sleep(600)\n"
    )
    words, variables = ["python", "-m", "waits"], {"PYTHONPATH": str(tmp_path)}
    first, second = (
        warm_forks.start(words, tmp_path, variables, stdout=subprocess.PIPE)
        for _ in range(2)
    )
    try:
        assert [fork.stdout.readline() for fork in (first, second)] == ["here\n"] * 2
        assert first.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.01)
        first.send_signal(number)
        assert first.wait(60) == code
        assert second.poll() is None
    finally:
        second.kill()
    assert second.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_who_runs_a_fork_in_place_takes_it_along(
    warm_forks, tmp_path, number, code
) -> None:
    """A signal is passed on; what is killed cannot pass it on, and the fork ends, too."""
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    command = warm_forks.command("python", "-c", program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        pid = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(60) == code
    end = time.monotonic() + 60
    while pathlib.Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
