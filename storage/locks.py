"""Locks between processes, as files."""

import pathlib

import filelock

from common.errors import ConfigError


def acquire(
    file: pathlib.Path,
    timeout_seconds: float = 0.0,
    *,
    is_singleton: bool = False,
) -> filelock.AcquireReturnProxy:
    """Takes a lock, as a context manager that gives it back.

    Args:
      file: made where there is none.
      timeout_seconds: to wait for another holder.
      is_singleton: whether this process may take it again while it holds it.

    Raises:
      filelock.Timeout: another holds it.
      ConfigError: it cannot be locked, as a folder, or without the right to write there.
    """
    held = filelock.FileLock(file, timeout_seconds, is_singleton=is_singleton)
    try:
        return held.acquire()
    except filelock.Timeout:
        raise
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be locked",
            found="a folder" if file.is_dir() else error.strerror or str(error),
            expected="a file that this user may write",
            tip="remove it, or make it and its folder writable",
        ) from error
