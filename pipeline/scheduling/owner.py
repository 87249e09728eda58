"""Who works on a slot: a lock that the kernel drops with its process, and a heartbeat.

On one machine the lock tells at once, in whatever container and under whatever process
number. It says nothing of another machine, of another mount of a network file system, or
where the file system knows no locks; there a heartbeat younger than LEASE does.
"""

import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import uuid

HEARTBEAT_SECONDS = 10.0
LEASE = datetime.timedelta(seconds=50)
_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


class Lock:
    """A file that one process holds locked while it works on the slots of a schedule.

    Attributes:
      place: where the lock is known: kernel and mount; '' where there are no locks.
    """

    def __init__(self, path: pathlib.Path):
        self.place = ""
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """False where another process has it; True where nobody can tell by the lock."""
        self.drop()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.drop()
            return False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            return True
        self.place = f"{_boot()} {os.fstat(self._file).st_dev}"
        return True

    def drop(self) -> None:
        """Lets go of it."""
        if self._file is not None:
            os.close(self._file)
        self._file = None


def this(place: str) -> str:
    """This process as text, unlike any other; `place` is that of its lock."""
    return json.dumps(
        {
            "name": f"process {os.getpid()} on {socket.gethostname()}",
            "place": place,
            "token": uuid.uuid4().hex,
        }
    )


def name_of(owner: str) -> str:
    """'process 4711 on host'."""
    values = json.loads(owner)
    return values.get("name") or f"process {values['pid']} on {values['host']}"


def lives(
    owner: str, heartbeat: datetime.datetime, place: str, now: datetime.datetime
) -> bool:
    """Whether an owner works on, seen from who holds the lock at `place`."""
    if place and json.loads(owner).get("place") == place:
        return False  # the lock is ours, so it is not his
    # A heartbeat far ahead is that of a clock gone wrong.
    return abs(now - heartbeat) < LEASE


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
