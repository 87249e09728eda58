"""This machine and installation in figures, without TensorFlow."""

import importlib.metadata
import os
import pathlib
import platform


def describe() -> str:
    """'slimline 0.1.0 · TFX 1.16.0 · TF 2.16.2 · Python 3.11.7 · 2 CPU, no GPU'."""
    gpus = len(gpu_devices())
    return " · ".join(
        [
            f"slimline {version('slimline')}",
            f"TFX {version('tfx')}",
            f"TF {version('tensorflow')}",
            f"Python {platform.python_version()}",
            f"{cpu_count()} CPU, {f'{gpus} GPU' if gpus else 'no GPU'}",
        ]
    )


def version(distribution: str) -> str:
    """Version of an installed distribution, or 'missing'."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def cpu_count() -> int:
    """Processors that this process may use, in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def gpu_devices() -> list[str]:
    """Device files of NVIDIA GPUs, also of those that TensorFlow cannot use."""
    return sorted(str(path) for path in pathlib.Path("/dev").glob("nvidia[0-9]*"))


def memory_bytes() -> int:
    """Memory of the machine, or the limit of the container if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = pathlib.Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")
        return min(total, int(text))
    except (OSError, ValueError):  # 'max' means no limit
        return total
