import io
import logging
import os
import pathlib
import subprocess
import sys

import pytest

from slimline import capture


def test_descriptors_and_children_go_to_the_log(tmp_path, capfd):
    log = tmp_path / "log.txt"
    log.write_text("before\n", encoding="utf-8")
    with capture.capture(log) as terminal:
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        print("result", file=terminal.stdout, flush=True)
        print("moves", file=terminal.stderr, flush=True)
    assert log.read_text(encoding="utf-8") == "before\none\ntwo\nchild\n"
    assert capfd.readouterr() == ("result\n", "moves\n")


def test_everything_is_put_back_after_an_error(tmp_path, capfd):
    open_before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="x"), capture.capture(tmp_path / "log.txt"):
        raise OSError("x")
    os.write(1, b"one")
    os.write(2, b"two")
    assert capfd.readouterr() == ("one", "two")
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == open_before


def test_echo_gives_all_of_it_to_stderr(tmp_path, capfd):
    with capture.capture(tmp_path / "log.txt", is_echoed=True):
        os.write(1, b"first\n")
        os.write(2, b"last")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "first\nlast")


def test_streams_that_are_no_descriptors_go_to_the_log(tmp_path, monkeypatch):
    # As in the kernel of a notebook.
    cell = io.StringIO()
    monkeypatch.setattr(sys, "stderr", cell)
    with capture.capture(tmp_path / "log.txt") as terminal:
        print("library", file=sys.stderr)
        handler = logging.StreamHandler()  # keeps the stream of this moment
        terminal.stderr.write("shown\n")
    assert sys.stderr is cell
    handler.emit(logging.makeLogRecord({"msg": "later"}))
    assert cell.getvalue() == "shown\nlater\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "library\n"


def test_in_a_process_of_its_own(tmp_path):
    # Without pytest's own streams: the real descriptors are sys.stdout and sys.stderr.
    code = f"""
import os, pathlib
from slimline import capture
print("early")
with capture.capture(pathlib.Path({str(tmp_path / "log.txt")!r})) as terminal:
    print("buffered by Python")
    os.write(2, b"native\\n")
    terminal.stderr.write("moves\\n")
print("late")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("early\nlate\n", "moves\n")
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert sorted(log.splitlines()) == ["buffered by Python", "native"]
