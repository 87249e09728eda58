"""Settings and progress line of the training, and the training in words."""

from collections.abc import Mapping
from typing import Any

from common import run_files
from components.nodes import Node, Outcome, Outputs, read_json

_DIGEST_CHARACTERS = 12


def read(outputs: Outputs) -> dict[str, Any]:
    """Result of the training, as the Trainer wrote it."""
    return read_json(outputs, "model_run", run_files.TRAINING_FILE)


def describe(outputs: Outputs) -> Outcome:
    """See `in_short`; with the warnings of the training."""
    result = read(outputs)
    warnings = result.get("findings", ())
    return Outcome("; ".join([in_short(result), *warnings]), is_good=not warnings)


def in_short(result: Mapping[str, Any]) -> str:
    """How a training went.

    Args:
      result: content of `run_files.TRAINING_FILE`.
    """
    views = result.get("test_time_views", "none")
    if views == "none":
        return _trained(result)
    return f"{_trained(result)}; served with test-time views ({views})"


def start_in_words(start: Mapping[str, Any]) -> str:
    """Published weights by name, hash and licence.

    Args:
      start: a `trainer.weights.store.Manifest`.
    """
    return (
        f"{start['name']} ({start['source']}, licence {start['licence']}, SHA-256"
        f" {start['sha256'][:_DIGEST_CHARACTERS]}…)"
    )


def _trained(result: Mapping[str, Any]) -> str:
    best, head_top_1 = result["best"], result.get("head_top_1")
    figure = f"eval top-1 {best['top_1']:.4f}"
    if not result["steps"]:
        return f"class layer fitted on features of the frozen {result['net']}: {figure}"
    resumed = (
        f" resumed at {result['resumed_at']:,}," if result.get("resumed_at") else ""
    )
    text = (
        f"{result['steps']:,} steps,{resumed} best at {best['step']:,}: {figure}"
        f" ({best['weights']} weights)"
    )
    return text if head_top_1 is None else f"{text}; class layer alone {head_top_1:.4f}"


NODE = Node(("preprocessing", "model", "augmentation", "train", "schedule"), describe)
