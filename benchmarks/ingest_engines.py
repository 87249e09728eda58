"""How long ImageExampleGen takes by each engine, on the same images, in turn.

    python benchmarks/ingest_engines.py --data cifar-10-binary.tar.xz --rounds 3

Each round is a process of its own that runs the component's `Do`. The processes of the
engine start before the clock does, as they do in a run, where TensorFlow loads meanwhile;
how long that took is told apart. The Examples of all engines must be the same.
"""

import argparse
import hashlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import machine

LOCAL = "local"
DEFAULT_ENGINES = (LOCAL, "multiprocess")
CIFAR10 = pathlib.Path("cifar10") / "cifar-10-binary.tar.xz"
STDERR_LINES = 15


class BenchmarkError(Exception):
    """Why the benchmark cannot go on, in a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where it cannot."""
    options = _parser().parse_args(arguments)
    if options.worker:
        print(json.dumps(_measure(options.worker, options.workers, options.data)))
        return 0
    try:
        data = _data(options.data)
        header = machine.header("ingest_engines")
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in options.engines}
        for number in range(1, options.rounds + 1):
            for name in options.engines:
                found = _in_process(name, options.workers, data)
                rounds[name].append(found)
                print(
                    f"round {number}, {name}: {found['seconds']:.1f} s,"
                    f" {found['images_per_second']:,.0f} images/s"
                    f" (processes started in {found['start_seconds']:.1f} s,"
                    f" {found['cpu_seconds']:.1f} s of processor in all)",
                    flush=True,
                )
        results = summarise(rounds)
        for name, ratio in results["ratios"].items():
            print(f"{name}: {ratio:.2f} times as fast as {LOCAL}")
        results |= {"data": data.name, "workers": options.workers}
        machine.write(options.json, header, [results])
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def summarise(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Medians, and how many times faster than local each engine is.

    Args:
      rounds: engine -> what was measured, one a round.

    Raises:
      BenchmarkError: engines wrote different Examples.
    """
    digests = {found["digest"] for each in rounds.values() for found in each}
    if len(digests) > 1:
        raise BenchmarkError("the engines wrote different Examples")
    medians = {
        name: statistics.median(found["seconds"] for found in each)
        for name, each in rounds.items()
    }
    ratios = {
        name: medians[LOCAL] / seconds
        for name, seconds in medians.items()
        if LOCAL in medians and name != LOCAL
    }
    return {"seconds": medians, "ratios": ratios, "rounds": dict(rounds)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        help=f"archive or folder; by default {CIFAR10} in SLIMLINE_TEST_DATA",
    )
    parser.add_argument(
        "--engines",
        type=lambda text: text.split(","),
        default=list(DEFAULT_ENGINES),
        help="joined by commas",
    )
    parser.add_argument("--workers", type=int, default=0, help="0: one per processor")
    parser.add_argument("--rounds", type=int, default=3, help="of each engine")
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def _data(given: pathlib.Path | None) -> pathlib.Path:
    folder = os.environ.get("SLIMLINE_TEST_DATA", "")
    data = given or (pathlib.Path(folder) / CIFAR10 if folder else None)
    if data is None or not data.exists():
        raise BenchmarkError(
            f"no data at {data}" if data else "--data or SLIMLINE_TEST_DATA names none"
        )
    return data.resolve()


def _in_process(engine: str, workers: int, data: pathlib.Path) -> dict[str, Any]:
    """One round, measured in a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            f"--worker={engine}",
            f"--workers={workers}",
            f"--data={data}",
        ],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-STDERR_LINES:])
        raise BenchmarkError(f"{engine} failed:\n{tail}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(engine: str, workers: int, data: pathlib.Path) -> dict[str, Any]:
    from tfx.dsl.components.base import base_beam_executor
    from tfx.types import standard_artifacts

    from components.image_example_gen import component, contracts, reports
    from pipeline.beam import engines
    from pipeline.config import EngineConfig

    names = _class_names(data)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        contract = standard_artifacts.Schema()
        contract.uri = str(folder / "contract")
        _write_contract(folder / "contract", names, contracts)
        examples = standard_artifacts.Examples()
        examples.uri = str(folder / "examples")
        config = EngineConfig(
            name=engine,  # type: ignore[arg-type]
            workers=workers if "workers" in engines.ENGINES[engine].flags else 0,
        )
        start = time.monotonic()
        with engines.started(config):
            _await_processes(config)
            ready = time.monotonic()
            context = base_beam_executor.BaseBeamExecutor.Context(
                beam_pipeline_args=engines.arguments(config)
            )
            component.ImageExampleGen_Executor(context).Do(
                {"contract": [contract]},
                {"examples": [examples]},
                {
                    "input_path": str(data),
                    "input_format": "auto",
                    "input_fingerprint": "",
                    "eval_fraction": 0.1,
                    "test_fraction": 0.15,
                    "max_unreadable_share": 0.01,
                    "channels": 3,
                    "output_shards": 0,
                    "source_fingerprint": "",
                },
            )
            seconds = time.monotonic() - ready
        images = sum(reports.read_summary(examples.uri)["images"].values())
        used = [
            resource.getrusage(who)
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return {
            "engine": engine,
            "images": images,
            "seconds": seconds,
            "images_per_second": images / seconds,
            "start_seconds": ready - start,
            "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in used),
            "digest": _digest(pathlib.Path(examples.uri)),
        }


def _await_processes(config: Any) -> None:
    """Until the engine has imported what it needs: a job of nothing."""
    import apache_beam as beam
    from apache_beam.options import pipeline_options

    from pipeline.beam import engines

    if config.name == LOCAL:
        return
    arguments = engines.arguments(config)
    with beam.Pipeline(options=pipeline_options.PipelineOptions(arguments)) as pipeline:
        _ = pipeline | beam.Create([0]) | beam.Reshuffle() | beam.Map(abs)


def _class_names(data: pathlib.Path) -> tuple[str, ...]:
    from components.image_example_gen import layouts
    from components.image_example_gen.layouts import cifar

    layout = layouts.plan(str(data)).layout
    if layout.format.startswith("cifar10_"):
        return tuple(cifar.class_names("cifar10"))
    raise BenchmarkError(f"{data} is no CIFAR-10 but {layout.format}")


def _write_contract(
    folder: pathlib.Path, names: tuple[str, ...], contracts: Any
) -> None:
    from schema import contract

    made = contracts.write_contract(
        names, formats=("png",), height_px=(32, 32), width_px=(32, 32)
    )
    contract.save(made, folder)


def _digest(folder: pathlib.Path) -> str:
    """Of all Examples: equal where the files are."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("Split-*/*")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
