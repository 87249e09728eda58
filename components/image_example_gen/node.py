"""Settings and progress line of the ingest."""

from components.image_example_gen import reports
from components.nodes import Node, Outcome, Outputs, only


def describe(outputs: Outputs) -> Outcome:
    """'1,797 images (folder): 1,353 train · 176 eval · 268 test; 0 unreadable'."""
    facts = reports.read_summary(only(outputs, "examples").uri)
    images = facts["images"]
    splits = " · ".join(f"{count:,} {split}" for split, count in images.items())
    return Outcome(
        f"{sum(images.values()):,} images ({facts['format']}): {splits};"
        f" {facts['unreadable']:,} unreadable",
        is_good=not facts["unreadable"],
    )


NODE = Node(
    (
        "data.path",
        "data.span",
        "data.window_spans",
        "data.contract",
        "data.format",
        "data.subset",
        "data.class_from",
        "data.splits",
        "data.columns",
        "data.eval_fraction",
        "data.test_fraction",
        "data.split_seed",
        "data.group_by",
        "data.max_unreadable_share",
        "preprocessing.channels",
    ),
    describe,
)
