"""What the input side costs: training on real input against one batch in memory, in turn.

Prints, for each way of reading, the share of the fixed batch's speed that is left; `--json`
keeps every round. The images are made up unless `--data` names a folder of Examples.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import machine
import rounds

from pipeline import experiments

BENCHMARKS = pathlib.Path(__file__).parent
FIXED = "fixed"
PATTERN = "data_tfrecord-*.gz"
# Batches that are read ahead; a round begins when those of the pause are used up.
LEAD_STEPS = 8
# After a round the readers fill their buffers; nobody is timed meanwhile.
SETTLE_SECONDS = 2.0
LEARNING_RATE = 0.001


@dataclasses.dataclass(frozen=True)
class Case:
    """A net with images as its experiment gets them.

    Attributes:
      experiment: whose preprocessing, augmentation and training are taken.
      sources: how images are read: 'memory', 'files' (decoded again in each epoch).
      images: how many are made up; an epoch must be some ten steps or more.
      height_px, width_px, kind: of the images made up.
      num_classes: width of the logits.
    """

    experiment: str
    sources: tuple[str, ...]
    images: int
    height_px: int
    width_px: int
    kind: str
    num_classes: int


CASES = {
    "resnet_20": Case("cifar10_resnet_20", ("memory",), 10_240, 32, 32, "png", 10),
    "hw_net": Case("custom_hw_net", ("memory", "files"), 2_560, 200, 300, "jpeg", 65),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where it cannot."""
    options = _parser().parse_args(arguments)
    results: list[dict[str, Any]] = []
    header = machine.header("input_pipeline")
    try:
        for net in options.net or CASES:
            with tempfile.TemporaryDirectory() as folder:
                results.append(_measure(net, options, pathlib.Path(folder)))
            machine.write(options.json, header, results)
    except rounds.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def shares(summaries: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Source -> its median speed over that of the fixed batch."""
    fixed = summaries[FIXED]["images_per_second"]
    return {
        name: summary["images_per_second"] / fixed
        for name, summary in summaries.items()
        if name != FIXED
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--net", action="append", choices=list(CASES), help="may be repeated"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        help="folder with the TFRecord files of a split, as a run's Split-train",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each contender")
    parser.add_argument(
        "--steps", type=int, default=0, help="of a round; 0: whole epochs, about 6 s"
    )
    parser.add_argument("--batch", type=int, default=0, help="0: the experiment's")
    parser.add_argument(
        "--precision", choices=["bfloat16", "float32"], default="bfloat16"
    )
    return parser


def _measure(
    net: str, options: argparse.Namespace, folder: pathlib.Path
) -> dict[str, Any]:
    case = CASES[net]
    config = experiments.find(case.experiment).trainer
    examples = options.data or folder / "examples"
    task = {
        "experiment": case.experiment,
        "batch_size": options.batch or config.train.batch_size,
        "num_classes": case.num_classes,
        "precision": options.precision,
        "learning_rate": LEARNING_RATE,
        "pattern": str(examples / PATTERN),
        "folder": str(folder),
    }
    _prepare(case, task, is_made_up=not options.data)
    batch_size = task["batch_size"]
    print(
        f"{net}, {config.image_size_px} px, batch {batch_size}, {options.precision}",
        flush=True,
    )
    summaries = rounds.compete(
        [
            rounds.Contender(
                name=source,
                command=[sys.executable, str(BENCHMARKS / "worker_input.py")],
                task=task | {"source": source},
            )
            for source in (FIXED, *case.sources)
        ],
        rounds=options.rounds,
        batch_size=batch_size,
        steps=options.steps,
        whole_epochs=True,
        lead_steps=LEAD_STEPS,
        settle_seconds=SETTLE_SECONDS,
    )
    found = shares(summaries)
    for source, share in found.items():
        print(f"{net}, {source}: share of fixed batch: {share:.2f}", flush=True)
    return {
        "net": net,
        "image_size_px": config.image_size_px,
        "batch_size": batch_size,
        "precision": options.precision,
        "data": options.data.name if options.data else "made up",
        "contenders": summaries,
        "shares": found,
    }


def _prepare(case: Case, task: dict[str, Any], *, is_made_up: bool) -> None:
    """Writes the Transform output and, if they are made up, the Examples.

    Raises:
      BenchmarkError: there are no Examples, or they could not be prepared.
    """
    made_up = {}
    if is_made_up:
        made_up = {
            "count": case.images,
            "height_px": case.height_px,
            "width_px": case.width_px,
            "kind": case.kind,
            "num_classes": case.num_classes,
        }
    elif not any(pathlib.Path(task["pattern"]).parent.glob(PATTERN)):
        raise rounds.BenchmarkError(f"there are no files {task['pattern']}")
    script = [sys.executable, str(BENCHMARKS / "synthetic.py")]
    done = subprocess.run(
        [*script, json.dumps(task | {"made_up": made_up})],
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-rounds.STDERR_LINES :])
        raise rounds.BenchmarkError(f"the images could not be prepared:\n{tail}")


if __name__ == "__main__":
    sys.exit(main())
