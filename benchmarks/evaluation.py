"""What an evaluation costs: seconds and processor seconds, each round in a fresh process.

It is the pass of ModelEvaluator with its figures, over a split that a run has left; with
another checkout both take turns.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import machine
import rounds

WORKER = machine.ROOT / "benchmarks" / "worker_evaluation.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 1 with a sentence where a round fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="folder of a SavedModel")
    parser.add_argument(
        "examples", type=pathlib.Path, help="folder of ImageExampleGen's output"
    )
    parser.add_argument(
        "--baseline", type=pathlib.Path, help="SavedModel to compare with"
    )
    parser.add_argument("--before", type=pathlib.Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args(arguments)
    header = machine.header("evaluation")
    checkouts = {"ours": machine.ROOT}
    if options.before:
        checkouts["before"] = options.before.resolve()
    given = [options.model, options.examples, *filter(None, [options.baseline])]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    try:
        for _ in range(options.rounds):
            for name, checkout in checkouts.items():
                found[name].append(
                    round_of(checkout, [path.resolve() for path in given])
                )
    except rounds.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    results = [result_of(name, of_name) for name, of_name in found.items()]
    for result in results:
        print(
            f"{result['contender']:<8} {result['seconds']:.1f} s,"
            f" {result['cpu_seconds']:.1f} s of processors,"
            f" {result['images']:,} images, top-1 {result['top_1']:.4f}"
        )
    if options.before:
        print(f"largest difference of a figure: {largest_difference(found):.1e}")
    machine.write(options.json, header, results)
    return 0


def round_of(checkout: pathlib.Path, paths: Sequence[pathlib.Path]) -> dict[str, Any]:
    """What `worker_evaluation` prints with the code of a checkout.

    Raises:
      BenchmarkError: it failed.
    """
    done = subprocess.run(
        [sys.executable, str(WORKER), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise rounds.BenchmarkError(f"{checkout}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def result_of(name: str, of_name: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians of the rounds, and the rounds without their figures."""
    measured = ("seconds", "cpu_seconds")
    return {
        "contender": name,
        "images": int(of_name[0]["metrics"]["example_count"]),
        "top_1": of_name[0]["metrics"]["top_1"],
        **{key: statistics.median(each[key] for each in of_name) for key in measured},
        "rounds": [{key: each[key] for key in measured} for each in of_name],
    }


def largest_difference(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """Between the metrics of all rounds."""
    metrics = [each["metrics"] for of_name in found.values() for each in of_name]
    return max(
        max(each[key] for each in metrics) - min(each[key] for each in metrics)
        for key in metrics[0]
    )


if __name__ == "__main__":
    sys.exit(main())
