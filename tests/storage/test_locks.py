"""What can be no lock is a sentence; a lock that another holds is told from it."""

import pathlib

import filelock
import pytest

from common.errors import ConfigError
from storage import locks


def test_two_holders_exclude_each_other(tmp_path: pathlib.Path) -> None:
    with locks.acquire(tmp_path / "lock"), pytest.raises(filelock.Timeout):
        locks.acquire(tmp_path / "lock")
    with locks.acquire(tmp_path / "lock"):
        pass


def test_a_folder_is_no_lock(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigError, match=r"lock cannot be locked\s+found: a folder"):
        locks.acquire(tmp_path / "lock")


def test_nor_is_what_may_not_be_written(unprivileged) -> None:
    folder, as_nobody = unprivileged
    with as_nobody(), pytest.raises(ConfigError, match="found: Permission denied"):
        locks.acquire(folder / "lock")
