"""The local server under load while its versions are pushed, promoted and rolled back.

Clients of a second process ask by REST and by gRPC, without a pause. Meanwhile versions with
different weights are pushed, rolled back and promoted. Checked afterwards: no request
failed, each answer is the one that the version it names gives offline, and no client saw a
version come back that nobody asked for. Ends with 1 where that does not hold.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import machine
import numpy as np
import rounds
import server_process

MODEL = "net"
IMAGES = 64
NUM_CLASSES = 10
# Weights that are pushed in turn.
CONTENTS = 3
TOLERANCE = 1e-5
PROTOCOLS = {"REST": 0, "gRPC": 1}


class Operations:
    """What was asked of the versions, and when.

    Attributes:
      made: (time, action, version that is live from then on).
      contents: version -> which weights it has.
    """

    def __init__(self, root: pathlib.Path, sources: Sequence[pathlib.Path]):
        """Takes the root of the served models and the SavedModels that are pushed."""
        self.made: list[tuple[float, str, int]] = []
        self.contents: dict[int, int] = {}
        self._root = root
        self._sources = sources

    def push(self) -> None:
        """The next weights become a version."""
        from components.model_pusher import publishing
        from pushed_models import versions

        content = len(self.contents) % len(self._sources)
        folder = self._root / versions.SERVING_FOLDER / MODEL
        before = time.time()
        version = publishing.publish(self._sources[content], folder)
        self.contents[version] = content
        self.made.append((before, "push", version))

    def change(self, action: str) -> None:
        """'promote' (the newest) or 'rollback', as `slimline models` does."""
        from pushed_models import models

        before = time.time()
        change = getattr(models.find(self._root, MODEL), action)(reason="load test")
        self.made.append((before, action, change.version))

    def make(self, number: int) -> None:
        """The operation of that number: push, go back, come again."""
        match number % 3:
            case 0:
                self.push()
            case 1:
                self.change("rollback")
            case 2:
                self.change("promote")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, checks and writes."""
    options = _parser().parse_args(arguments)
    header = machine.header("serving_load")
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = _measure(options, pathlib.Path(folder))
    except rounds.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine.write(options.json, header, [result])
    for name, value in result.items():
        print(f"{name}: {json.dumps(value)}")
    return 0 if is_flawless(result) else 1


def is_flawless(result: dict[str, Any]) -> bool:
    """No failure, no wrong answer, no version that came back unasked."""
    return not (result["failed"] or result["wrong"] or result["backwards"])


def count_wrong(
    notes: dict[str, np.ndarray], answers: np.ndarray, contents: dict[int, int]
) -> int:
    """Answers that are not those of the version they name.

    Args:
      notes: of the clients.
      answers: float32 [contents, images, num_classes], computed offline.
      contents: version -> which weights it has.
    """
    weights = np.array([contents.get(int(v), -1) for v in notes["versions"]], int)
    right = answers[weights, notes["images"]]
    differences = np.abs(right - notes["probabilities"]).max(axis=1)
    return int(np.sum((weights < 0) | (differences > TOLERANCE)))


def count_backwards(
    notes: dict[str, np.ndarray], live: Sequence[tuple[float, int]]
) -> int:
    """Answers by a version that was not live, or not any more for that client.

    Each client must see the versions in the order in which they were asked for; it may
    miss some.

    Args:
      notes: of the clients.
      live: (time, version), as they were made live.
    """
    count = 0
    for protocol in np.unique(notes["protocols"]):
        for client in np.unique(notes["clients"][notes["protocols"] == protocol]):
            mine = (notes["protocols"] == protocol) & (notes["clients"] == client)
            place = 0
            order = np.argsort(notes["starts"][mine])
            pairs = zip(
                notes["versions"][mine][order], notes["ends"][mine][order], strict=True
            )
            for version, end in pairs:
                later = [
                    number
                    for number in range(place, len(live))
                    if live[number][1] == version and live[number][0] <= end
                ]
                if later:
                    place = later[0]
                else:
                    count += 1
    return count


def count_changes(notes: dict[str, np.ndarray]) -> int:
    """How often another version answered, for the client that saw it least often."""
    counts = []
    for protocol in np.unique(notes["protocols"]):
        for client in np.unique(notes["clients"][notes["protocols"] == protocol]):
            mine = (notes["protocols"] == protocol) & (notes["clients"] == client)
            versions = notes["versions"][mine][np.argsort(notes["starts"][mine])]
            counts.append(int(np.count_nonzero(np.diff(versions))))
    return min(counts, default=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="resnet_20", help="of the registry")
    parser.add_argument("--seconds", type=float, default=60.0, help="under load")
    parser.add_argument("--operations", type=int, default=30, help="in that time")
    parser.add_argument("--rest-clients", type=int, default=8)
    parser.add_argument("--grpc-clients", type=int, default=8)
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    return parser


