"""`slimline serve` as a process of its own, on free ports."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

START_SECONDS = 300
STOP_SECONDS = 60


class Served:
    """A server that runs.

    Attributes:
      rest: 'HOST:PORT'. grpc: likewise.
      events: what it printed so far, an object each.
      audit: file with what it opened, or None.
      process: as by `subprocess.Popen`.
    """

    def __init__(self, process: Any, root: pathlib.Path):
        self.process = process
        self.root = root
        self.audit: pathlib.Path | None = None
        self.rest = self.grpc = ""
        self.events: list[dict[str, Any]] = []
        self._is_heard = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.rest}"

    def _listen(self) -> None:
        for line in self.process.stdout:
            with self._is_heard:
                self.events.append(json.loads(line))
                self._is_heard.notify_all()

    def wait_for(self, event: str, text: str = "") -> dict[str, Any]:
        """The first event of that name whose text holds `text`."""

        def heard() -> dict[str, Any] | None:
            found = (
                e
                for e in self.events
                if e["event"] == event and text in e.get("text", "")
            )
            return next(found, None)

        end = time.monotonic() + START_SECONDS
        with self._is_heard:
            while (found := heard()) is None:
                assert self.process.poll() is None, self.events
                assert time.monotonic() < end, self.events
                self._is_heard.wait(1)
        return found

    def rss_bytes(self) -> int:
        """Memory of the server itself."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def serving(
    root: pathlib.Path,
    *options: str,
    forks: Any = None,
    audit: pathlib.Path | None = None,
) -> Iterator[Served]:
    """A server over `root`, that has loaded what there is.

    Args:
      root: of the models.
      options: of the command.
      forks: `WarmForks` that start it in less time, or None for the real command.
      audit: file for what the real command opens, or None.
    """
    words = ["serve", "--json", "--rest-port", "0", "--grpc-port", "0"]
    words += ["--root", str(root), *options]
    process = (
        forks.start(["slimline", *words], pathlib.Path.cwd(), stdout=subprocess.PIPE)
        if forks
        else subprocess.Popen(
            [sys.executable, "-c", START, *words],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ({"AUDIT_FILE": str(audit)} if audit else {}),
        )
    )
    served = Served(process, root)
    served.audit = audit
    try:
        started = served.wait_for("started")
        served.rest, served.grpc = started["rest"], started["grpc"]
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_SECONDS)


# What Python opens and connects to goes into a file, a line each, for tests that ask.
START = """
import os, sys
log = os.environ.get("AUDIT_FILE")
if log:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def note(event, arguments):
        if event in ("open", "os.listdir", "os.scandir", "socket.connect"):
            os.write(target, f"{event} {arguments[0]!r} {arguments[1:]!r}\\n".encode())
    sys.addaudithook(note)
from slimline.cli.main import main
sys.exit(main())
"""
