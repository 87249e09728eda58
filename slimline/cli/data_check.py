"""slimline data check: what is wrong with a data set, before anyone trains on it."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from slimline import capture, data
from slimline.terminal import data_text, display, options, output

if TYPE_CHECKING:
    from components.image_example_gen.layouts import Answers
    from data_check.findings import Findings, Group, OddImage, Place

MAX_OF_A_GROUP = 4
# Names of kinds as they are told; those that are not here are told as cleanvision's.
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
    help="A run on these images: its model doubts labels of its test images.",
)
@options.root_option
@options.layout_options
@options.output_options
def command(
    path: str,
    findings_path: pathlib.Path | None,
    run_name: str | None,
    root: pathlib.Path,
    input_format: str | None,
    assignments: tuple[str, ...],
) -> output.Result:
    """Look for what is wrong with the images at PATH, a folder or an archive.

    It lists unreadable images, exact duplicates within and across splits and with other
    classes, near-duplicates, and images that are dark, light, blurry, plain, gray among
    colour ones, or of an odd size or shape; with --run also likely wrong labels. Findings
    are hints: the exit code is 0, and PATH is only read.
    """
    answers = options.layout_answers(input_format, assignments)
    findings = _check(path, run_name, root, answers)
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
    """The findings as lines; what is missing in a list is in the JSON."""
    total = sum(sum(classes.values()) for classes in findings.images.values())
    labels = list(
        dict.fromkeys(text for found in findings.images.values() for text in found)
    )
    unreadable = [f"{key}: {reason}" for key, reason in findings.unreadable]
    lines = [
        findings.source,
        f"{'images':<10}{total:,}, {len(labels)} classes",
        data_text.sizes(findings.width_px, findings.height_px),
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


def _groups(title: str, groups: Sequence["Group"], sign: str) -> str:
    across = sum(group.is_across_splits for group in groups)
    several = sum(group.has_several_classes for group in groups)
    # What does most harm comes first: labels that contradict, then leaks between splits.
    ordered = sorted(
        groups,
        key=lambda group: (group.has_several_classes, group.is_across_splits),
        reverse=True,
    )
    count = f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'}"
    return data_text.listed(
        title,
        [_group(group, sign) for group in ordered],
        f"{count}, {across:,} across splits, {several:,} with several classes",
    )


def _group(group: "Group", sign: str) -> str:
    told = [_place(image) for image in group.images[:MAX_OF_A_GROUP]]
    more = len(group.images) - MAX_OF_A_GROUP
    return sign.join([*told, *([f"{more:,} more"] if more > 0 else [])])


def _odd(
    odd_images: Mapping[str, Sequence["OddImage"]], usual: Mapping[str, int]
) -> list[str]:
    lines = [
        data_text.listed(
            _title(kind),
            [f"{_place(odd.image)}  {odd.score:.2f}" for odd in found],
        )
        for kind, found in odd_images.items()
        if found
    ]
    absent = [
        _title(kind)
        for kind, found in odd_images.items()
        if not found and kind not in usual
    ]
    if absent:
        lines.append(f"{'not found':<11}{', '.join(absent)}")
    if usual:
        told = ", ".join(f"{_title(kind)} ({count:,})" for kind, count in usual.items())
        lines.append(f"{'usual':<11}{told}: most images are, so none stands out")
    return lines


def _place(image: "Place") -> str:
    return f"{image.key} ({image.text}, {image.split})"


def _title(kind: str) -> str:
    return TITLES.get(kind, kind)


def _check(
    path: str,
    run_name: str | None,
    root: pathlib.Path,
    answers: "Answers",
) -> "Findings":
    # TensorFlow, whose decoder has the last word on images, writes to the terminal.
    with (
        capture.discard() as terminal,
        _open_progress(terminal.stderr) as shown,
    ):
        return data.look_for_faults(
            path,
            run_name,
            root,
            answers,
            lambda found: display.counted(found, "ingest", shown),
        )


@contextlib.contextmanager
def _open_progress(stream: TextIO) -> Iterator[display.Display]:
    with display.open_display(stream) as shown:
        # Elsewhere than on a terminal a short check needs no line.
        if isinstance(shown, display.LiveDisplay):
            shown.event("component_started", {"component": "check"})
        yield shown
