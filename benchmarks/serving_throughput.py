"""What micro-batches gain: clients with single images against bare sessions, in turn.

Prints images/s of single images, of the local server's batcher under `--clients` clients,
and of a loop over batches of the size that the batcher formed; `--json` keeps every round.
No sockets: what is measured is the engine.
"""

import argparse
import asyncio
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import machine
import numpy as np
import rounds

from common.errors import ConfigError
from pushed_models import signatures
from serving.local_server.limits import Limits
from serving.local_server.loaded_model import LoadedModel
from trainer.nets import registry

BENCHMARKS = pathlib.Path(__file__).parent
SINGLE = "single"
LOOP = "loop"
BATCHER = "batcher"
NUM_CLASSES = 10
IMAGES = 256
IMAGES_FOLDER = "images"
MODEL = "net"
INPUT = signatures.INPUTS[signatures.PREDICT_IMAGES]
VERSION = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where it cannot."""
    options = _parser().parse_args(arguments)
    results: list[dict[str, Any]] = []
    try:
        nets = [registry.find(net).name for net in options.net or ["resnet_20"]]
        header = machine.header("serving_throughput")
        for net in nets:
            with tempfile.TemporaryDirectory() as folder:
                _prepare(net, options.kind, pathlib.Path(folder))
                results.append(_measure(net, options, pathlib.Path(folder)))
            machine.write(options.json, header, results)
    except (rounds.BenchmarkError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def ratios(summaries: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Median speed of the batcher over those of the bare sessions."""
    own = summaries[BATCHER]["images_per_second"]
    return {
        "to_batch_one": own / summaries[SINGLE]["images_per_second"],
        "to_a_bare_loop": own / summaries[LOOP]["images_per_second"],
    }


def summarise(speeds: Sequence[float]) -> dict[str, Any]:
    """Median, lowest and highest images/s of `speeds`, with all of them."""
    return {
        "images_per_second": statistics.median(speeds),
        "lowest": min(speeds),
        "highest": max(speeds),
        "rounds": list(speeds),
    }


def usual_size(before: dict[int, int], after: dict[int, int]) -> int:
    """Mean size of the batches, weighed by their images, from two counts of sizes."""
    counts = {size: count - before.get(size, 0) for size, count in after.items()}
    images = sum(size * count for size, count in counts.items())
    return round(sum(size * size * count for size, count in counts.items()) / images)


def _parser() -> argparse.ArgumentParser:
    defaults = Limits()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", action="append", help="of the registry; repeatable")
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a round")
    parser.add_argument("--clients", type=int, default=64, help="at the same time")
    parser.add_argument("--kind", choices=["png", "jpeg"], default="png")
    parser.add_argument("--batch", type=int, default=defaults.max_batch_size)
    return parser


def _prepare(net: str, kind: str, folder: pathlib.Path) -> None:
    task = {
        "net": net,
        "num_classes": NUM_CLASSES,
        "folder": str(folder / MODEL / VERSION),
        "images_folder": str(folder / IMAGES_FOLDER),
        "images": IMAGES,
        "kind": kind,
    }
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "serving_model.py"), json.dumps(task)],
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-rounds.STDERR_LINES :])
        raise rounds.BenchmarkError(f"the model could not be written:\n{tail}")


def _measure(
    net: str, options: argparse.Namespace, folder: pathlib.Path
) -> dict[str, Any]:
    limits = Limits(max_batch_size=options.batch)
    sizes_text = f"batches of {limits.max_batch_size}, queue of {limits.max_queue}"
    print(f"{net}, {options.clients} clients, {sizes_text}", flush=True)
    spec = registry.find(net)
    files = sorted((folder / IMAGES_FOLDER).iterdir())
    images = [file.read_bytes() for file in files]
    speeds, sizes = asyncio.run(
        _compete(folder / MODEL / VERSION, images, limits, options)
    )
    summaries = {name: summarise(found) for name, found in speeds.items()}
    for name, summary in summaries.items():
        print(f"{net}, {name}: {summary['images_per_second']:.0f} images/s")
    found = ratios(summaries)
    print(f"{net}: ratio to batch one: {found['to_batch_one']:.2f}")
    print(f"{net}: ratio to a bare loop: {found['to_a_bare_loop']:.2f}", flush=True)
    return {
        "net": net,
        "image_size_px": spec.image_size_px,
        "clients": options.clients,
        "kind": options.kind,
        "max_batch_size": limits.max_batch_size,
        "batch_sizes": sizes,
        "contenders": summaries,
        "ratios": found,
    }


async def _compete(
    folder: pathlib.Path,
    images: list[bytes],
    limits: Limits,
    options: argparse.Namespace,
) -> tuple[dict[str, list[float]], list[int]]:
    """Images/s of each round by contender, and the batch size of each round.

    All in one process and one session, so that they share kernels and threads.
    """
    model = LoadedModel(MODEL, folder, limits)
    speeds: dict[str, list[float]] = {SINGLE: [], LOOP: [], BATCHER: []}
    sizes: list[int] = []
    await _ask(model, images, options.clients, 1.0)
    for number in range(1, options.rounds + 1):
        before = dict(model.batch_sizes)
        speeds[BATCHER].append(
            await _ask(model, images, options.clients, options.seconds)
        )
        sizes.append(usual_size(before, dict(model.batch_sizes)))
        for name, size in ((SINGLE, 1), (LOOP, sizes[-1])):
            speed = await asyncio.to_thread(
                _loop, model.run_bare, images, size, options.seconds
            )
            speeds[name].append(speed)
        told = ", ".join(f"{name} {found[-1]:.0f}" for name, found in speeds.items())
        print(f"  round {number}: {told} images/s, batches of {sizes[-1]}", flush=True)
    await model.stop()
    return speeds, sizes


async def _ask(model: Any, images: list[bytes], clients: int, seconds: float) -> float:
    """Images/s of clients that send an image, wait for its answer and send the next."""
    end = time.perf_counter() + seconds
    requests = [{INPUT: np.array([image], object)} for image in images]
    count = 0

    async def client(place: int) -> None:
        nonlocal count
        while time.perf_counter() < end:
            request = requests[place % len(requests)]
            await model.run(signatures.PREDICT_IMAGES, request, None)
            place += clients
            count += 1

    start = time.perf_counter()
    await asyncio.gather(*(client(place) for place in range(clients)))
    return count / (time.perf_counter() - start)


def _loop(
    run: Callable[[str, Any], Any],
    images: list[bytes],
    size: int,
    seconds: float,
) -> float:
    """Images/s of a session that gets one batch after another."""
    batches = [
        {INPUT: np.array((images * 2)[start : start + size], object)}
        for start in range(0, len(images), size)
    ]
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        run(signatures.PREDICT_IMAGES, batches[count % len(batches)])
        count += 1
    return count * size / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
