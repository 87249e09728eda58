"""Beam arguments of the engines that run the pipeline's Beam jobs."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def local() -> list[str]:
    """In this process, in memory.

    The runner is named because recent Beam's default tries to download one. TFX builds a
    package of itself for every job that names no dependencies; `setup.py` of a checkout
    stops that.
    """
    arguments = ["--runner=FnApiRunner", "--direct_running_mode=in_memory"]
    setup_file = ROOT / "setup.py"
    if setup_file.is_file():
        arguments.append(f"--setup_file={setup_file}")
    return arguments
