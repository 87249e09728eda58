"""slimline data: a look at images, and the contract made from it."""

import dataclasses
import pathlib
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from slimline import capture, errors
from slimline.cli import augment, options, output

if TYPE_CHECKING:
    from components.image_example_gen.inspection import Inspection, SizeRange
    from schema.contract import Contract

MAX_LISTED = 5
MAX_CLASSES = 20

_format_option: Callable = click.option(
    "--format",
    "input_format",
    default="auto",
    show_default=True,
    help="Layout of the data, as in the setting data.format.",
)


@click.group(short_help="Look at images and write their contract.")
def command() -> None:
    """Look at images and write their contract."""


command.add_command(augment.command)


@command.command("inspect", short_help="Show what is seen at PATH; write nothing.")
@click.argument("path", type=click.Path())
@_format_option
@options.output_options
def inspect_command(path: str, input_format: str, is_json: bool, is_quiet: bool) -> int:
    """Show what is seen at PATH, a folder or an archive; write nothing."""
    inspection = _inspect(path, input_format)
    document = {"inspection": dataclasses.asdict(inspection)}
    output.emit(_describe(inspection), document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


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
@_format_option
@options.output_options
def init_command(
    path: str,
    folder: pathlib.Path | None,
    is_forced: bool,
    input_format: str,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Write schema.pbtxt and labels.txt for the data at PATH, after a look at them.

    Run it once; from then on the two files say which classes and sizes are right.
    """
    from pipeline import inputs
    from schema import contract

    is_default = folder is None
    name = inputs.name_of(pathlib.Path(path).expanduser().resolve())
    folder = folder or pathlib.Path("schema") / name
    existing = [
        folder / file
        for file in (contract.SCHEMA_FILE, contract.LABELS_FILE)
        if (folder / file).exists()
    ]
    if existing and not is_forced:
        raise errors.ConfigError(
            f"there is a contract in {folder} already",
            found=", ".join(map(str, existing)),
            tip="--force replaces it, --output DIR writes elsewhere",
        )
    inspection = _inspect(path, input_format)
    made = _make_contract(inspection)
    try:
        contract.save(made, folder)
    except OSError as error:
        raise errors.ConfigError(
            f"cannot write to {folder}: {error.strerror or error}",
            tip="--output DIR writes elsewhere",
        ) from error
    run = ["slimline", "run", "folder", "--data", path]
    if not is_default:
        run += ["--set", f"data.contract={folder}"]
    text = "\n".join(
        [
            _describe(inspection),
            "",
            f"wrote     {folder / contract.SCHEMA_FILE}",
            f"          {folder / contract.LABELS_FILE}   (the order of the classes)",
            "",
            "next      look at both files, and commit them",
            f"          {shlex.join(run)}",
        ]
    )
    document = {
        "contract": str(folder),
        "labels": list(made.labels),
        "inspection": dataclasses.asdict(inspection),
    }
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _inspect(path: str, input_format: str) -> "Inspection":
    if not pathlib.Path(path).expanduser().exists():
        raise errors.DataError(
            f"no data at {path}",
            expected="a folder or an archive (.tar, .tar.gz, .tar.xz, .zip)",
        )
    # TensorFlow, whose decoder has the last word on images, writes to the terminal.
    with capture.discard():
        from components.image_example_gen import inspection

        return inspection.inspect(str(pathlib.Path(path).expanduser()), input_format)


def _make_contract(found: "Inspection") -> "Contract":
    from components.image_example_gen import inspection

    return inspection.make_contract(found)


def _describe(found: "Inspection") -> str:
    total = sum(sum(classes.values()) for classes in found.images.values())
    lines = [
        f"{found.path}",
        f"layout    {found.format}",
        f"images    {total:,}, {len(found.labels)} classes,"
        f" {'gray' if found.channels == 1 else 'colour'}, {' and '.join(found.formats)}",
        f"size      width {_range(found.width_px)}, height {_range(found.height_px)} px"
        " (smallest / median / largest)",
        "",
        _class_table(found),
        "",
        _listed("unreadable", [f"{name}: {why}" for name, why in found.unreadable]),
        _listed("ignored", list(found.ignored)),
        f"{'copies':<11}{found.duplicates:,} images equal an earlier one,"
        f" {found.duplicates_across_splits:,} of them across splits,"
        f" {found.label_conflicts:,} with several classes",
    ]
    return "\n".join(lines)


def _class_table(found: "Inspection") -> str:
    splits = list(found.images)
    rows = [("class", *splits)]
    rows += [
        (label, *(f"{found.images[split].get(label, 0):,}" for split in splits))
        for label in found.labels[:MAX_CLASSES]
    ]
    table = output.columns(rows)
    more = len(found.labels) - MAX_CLASSES
    return (
        f"{table}\nand {more:,} more classes (--json lists all)" if more > 0 else table
    )


def _listed(title: str, names: list[str]) -> str:
    more = len(names) - MAX_LISTED
    told = [*names[:MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])]
    return "\n".join([f"{title:<11}{len(names):,}", *(f"  {name}" for name in told)])


def _range(sizes: "SizeRange") -> str:
    return f"{sizes.minimum} / {sizes.median} / {sizes.maximum}"