def _measure(options: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    sources = [folder / "sources" / str(number) for number in range(CONTENTS)]
    for number, source in enumerate(sources):
        # The images are the same each time.
        images_folder = folder / "images" / str(number)
        images_folder.parent.mkdir(exist_ok=True)
        task = {"net": options.net, "num_classes": NUM_CLASSES, "kind": "png"}
        task |= {"folder": str(source), "seed": number, "images": IMAGES}
        server_process.call_script(
            "serving_model.py", task | {"images_folder": str(images_folder)}
        )
    images = [file.read_bytes() for file in sorted(images_folder.iterdir())]
    operations = Operations(folder, sources)
    operations.push()
    operations.change("promote")  # pins the model to versions
    server = server_process.Server(folder)
    try:
        notes = _under_load(options, folder, server, operations)
    finally:
        code = server.stop()
    answers = np.stack([_answers(source, images) for source in sources])
    latencies = 1000 * (notes["ends"] - notes["starts"])
    live = [(at, version) for at, _, version in operations.made]
    is_slow = _while_changing(notes, [at for at, _, _ in operations.made[2:]])
    return {
        "net": options.net,
        "seconds": options.seconds,
        "clients": {"REST": options.rest_clients, "gRPC": options.grpc_clients},
        "operations": len(operations.made) - 2,
        "versions_seen": len(np.unique(notes["versions"])),
        "changes_seen_by_a_client": count_changes(notes),
        "answered": len(notes["versions"]),
        "failed": len(notes["failures"]),
        "failures": sorted(set(notes["failures"].tolist()))[:5],
        "wrong": count_wrong(notes, answers, operations.contents),
        "backwards": count_backwards(notes, live),
        "answers_per_second": len(notes["versions"]) / options.seconds,
        "latency_ms": {
            name: server_process.percentiles(latencies[notes["protocols"] == number])
            for name, number in PROTOCOLS.items()
        },
        "latency_ms_while_changing": server_process.percentiles(latencies[is_slow]),
        "latency_ms_between": server_process.percentiles(latencies[~is_slow]),
        "server_exit_code": code,
    }


def _under_load(
    options: argparse.Namespace,
    folder: pathlib.Path,
    server: server_process.Server,
    operations: Operations,
) -> dict[str, np.ndarray]:
    task = folder / "task.json"
    output = folder / "notes.npz"
    task.write_text(
        json.dumps(
            {
                "rest": server.rest,
                "grpc": server.grpc,
                "model": MODEL,
                "images": str(folder / "images" / "0"),
                "seconds": options.seconds,
                "rest_clients": options.rest_clients,
                "grpc_clients": options.grpc_clients,
                "output": str(output),
            }
        )
    )
    command = [
        sys.executable,
        str(server_process.BENCHMARKS / "load_clients.py"),
        str(task),
    ]
    with subprocess.Popen(
        command,
        env=server_process.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as clients:
        start = time.monotonic()
        for number in range(options.operations):
            due = start + (number + 0.5) * options.seconds / options.operations
            time.sleep(max(0.0, due - time.monotonic()))
            operations.make(number)
        _, stderr = clients.communicate(
            timeout=options.seconds + server_process.WAIT_SECONDS
        )
    if clients.returncode:
        tail = stderr.decode(errors="replace")[-2000:]
        raise rounds.BenchmarkError(f"the clients ended badly:\n{tail}")
    with np.load(output) as notes:
        return dict(notes)


def _answers(source: pathlib.Path, images: list[bytes]) -> np.ndarray:
    """float32 [images, num_classes], of a SavedModel asked without any server."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from pushed_models import signatures

    loaded = tf.saved_model.load(str(source))
    ask = loaded.signatures[signatures.PREDICT_IMAGES]
    return ask(images=tf.constant(images))[signatures.PROBABILITIES].numpy()


def _while_changing(
    notes: dict[str, np.ndarray], times: Sequence[float], seconds: float = 1.5
) -> np.ndarray:
    """bool [answers]: begun within `seconds` after a change of the versions."""
    since = notes["starts"][:, None] - np.asarray(times)[None, :]
    return ((since >= 0) & (since < seconds)).any(axis=1)


if __name__ == "__main__":
    sys.exit(main())
