"""The reports of an ingest: its summary, and the images that it left out."""

import dataclasses
import json
import posixpath
from collections.abc import Iterable
from typing import Any

from tfx.utils import io_utils

from components.image_example_gen import records, splits, windows
from components.image_example_gen.index import Index
from pushed_models.split_rule import SplitRule

SUMMARY_FILE = "summary.json"
QUARANTINE_FILE = "quarantine.jsonl"


def summarise(
    plan: windows.Images,
    index: Index,
    rule: splits.Assignment,
    labels: tuple[str, ...],
) -> dict[str, Any]:
    """Summary of an ingest as it is written to JSON.

    Args:
      plan: the source. index: all that was found in it.
      rule: who goes where.
      labels: classes of the contract.
    """
    return {
        "format": plan.layout.format,
        "images": {
            split: sum(counts.values()) for split, counts in rule.images.items()
        },
        "images_per_class": rule.images,
        # Split -> classes without an image there, to which ExampleValidator objects.
        "missing_classes": {
            split: missing
            for split, counts in rule.images.items()
            if (missing := [label for label in labels if label not in counts])
        },
        "few_groups": rule.few_groups,
        "split_rule": dataclasses.asdict(
            SplitRule(rule.cut.test_fraction, rule.cut.seed, plan.grouping.text)
        ),
        "unreadable": len(index.unreadable),
        "ignored": index.ignored,
        "ignored_images": index.ignored_images,
        "duplicates_dropped": rule.duplicates_dropped,
        "duplicates_kept": rule.duplicates_kept,
        "label_conflicts": rule.label_conflicts,
    }


def write_summary(uri: str, summary: dict[str, Any]) -> None:
    """Writes `summary.json` into the folder `uri`."""
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    io_utils.write_string_file(posixpath.join(uri, SUMMARY_FILE), text)


def read_summary(uri: str) -> dict[str, Any]:
    """The summary in the folder `uri`."""
    return json.loads(io_utils.read_string_file(posixpath.join(uri, SUMMARY_FILE)))


def write_quarantine(uri: str, unreadable: Iterable[records.Unreadable]) -> None:
    """Writes `quarantine.jsonl` into the folder `uri`: a line per image, with reason."""
    lines = [
        json.dumps({"key": key, "reason": reason}, ensure_ascii=False) + "\n"
        for key, reason in unreadable
    ]
    io_utils.write_string_file(posixpath.join(uri, QUARANTINE_FILE), "".join(lines))
