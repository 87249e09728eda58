"""How long a good client waits while hostile ones are there, against how long it waits alone.

A client of its own process asks `slimline serve` by REST and by gRPC, with a pause between
an answer and the next request. Beside it are, in turn and for the same time, nobody, and
for each kind of hostile requests four clients that send them, 1,000 connections that say
nothing and 200 that say half a header.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import hostile_requests
import machine
import numpy as np
import rounds
import server_process

MODEL = "net"
IMAGES = 16
NUM_CLASSES = 10
SILENT_CONNECTIONS = 1_000
SLOW_CONNECTIONS = 200
PAUSE_SECONDS = 0.01
# A phase begins when what is left of the last one is gone.
SETTLE_SECONDS = 1.0
ANSWER_SECONDS = 30.0
WARM_UP_SECONDS = 3.0
QUIET = "quiet"
PROTOCOLS = {"REST": 0, "gRPC": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes."""
    options = _parser().parse_args(arguments)
    header = machine.header("serving_hostile")
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = _measure(options, pathlib.Path(folder))
    except rounds.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine.write(options.json, header, results)
    for result in results:
        print(json.dumps(result))
    return 0


@dataclasses.dataclass(frozen=True)
class Phase:
    """A time with one kind of hostile clients, or with none.

    Attributes:
      kind: of their requests, or QUIET.
      start: seconds since 1970. end: likewise.
      requests: that they sent.
    """

    kind: str
    start: float
    end: float
    requests: int


def summarise(
    notes: dict[str, np.ndarray], phases: Sequence[Phase]
) -> list[dict[str, Any]]:
    """For each kind and protocol the medians over its rounds, and the ratio of the p99.

    Args:
      notes: of the good client.
      phases: a quiet one before each hostile one.

    Raises:
      BenchmarkError: nobody was answered in a phase.
    """
    pairs = list(zip(phases[::2], phases[1::2], strict=True))
    found = []
    for kind in dict.fromkeys(hostile.kind for _, hostile in pairs):
        mine = [pair for pair in pairs if pair[1].kind == kind]
        result: dict[str, Any] = {
            "kind": kind,
            "requests": sum(hostile.requests for _, hostile in mine),
        }
        for protocol, number in PROTOCOLS.items():
            quiet, hostile = (
                _medians([_latencies(notes, number, pair[place]) for pair in mine])
                for place in (0, 1)
            )
            result[protocol] = {
                "quiet_ms": quiet,
                "hostile_ms": hostile,
                "ratio_of_p99": round(hostile["p99"] / quiet["p99"], 2),
            }
        found.append(result)
    return found


def _latencies(
    notes: dict[str, np.ndarray], protocol: int, phase: Phase
) -> dict[str, float]:
    is_in = (notes["protocols"] == protocol) & (notes["starts"] >= phase.start)
    is_in &= notes["starts"] < phase.end
    if not is_in.any():
        raise rounds.BenchmarkError(f"no answer beside '{phase.kind}'")
    return server_process.percentiles(1000 * (notes["ends"] - notes["starts"])[is_in])


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {
        name: round(statistics.median(each[name] for each in found), 2)
        for name in found[0]
    }


def _measure(options: argparse.Namespace, folder: pathlib.Path) -> list[dict[str, Any]]:
    task = {"net": options.net, "num_classes": NUM_CLASSES, "kind": "png"}
    task |= {"images": IMAGES, "images_folder": str(folder / "images")}
    version = folder / "serving" / MODEL / "1"
    server_process.call_script("serving_model.py", task | {"folder": str(version)})
    server = server_process.Server(folder)
    try:
        with _good_client(options, folder, server) as notes:
            phases = []
            kinds = options.kind or list(hostile_requests.KINDS)
            for _, kind in itertools.product(range(options.rounds), kinds):
                phases.append(_phase(QUIET, options, server.rest))
                phases.append(_phase(kind, options, server.rest))
    finally:
        code = server.stop()
    if code or len(notes["failures"]):
        raise rounds.BenchmarkError(
            f"the server ended with {code}; failures of the good client:"
            f" {sorted(set(notes['failures'].tolist()))[:3]}"
        )
    return summarise(notes, phases)


