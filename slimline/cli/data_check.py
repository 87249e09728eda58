"""slimline data check: what is wrong with a dataset, before anyone trains on it."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from slimline import data
from slimline.terminal import data_text, display, options, output

if TYPE_CHECKING:
    from data_check.findings import Findings, Group, OddImage, Place

MAX_OF_A_GROUP = 4
# cleanvision's name of a kind -> ours, where it differs.
TITLES = {
    "low_information": "plain",
    "odd_aspect_ratio": "odd shape",
    "odd_size": "odd size",
    "grayscale": "gray",
}


@click.command("check", short_help="Look for what is wrong with images and labels.")
@click.argument("path", type=click.Path())
@click.option(
    "--output",
    "findings_path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    metavar="FILE",
    help="Write the findings with all keys there, as JSON.",
)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    shell_complete=options.complete_runs,
    help="A run on these images: its model points at doubtful labels of the test split.",
)
@options.root_option
@options.layout_options
@options.output_options
def command(
    path: str,
    findings_path: pathlib.Path | None,
    run_name: str | None,
    root: pathlib.Path,
    assignments: tuple[str, ...],
) -> output.Result:
    """Look for what is wrong with the images at PATH, a folder or an archive.

    It lists unreadable images, exact duplicates within and across splits and with other
    classes, near-duplicates, and images that are dark, light, blurry, plain, gray among
    colour ones, or of an odd size or shape; with --run also likely wrong labels. Findings
    are hints: the exit code is 0, and PATH is only read.
    """
    config = data.config(assignments=assignments)
    with display.working("check") as screen:
        findings = data.look_for_faults(
            path,
            run_name,
            root,
            config,
            lambda found: display.counted(found, "ingest", screen),
        )
    document = {"findings": dataclasses.asdict(findings)}
    if findings_path:
        versioned = {"schema_version": output.SCHEMA_VERSION, **document}
        with output.writing(findings_path):
            findings_path.write_text(json.dumps(versioned, indent=1) + "\n")
    text = describe(findings)
    if findings_path:
        text += f"\n{findings_path}"
    return output.Result(text, document)


def describe(findings: "Findings") -> str:
    """The findings as lines; --json has the lists in full."""
    total = sum(sum(classes.values()) for classes in findings.images.values())
    labels = list(
        dict.fromkeys(text for found in findings.images.values() for text in found)
    )
    unreadable = [f"{key}: {reason}" for key, reason in findings.unreadable]
    facts = {
        "images": f"{total:,}, {len(labels)} classes",
        "size": data_text.sizes(findings.width_px, findings.height_px),
    }
    lines = [
        findings.source,
        *output.facts(facts),
        "",
        data_text.class_table(findings.images, labels),
        "",
        data_text.listed("unreadable", unreadable),
        _groups("exact duplicates", findings.exact_duplicates, " = "),
    ]
    if findings.near_duplicates is not None:
        lines.append(_groups("near-duplicates", findings.near_duplicates, " ~ "))
    if findings.odd_images is not None:
        lines += _odd(findings.odd_images, findings.usual or {})
    if findings.wrong_labels is not None:
        doubts = [
            f"{doubt.key} ({doubt.given}) rather {doubt.suggested}  {doubt.score:.2f}"
            for doubt in findings.wrong_labels
        ]
        lines.append(data_text.listed("labels", doubts, f"{len(doubts):,} doubtful"))
    lines += ["", *(f"left out: {sentence}" for sentence in findings.left_out)]
    lines.append(
        "These are hints, and nothing was changed; --output FILE keeps every key."
    )
    return "\n".join(lines)


def _groups(title: str, groups: Sequence["Group"], separator: str) -> str:
    across = sum(group.is_across_splits for group in groups)
    several = sum(group.has_several_classes for group in groups)
    # The most harmful first: contradicting labels, then leaks between splits.
    ordered = sorted(
        groups,
        key=lambda group: (group.has_several_classes, group.is_across_splits),
        reverse=True,
    )
    count = f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'}"
    return data_text.listed(
        title,
        [_group(group, separator) for group in ordered],
        f"{count}, {across:,} across splits, {several:,} with several classes",
    )


def _group(group: "Group", separator: str) -> str:
    images = [_place(image) for image in group.images[:MAX_OF_A_GROUP]]
    more = len(group.images) - MAX_OF_A_GROUP
    return separator.join([*images, *([f"{more:,} more"] if more > 0 else [])])


def _odd(
    odd_images: Mapping[str, Sequence["OddImage"]], usual: Mapping[str, int]
) -> list[str]:
    lines = [
        data_text.listed(
            _title(kind), [f"{_place(odd.image)}  {odd.score:.2f}" for odd in found]
        )
        for kind, found in odd_images.items()
        if found
    ]
    absent = [kind for kind in odd_images if not odd_images[kind] and kind not in usual]
    counts = ", ".join(f"{_title(kind)} ({count:,})" for kind, count in usual.items())
    facts = {
        "not found": ", ".join(map(_title, absent)),
        "usual": counts and f"{counts}: most images are, so none stands out",
    }
    return lines + output.facts(facts, data_text.TITLE_WIDTH)


def _place(image: "Place") -> str:
    return f"{image.key} ({image.text}, {image.split})"


def _title(kind: str) -> str:
    return TITLES.get(kind, kind)
