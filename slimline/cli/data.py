"""slimline data: a look at images, a check of them, and the contract made from them."""

import dataclasses
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

import click

from schema import image_names
from slimline import capture, data
from slimline.cli import data_augment, data_check
from slimline.terminal import data_text, options, output

if TYPE_CHECKING:
    from components.image_example_gen.inspection import Inspection
    from components.image_example_gen.spans import DataSet


@click.group(short_help="Look at images, check them and write their contract.")
def command() -> None:
    """Look at images, check them and write their contract."""


command.add_command(data_augment.command)
command.add_command(data_check.command)


@command.command("inspect", short_help="Show what is seen at PATH; write nothing.")
@click.argument("path", type=click.Path())
@options.layout_options
@options.output_options
def inspect_command(
    path: str,
    input_format: str | None,
    assignments: tuple[str, ...],
) -> output.Result:
    """Show what is seen at PATH, a folder or an archive; write nothing.

    Of a pattern, as flowers/{SPAN}, it shows the spans and what is seen in the newest.
    """
    config = options.data_settings(input_format, assignments)
    # TensorFlow, whose decoder has the last word on images, writes to the terminal.
    with capture.discard():
        inspection = data.look(path, config)
    found = _spans(path)
    document = {
        "inspection": _document(inspection),
        "spans": [
            {"span": data.span, "version": data.version, "path": str(data.path)}
            for data in found
        ],
    }
    text = "\n".join([*data_text.span_lines(found), _describe(inspection)])
    return output.Result(text, document)


def _spans(path: str) -> "list[DataSet]":
    """All spans behind a pattern; none for a plain path."""
    from components.image_example_gen import spans

    return spans.find(path) if spans.is_pattern(path) else []


@command.command("init", short_help="Write schema and labels for the data at PATH.")
@click.argument("path", type=click.Path())
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder of the contract; schema/<name of the data> by default.",
)
@click.option(
    "--force", "is_forced", is_flag=True, help="Replace an existing contract."
)
@options.layout_options
@options.output_options
def init_command(
    path: str,
    folder: pathlib.Path | None,
    is_forced: bool,
    input_format: str | None,
    assignments: tuple[str, ...],
) -> output.Result:
    """Write schema.pbtxt and labels.txt for the data at PATH, after a look at them.

    Run it once; from then on the two files say which classes and sizes are right.
    """
    from schema import contract

    config = options.data_settings(input_format, assignments)
    # TensorFlow, whose decoder has the last word on images, writes to the terminal.
    with capture.discard():
        inspection, written = data.make_contract(
            path, folder, config, replaces=is_forced
        )
    made = contract.load(written)
    run = ["slimline", "run", "photos", "--data", path]
    if input_format:
        run += ["--set", f"data.format={input_format}"]
    run += [word for assignment in assignments for word in ("--set", assignment)]
    if folder is not None:
        run += ["--set", f"data.contract={folder}"]
    text = "\n".join(
        [
            _describe(inspection),
            "",
            f"wrote     {written / contract.SCHEMA_FILE}",
            f"          {written / contract.LABELS_FILE}   (the order of the classes)",
            "",
            "next      look at both files, and commit them",
            f"          {shlex.join(run)}",
        ]
    )
    document = {
        "contract": str(written),
        "labels": list(made.labels),
        "inspection": _document(inspection),
    }
    return output.Result(text, document)


def _document(found: "Inspection") -> dict[str, Any]:
    return dataclasses.asdict(found) | {"troubles": list(found.troubles)}


def _describe(found: "Inspection") -> str:
    total = sum(sum(classes.values()) for classes in found.images.values())
    to_split = {f"to {split}": counts for split, counts in found.ingested.items()}
    columns = found.images | (to_split if found.is_cut else {})
    lines = [
        f"{found.path}",
        *data_text.tree("layout", found.format, found.words),
        f"images    {total:,}, {len(found.labels)} classes,"
        f" {'gray' if found.channels == 1 else 'colour'}, {' and '.join(found.formats)}",
        data_text.sizes(found.width_px, found.height_px),
        "",
        data_text.class_table(columns, found.labels),
        *data_text.ingested(found.ingested),
        "",
        data_text.listed(
            "unreadable", [f"{name}: {why}" for name, why in found.unreadable]
        ),
        data_text.listed(
            "ignored",
            [f"{name}: {image_names.why_ignored(name)}" for name in found.ignored],
        ),
        f"{'copies':<11}{found.duplicates:,} images equal an earlier one,"
        f" {found.duplicates_across_splits:,} of them across splits,"
        f" {found.label_conflicts:,} with several classes",
        *data_text.smallest(found.images, found.labels),
        *(data_text.tree("later", "", found.troubles) if found.troubles else []),
    ]
    return "\n".join(lines)
