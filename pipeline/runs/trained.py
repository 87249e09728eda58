"""A training in words: what it started from, what was trained, and how well."""

from collections.abc import Mapping
from typing import Any

_DIGEST_CHARACTERS = 12


def in_short(result: Mapping[str, Any]) -> str:
    """How a training went.

    Args:
      result: `trainer.history.RESULT_FILE`.
    """
    views = result.get("test_time_views", "none")
    if views == "none":
        return _trained(result)
    return f"{_trained(result)}; served with test-time views ({views})"


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
    if head_top_1 is None:
        return text
    return f"{text}; class layer alone {head_top_1:.4f}"


def start_in_words(start: Mapping[str, Any]) -> str:
    """Published weights by name, hash and licence.

    Args:
      start: a `trainer.weights.store.Manifest`.
    """
    return (
        f"{start['name']} ({start['source']}, licence {start['licence']}, SHA-256"
        f" {start['sha256'][:_DIGEST_CHARACTERS]}…)"
    )
