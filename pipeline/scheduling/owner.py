"""Who works on a slot, and whether he still lives."""

import dataclasses
import datetime
import json
import os
import pathlib
import socket

# A scheduler on another machine, or in another container, shows that it lives by its
# heartbeat; after so long without one it is taken for dead.
LEASE = datetime.timedelta(minutes=10)
HEARTBEAT_SECONDS = 60.0
_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process, told from those that had its number before.

    Attributes:
      host: name of the machine or container.
      boot: of its kernel, '' where the system does not say.
      space: in which its number counts: containers number anew.
      pid: its number.
      started: when it was, in ticks of the kernel; '' where the system does not say.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str

    def as_text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "Owner":
        """What `as_text` gave."""
        return cls(**json.loads(text))

    @property
    def name(self) -> str:
        """'process 4711 on host'."""
        return f"process {self.pid} on {self.host}"


def this() -> Owner:
    """This process."""
    pid = os.getpid()
    return Owner(socket.gethostname(), _boot(), _space(), pid, _started(pid) or "")


def lives(owner: Owner, heartbeat: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether an owner works on, as far as can be told from here.

    Args:
      owner: a process.
      heartbeat: when it last gave one.
      now: of the same kind.
    """
    here = this()
    if owner.host == here.host and owner.boot != here.boot:
        return False  # the machine was started anew
    if (owner.host, owner.space) == (here.host, here.space):
        return _started(owner.pid) == owner.started
    # Its number says nothing here. A heartbeat far ahead is that of a clock gone wrong.
    return abs(now - heartbeat) < LEASE


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115, no path but a name
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process was started, in ticks; None where it is gone or a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(
            encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    # Behind the name in brackets, which may hold blanks: state first, start as the 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
