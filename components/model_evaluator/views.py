"""The figures without test-time views, in words."""

from collections.abc import Mapping
from typing import Any


def in_words(found: Mapping[str, Any] | None) -> str:
    """'top-1 0.9312 without its test-time views (mirror), +0.0043 with them', or ''.

    Args:
      found: `test_time_views` as `verdict.measure` gives them.
    """
    if not found or not found["metrics"]:
        return ""
    top_1 = found["differences"]["top_1"]
    return (
        f"top-1 {found['metrics']['top_1']:.4f} without its test-time views"
        f" ({found['views']}), {top_1['difference']:+.4f} with them (95 % interval"
        f" {top_1['low']:+.4f} to {top_1['high']:+.4f})"
    )
