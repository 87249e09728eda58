"""A training on a disk that is too small, then large enough; in mounts of its own.

Usage: full_disk.py FOLDER; prints one JSON object.
"""

import ctypes
import json
import pathlib
import subprocess
import sys

import kill_and_resume

from common.errors import TrainError
from trainer import training
from trainer.checkpoints import CheckpointStore

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


def train(folder: pathlib.Path) -> int:
    split = kill_and_resume.split()
    return training.train(kill_and_resume.CONFIG, split, split, 2, folder).steps


def own_mounts() -> None:
    """From here on, what this process mounts is seen by it alone: unshare(2), mount(8)."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def main(folder: pathlib.Path) -> None:
    """Room for one checkpoint of some 8 MB and not for the next."""
    own_mounts()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    told = {}
    try:
        train(folder)
    except TrainError as error:
        told = {"message": error.message, "found": error.found, "tip": error.tip}
    told["whole_step"] = CheckpointStore(folder / "checkpoints").latest()
    larger = ["mount", "-o", "remount,size=200m", str(folder)]
    subprocess.run(larger, check=True)
    told["steps"] = train(folder)
    print(json.dumps(told))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
