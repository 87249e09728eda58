"""slimline evaluate: a model measured on any labelled images."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from slimline.terminal import data_text, display, options, output

if TYPE_CHECKING:
    from slimline.evaluation import Evaluation

WORST_CLASSES = 5


@click.command(short_help="Measure a model on any labelled images.")
@click.argument(
    "model", metavar="NAME[@VERSION]|RUN|PATH", shell_complete=options.complete_models
)
@click.option(
    "--data",
    "path",
    required=True,
    metavar="PATH",
    help="Folder or archive of labelled images, in any layout that `run` reads.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "eval", "test", "all"]),
    help="Images to measure; the test split by default, all where the data have none.",
)
@click.option(
    "--by-number",
    is_flag=True,
    help="The data number their classes: number k is label k of the model, from 0.",
)
@click.option(
    "--skip-unknown",
    "skips_unknown",
    is_flag=True,
    help="Leave out images of classes that the model does not know.",
)
@options.root_option
@options.layout_options
@options.plain_option
@options.output_options
def command(
    model: str,
    path: str,
    split: str | None,
    by_number: bool,
    skips_unknown: bool,
    root: pathlib.Path,
    input_format: str | None,
    assignments: tuple[str, ...],
    is_plain: bool,
) -> output.Result:
    """Measure a pushed model, the model of a run, or a SavedModel on labelled images.

    Classes are matched by name. Nothing is trained, gated or written.
    """
    answers = options.layout_answers(input_format, assignments)
    with display.working("evaluate", is_plain=is_plain) as shown:
        # TensorFlow speaks while it loads.
        from serving import local_model
        from slimline import evaluation

        folder = evaluation.model_folder(root, model)
        if isinstance(shown, display.LiveDisplay):
            shown.event("component_started", {"component": "evaluate"})
        found = evaluation.measure(
            local_model.LocalModel.load(folder),
            path,
            answers,
            evaluation.Choices(split, by_number, skips_unknown),
            lambda images: display.counted(images, "predict", shown),
        )
    document = dataclasses.asdict(found)
    document |= document.pop("figures")
    return output.Result(describe(found), document)


def describe(found: "Evaluation") -> str:
    """The evaluation as lines."""
    from slimline.terminal import closing

    measured = f"{found.metrics['example_count']:,.0f} images"
    facts: dict[str, str] = {
        "model": output.short_path(found.model),
        "data": f"{output.short_place(found.data)}: {_split(found)}, {measured}",
    }
    for name, low_high in found.figures.intervals.items():
        low, high = low_high
        title = name.replace("_", "-") if name.startswith("top_") else "loss"
        unit = " (cross-entropy, nats)" if title == "loss" else ""
        facts[title] = (
            f"{found.metrics[name]:.4f}{unit}, 95 % interval {low:.4f} to {high:.4f}"
        )
    facts["weakest"] = closing.weakest(
        found.figures.per_class, found.figures.most_confused
    )
    lines = [f"{title:<{data_text.TITLE_WIDTH}}{text}" for title, text in facts.items()]
    if found.unreadable:
        unreadable = [f"{key}: {why}" for key, why in found.unreadable]
        lines.append(data_text.listed("unreadable", unreadable))
    lines += [
        "",
        output.columns(list(_worst(found)), ("recall", "precision", "images")),
    ]
    return "\n".join([*lines, *_notes(found)])


def _split(found: "Evaluation") -> str:
    if found.split != "all":
        return f"the {found.split} split"
    known = [name for name in found.splits if name != "all"]
    return f"all of {', '.join(known)}" if known else "all"


def _worst(found: "Evaluation") -> Iterator[tuple[str, ...]]:
    """The classes with the lowest recall, the lowest first."""
    yield ("class", "recall", "precision", "images")
    rows: list[tuple[str, Any]] = [
        (label, row) for label, row in found.figures.per_class.items() if row["support"]
    ]
    rows.sort(key=lambda item: float(item[1]["recall"]))
    for label, row in rows[:WORST_CLASSES]:
        yield (
            label,
            f"{row['recall']:.4f}",
            f"{row['precision']:.4f}",
            f"{row['support']:,}",
        )


def _notes(found: "Evaluation") -> list[str]:
    return ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
