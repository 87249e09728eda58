"""What a measurement was made on: processor, memory, code and date."""

import datetime
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
BUSY_LOAD = 0.5
# Processor features that decide how fast products of bfloat16 are.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")


def facts() -> dict[str, Any]:
    """Processor, cores this process may use, memory in bytes, and the load now.

    A load near zero before a measurement means that nothing else was running.
    """
    processor = _fields(pathlib.Path("/proc/cpuinfo"))
    memory = _fields(pathlib.Path("/proc/meminfo")).get("MemTotal", "0 kB")
    flags = processor.get("flags", "").split()
    return {
        "processor": processor.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_bytes": int(memory.split()[0]) * 1024,
        "system": platform.platform(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
    }


def header(benchmark: str) -> dict[str, Any]:
    """The first part of a result file: what was run, when, on what.

    To be called before the measurement. Says so where the machine is busy.
    """
    machine = facts()
    load = machine["load_average_1_min"]
    if load > BUSY_LOAD:
        print(f"note: something else is running (load {load}); it disturbs the figures")
    return {
        "benchmark": benchmark,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code": _commit(),
        "machine": machine,
    }


def write(
    path: pathlib.Path | None, header: dict[str, Any], results: list[dict[str, Any]]
) -> None:
    """Writes the result file, if any is wanted; its folder is made where it is missing."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = header | {"results": results}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    """The commit checked out, with '+changes' where files differ; '' if unknown."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip()


def _fields(path: pathlib.Path) -> dict[str, str]:
    """First value of each `name: value` line; empty where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields
