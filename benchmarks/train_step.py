"""Training speed of ours, of Keras and of PyTorch: same net, batch and precision, in turn.

Prints the median speed of each contender and how many times faster ours is than each
peer's best mode; `--json` keeps every round. What is compared and why it is fair: README.md.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import machine
import rounds

from common.errors import ConfigError
from trainer import precision
from trainer.nets import geometry, registry
from trainer.nets.blocks import NetSpec

ROOT = pathlib.Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
OURS = "ours"
MODES = {
    "keras": ("default", "onednn", "xla"),
    "tf_keras": ("default", "onednn", "xla"),
    "torch": ("eager", "compiled"),
}
# Several times slower on processors: only when named.
RARE_MODES = {"xla"}
DEFAULT_NETS = ("resnet_20", "resnet_50", "inception_v2")
BATCH_SIZES = {"resnet_20": 128}
OTHER_BATCH_SIZE = 16
# A rate too small to overflow on a batch of noise; speed does not depend on it.
LEARNING_RATE = 0.001
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
EMA_DECAY = 0.995


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where it cannot."""
    options = _parser().parse_args(arguments)
    try:
        nets = [registry.find(net) for net in options.net or DEFAULT_NETS]
        header = machine.header("train_step")
        results: list[dict[str, Any]] = []
        tasks = [_task(spec, options) for spec in nets]
        modes = [
            choose_modes(options.peers.split(","), task["precision"]) for task in tasks
        ]
        for task, its_modes in zip(tasks, modes, strict=True):
            results.append(_measure(task, its_modes, options))
            machine.write(options.json, header, results)
    except (rounds.BenchmarkError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def choose_modes(peers: Sequence[str], precision: str) -> list[tuple[str, str]]:
    """(peer, mode) of all that `--peers` asks for.

    Args:
      peers: 'keras' for all modes of a peer, or 'keras:onednn' for one; '' for none.
      precision: 'bfloat16' or 'float32'.

    Raises:
      BenchmarkError: a peer or mode is unknown, or PyTorch is not installed.
    """
    chosen: list[tuple[str, str]] = []
    for wanted in filter(None, peers):
        peer, _, mode = wanted.partition(":")
        if peer not in MODES or (mode and mode not in MODES[peer]):
            known = ", ".join(
                f"{name} ({', '.join(modes)})" for name, modes in MODES.items()
            )
            raise rounds.BenchmarkError(
                f"there is no peer '{wanted}'; there are {known}"
            )
        wanted_modes = [mode] if mode else MODES[peer]
        chosen += [
            (peer, each) for each in wanted_modes if mode or each not in RARE_MODES
        ]
    if precision == "float32":
        # Without bfloat16 it is the same as the default.
        chosen = [each for each in chosen if each[1] != "onednn"]
    if any(peer == "torch" for peer, _ in chosen) and not PEERS_PYTHON.exists():
        raise rounds.BenchmarkError(
            f"PyTorch is not installed in {PEERS_PYTHON.parents[1].name};"
            " `make bench-peers` installs it"
        )
    if ("torch", "compiled") in chosen and not _has_compiler():
        print("torch.compile needs a C++ compiler (g++), which is missing: eager only")
        chosen.remove(("torch", "compiled"))
    return chosen


def make_task(
    spec: NetSpec, *, precision: str, batch_size: int = 0, image_size_px: int = 0
) -> dict[str, Any]:
    """What every worker builds; the moving average is kept by ours alone.

    Args:
      spec: the net.
      precision: 'bfloat16' or 'float32'.
      batch_size: images a step; 0 for the usual.
      image_size_px: 0 for the net's own.
    """
    return {
        "net": spec.name,
        "batch_size": batch_size or BATCH_SIZES.get(spec.name, OTHER_BATCH_SIZE),
        "image_size_px": image_size_px or spec.image_size_px,
        "num_classes": spec.num_classes,
        "precision": precision,
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "weight_decay": WEIGHT_DECAY,
        "ema_decay": EMA_DECAY,
    }


def print_result(result: dict[str, Any]) -> None:
    """Speeds and ratios of one net."""
    for name, summary in result["contenders"].items():
        print(
            f"{name}: {summary['images_per_second']:.1f} images/s (median;"
            f" {summary['lowest']:.1f} to {summary['highest']:.1f})"
        )
    for peer, ratio in result["ratios"].items():
        best = f" (best: {ratio['best']})" if ratio["best"] else ""
        print(f"ratio to {peer}{best}: {ratio['ratio']:.2f}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--net", action="append", help="may be repeated; " + ", ".join(DEFAULT_NETS)
    )
    parser.add_argument(
        "--peers", default="keras", help="comma-separated: keras, tf_keras, torch"
    )
    parser.add_argument(
        "--before", type=pathlib.Path, help="another checkout, to compare ours with"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender")
    parser.add_argument("--steps", type=int, default=0, help="of a round; 0: about 6 s")
    parser.add_argument("--batch", type=int, default=0, help="images a step")
    parser.add_argument(
        "--precision",
        choices=["auto", "bfloat16", "float32"],
        default="auto",
        help="auto: what train.precision=auto takes on this machine",
    )
    parser.add_argument("--image-size", type=int, default=0, help="px; 0: the net's")
    return parser


def _task(spec: NetSpec, options: argparse.Namespace) -> dict[str, Any]:
    chosen, reason = precision.resolve(
        options.precision, depthwise_share=geometry.depthwise_share(spec)
    )
    task = make_task(
        spec,
        precision=chosen,
        batch_size=options.batch,
        image_size_px=options.image_size,
    )
    return task | {"precision_reason": reason}


def _measure(
    task: dict[str, Any], modes: Sequence[tuple[str, str]], options: argparse.Namespace
) -> dict[str, Any]:
    print(
        f"{task['net']}, {task['image_size_px']} px, batch {task['batch_size']},"
        f" {task['precision']}: {task['precision_reason']}",
        flush=True,
    )
    contenders = [_contender(OURS, "", task)]
    if options.before:
        environment = {"PYTHONPATH": str(options.before.resolve())}
        contenders.append(
            dataclasses.replace(contenders[0], name="before", environment=environment)
        )
    contenders += [_contender(peer, mode, task) for peer, mode in modes]
    summaries = rounds.compete(
        contenders,
        rounds=options.rounds,
        batch_size=task["batch_size"],
        steps=options.steps,
    )
    counts = {name: summary["parameters"] for name, summary in summaries.items()}
    if len(set(counts.values())) > 1:
        raise rounds.BenchmarkError(f"the nets differ in their parameters: {counts}")
    result = task | {
        "contenders": summaries,
        "ratios": rounds.ratios(summaries, OURS),
    }
    print_result(result)
    return result


def _contender(peer: str, mode: str, task: dict[str, Any]) -> rounds.Contender:
    script = "keras" if peer == "tf_keras" else peer
    python = str(PEERS_PYTHON) if peer == "torch" else sys.executable
    return rounds.Contender(
        name=f"{peer}:{mode}" if mode else peer,
        command=[python, str(BENCHMARKS / f"worker_{script}.py")],
        task=task | {"library": peer, "mode": mode},
    )


def _has_compiler() -> bool:
    return bool(shutil.which(os.environ.get("CXX", "g++")))


if __name__ == "__main__":
    sys.exit(main())
