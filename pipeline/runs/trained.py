"""A training in words."""

from collections.abc import Mapping
from typing import Any

_DIGEST_CHARACTERS = 12


def in_short(result: Mapping[str, Any]) -> str:
    """Steps and eval top-1 of a training.

    Args:
      result: `trainer.history.RESULT_FILE`.
    """
    best, head_top_1 = result["best"], result.get("head_top_1")
    figure = f"eval top-1 {best['top_1']:.4f}"
    if result["steps"]:
        resumed = result.get("resumed_at")
        resumed_at = f" resumed at {resumed:,}," if resumed else ""
        text = (
            f"{result['steps']:,} steps,{resumed_at} best at {best['step']:,}: {figure}"
            f" ({best['weights']} weights)"
        )
        if head_top_1 is not None:
            text += f"; class layer alone {head_top_1:.4f}"
    else:
        text = f"class layer fitted on features of the frozen {result['net']}: {figure}"
    views = result.get("test_time_views", "none")
    return text if views == "none" else f"{text}; served with test-time views ({views})"


def start_in_words(start: Mapping[str, Any]) -> str:
    """Published weights by name, hash and licence.

    Args:
      start: a `trainer.weights.store.Manifest`.
    """
    return (
        f"{start['name']} ({start['source']}, licence {start['licence']}, SHA-256"
        f" {start['sha256'][:_DIGEST_CHARACTERS]}…)"
    )
