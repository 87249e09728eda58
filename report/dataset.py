"""Contents of the section about the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.image_example_gen import reports
from report import run_data, wording
from report.run_data import RunData
from schema import features

MAX_EXAMPLES = 24
EXAMPLES_PER_CLASS = 2
MAX_LISTED = 40
MAX_OF_A_GROUP = 6


def dataset(data: RunData, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts, example images, images left out, and findings.

    Args:
      data: of the run.
      examples: images to show, as `src`, `key` and `text`.
    """
    per_class: Mapping[str, Mapping[str, int]] = data.summary["images_per_class"]
    splits = list(data.summary["images"])
    names = list(data.labels)
    names += sorted({name for row in per_class.values() for name in row} - set(names))
    counts = [[per_class[split].get(name, 0) for split in splits] for name in names]
    sums = [sum(row) for row in counts]
    filled = [(total, name) for total, name in zip(sums, names, strict=True) if total]
    uri = data.uri("ingest", "examples")
    return {
        "splits": splits,
        "totals": [data.summary["images"][split] for split in splits],
        "rows": list(zip(names, counts, sums, strict=True)),
        "most": max(sums, default=0),
        "balance": max(filled)[0] / min(filled)[0] if filled else None,
        "largest": max(filled)[1] if filled else "",
        "smallest": min(filled)[1] if filled else "",
        "examples": examples,
        "facts": _ingest_facts(data),
        "missing_classes": (data.ingest or {}).get("missing_classes") or {},
        "quarantine": data.quarantine[:MAX_LISTED],
        "quarantine_count": max(len(data.quarantine), data.summary["unreadable"]),
        "quarantine_file": str(uri / reports.QUARANTINE_FILE) if uri else "",
        "anomalies": data.anomalies,
        "findings": _findings(data.data_check) if data.data_check else None,
        "missing": data.without(
            run_data.INGEST,
            run_data.QUARANTINE,
            run_data.ANOMALIES,
            f"{run_data.EXAMPLES} {features.TRAIN}",
        ),
    }


def _ingest_facts(data: RunData) -> list[tuple[str, str]]:
    if not data.ingest:
        return []
    counts = {
        "unreadable, in quarantine": "unreadable",
        "duplicates dropped": "duplicates_dropped",
        "duplicates kept": "duplicates_kept",
        "same image, several classes": "label_conflicts",
        "files ignored": "ignored",
        "of these named as images": "ignored_images",
    }
    return [
        ("layout", wording.visible(data.ingest.get("format", wording.NOTHING))),
        *(
            (title, wording.count(data.ingest.get(key)))
            for title, key in counts.items()
        ),
    ]


def _findings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of a data check: number of findings by kind, and the first of each in words."""
    kinds: list[tuple[str, int | None, list[str]]] = []
    unreadable = [_joined(row) for row in found.get("unreadable") or ()]
    kinds.append(("unreadable", len(unreadable), unreadable))
    for title in ("exact duplicates", "near-duplicates"):
        groups = found.get(title.replace(" ", "_").replace("-", "_"))
        told = [_group(group) for group in groups or ()]
        kinds.append((title, None if groups is None else len(groups), told))
    for kind, odd in (found.get("odd_images") or {}).items():
        told = [f"{each['image']['key']}, score {each['score']:.2f}" for each in odd]
        kinds.append((kind.replace("_", " "), len(odd), told))
    doubts = found.get("wrong_labels")
    told = [
        f"{each['key']}: {each['given']}, rather {each['suggested']}"
        f" (probability of its class {each['score']:.2f})"
        for each in doubts or ()
    ]
    kinds.append(("doubtful labels", None if doubts is None else len(doubts), told))
    return {
        "kinds": [
            (title, total, told[:MAX_LISTED], max(0, len(told) - MAX_LISTED))
            for title, total, told in kinds
        ],
        "usual": list(found.get("usual") or ()),
        "left_out": found.get("left_out") or [],
    }


def _group(group: Mapping[str, Any]) -> str:
    """Images that belong together, and what is wrong with that."""
    keys = [image["key"] for image in group["images"]]
    more = len(keys) - MAX_OF_A_GROUP
    told = " = ".join(keys[:MAX_OF_A_GROUP])
    told += f" and {more:,} more" if more > 0 else ""
    told += " (across splits)" if group.get("is_across_splits") else ""
    return told + (" (several classes)" if group.get("has_several_classes") else "")


def _joined(row: Any) -> str:
    """Key and reason of an unreadable image."""
    return ": ".join(map(str, row.values() if isinstance(row, Mapping) else row))
