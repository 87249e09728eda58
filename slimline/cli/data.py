"""slimline data: inspects images, checks them, and writes their contract."""

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


@click.group(short_help="Look at images, check them and write their contract.")
def command() -> None:
    """Look at images, check them and write their contract."""


command.add_command(data_augment.command)
command.add_command(data_check.command)


@command.command("inspect", short_help="Show what is seen at PATH; write nothing.")
@click.argument("path", type=click.Path())
@options.layout_options
@options.output_options
def inspect_command(path: str, assignments: tuple[str, ...]) -> output.Result:
    """Show the layout, classes and images found at PATH; write nothing.

    PATH is a folder or an archive. Of a pattern, as flowers/{SPAN}, it lists the spans and
    shows the newest.
    """
    from components.image_example_gen import spans

    config = data.config(assignments=assignments)
    # TensorFlow, which decodes the images, writes to the terminal.
    with capture.discard():
        inspection = data.look(path, config)
    lines = [_describe(inspection)]
    found = spans.find(path) if spans.is_pattern(path) else []
    if found:
        names = [f"{each.name}  {each.path}" for each in reversed(found)]
        newest = output.facts({"newest": found[-1].name})
        lines = [data_text.listed("spans", names), *newest, "", *lines]
    document = {
        "inspection": _document(inspection),
        "spans": [
            {"span": each.span, "version": each.version, "path": str(each.path)}
            for each in found
        ],
    }
    return output.Result("\n".join(lines), document)


@command.command("init", short_help="Write schema and labels for the data at PATH.")
@click.argument("path", type=click.Path())
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder of the contract; schema/<name of the data> by default.",
)
@options.flag("--force", "is_forced", help="Replace an existing contract.")
@options.layout_options
@options.output_options
def init_command(
    path: str,
    folder: pathlib.Path | None,
    is_forced: bool,
    assignments: tuple[str, ...],
) -> output.Result:
    """Write schema.pbtxt and labels.txt for the data at PATH, after an inspection.

    Run it once; from then on the two files define which classes and sizes are valid.
    """
    from schema import contract

    config = data.config(assignments=assignments)
    # TensorFlow, which decodes the images, writes to the terminal.
    with capture.discard():
        inspection, written = data.make_contract(
            path, folder, config, replaces=is_forced
        )
    made = contract.load(written)
    run = ["slimline", "run", "photos", "--data", path]
    run += [word for assignment in assignments for word in ("--set", assignment)]
    if folder is not None:
        run += ["--set", f"data.contract={folder}"]
    facts = {
        "wrote": f"{written / contract.SCHEMA_FILE}\n"
        f"{'':10}{written / contract.LABELS_FILE}   (the order of the classes)\n",
        "next": f"look at both files, and commit them\n{'':10}{shlex.join(run)}",
    }
    text = "\n".join([_describe(inspection), "", *output.facts(facts)])
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
    colours = "gray" if found.channels == 1 else "colour"
    of_splits = " · ".join(
        f"{sum(classes.values()):,} {split}"
        for split, classes in found.ingested.items()
    )
    head = {
        "layout": "\n".join([found.format, *data_text.branches(found.words)]),
        "images": f"{total:,}, {len(found.labels)} classes, {colours},"
        f" {' and '.join(found.formats)}",
        "size": data_text.sizes(found.width_px, found.height_px),
    }
    duplicates = (
        f"{found.duplicates:,} images equal an earlier one,"
        f" {found.duplicates_across_splits:,} of them across splits,"
        f" {found.label_conflicts:,} with several classes"
    )
    unreadable = [f"{name}: {why}" for name, why in found.unreadable]
    ignored = [f"{name}: {image_names.why_ignored(name)}" for name in found.ignored]
    end = {
        "smallest": data_text.smallest(found.images, found.labels),
        "later": "\n".join(["", *data_text.branches(found.troubles)]),
    }
    lines = [
        found.path,
        *output.facts(head),
        "",
        data_text.class_table(columns, found.labels),
        *output.facts({"a run has": of_splits}),
        "",
        data_text.listed("unreadable", unreadable),
        data_text.listed("ignored", ignored),
        *output.facts({"duplicates": duplicates}, 11),
        *output.facts(end),
    ]
    return "\n".join(lines)