@contextlib.contextmanager
def _good_client(
    options: argparse.Namespace, folder: pathlib.Path, server: server_process.Server
) -> Iterator[dict[str, np.ndarray]]:
    """What it noted, there at the end of the block; the block begins with it asking."""
    output, is_over = folder / "notes.npz", folder / "over"
    task = {"rest": server.rest, "grpc": server.grpc, "model": MODEL}
    task |= {"images": str(folder / "images"), "output": str(output)}
    task |= {"rest_clients": 1, "grpc_clients": 1, "pause_seconds": PAUSE_SECONDS}
    task |= {"seconds": math.inf, "until": str(is_over)}
    path = folder / "task.json"
    path.write_text(json.dumps(task))
    notes: dict[str, np.ndarray] = {}
    command = [sys.executable, str(server_process.BENCHMARKS / "load_clients.py")]
    with subprocess.Popen(
        [*command, str(path)],
        env=server_process.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        try:
            client.stdout.readline()  # it asks
            time.sleep(WARM_UP_SECONDS)
            yield notes
        finally:
            is_over.touch()
            _, stderr = client.communicate(timeout=server_process.WAIT_SECONDS)
    if client.returncode:
        tail = stderr.decode(errors="replace")[-2000:]
        raise rounds.BenchmarkError(f"the client ended badly:\n{tail}")
    with np.load(output) as found:
        notes.update(found)


def _phase(kind: str, options: argparse.Namespace, address: str) -> Phase:
    host, _, port = address.rpartition(":")
    is_over = threading.Event()
    counts = [0] * options.clients
    threads = []
    with contextlib.ExitStack() as stack:
        if kind != QUIET:
            _open_connections(stack, (host, int(port)))
            requests = hostile_requests.KINDS[kind](MODEL)
            for number in range(options.clients) if requests else ():
                # Each begins elsewhere in the list.
                first = number * len(requests) // options.clients
                turned = requests[first:] + requests[:first]
                arguments = (turned, (host, int(port)), 1 / options.rate, is_over)
                threads.append(
                    threading.Thread(target=_harm, args=(*arguments, counts, number))
                )
        for thread in threads:
            thread.start()
        start = time.time()
        time.sleep(options.seconds)
        end = time.time()
        is_over.set()
        for thread in threads:
            thread.join()
    time.sleep(SETTLE_SECONDS)
    return Phase(kind, start, end, sum(counts))


def _open_connections(stack: contextlib.ExitStack, address: tuple[str, int]) -> None:
    for _ in range(SILENT_CONNECTIONS):
        stack.enter_context(socket.create_connection(address))
    for _ in range(SLOW_CONNECTIONS):
        opened = stack.enter_context(socket.create_connection(address))
        opened.sendall(b"POST / HTTP/1.1\r\nHost: ")


def _harm(
    requests: Sequence[bytes],
    address: tuple[str, int],
    pause_seconds: float,
    is_over: threading.Event,
    counts: list[int],
    number: int,
) -> None:
    """Sends them again and again, and counts in `counts[number]`."""
    for request in itertools.cycle(requests):
        if is_over.wait(pause_seconds):
            return
        # The server may hang up before it has read all.
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, timeout=ANSWER_SECONDS) as opened,
        ):
            opened.sendall(request)
            while opened.recv(1 << 16):
                pass
        counts[number] += 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = list(hostile_requests.KINDS)
    parser.add_argument(
        "--kind", action="append", choices=kinds, help="may be repeated"
    )
    parser.add_argument("--net", default="resnet_20", help="of the registry")
    parser.add_argument("--seconds", type=float, default=15.0, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind")
    parser.add_argument("--clients", type=int, default=4, help="hostile ones")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="requests/s of a hostile client"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    return parser


if __name__ == "__main__":
    sys.exit(main())
