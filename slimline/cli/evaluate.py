"""slimline evaluate: a model measured on any labelled images."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from slimline import data
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
@options.flag(
    "--by-number",
    help="Take class names of the data as numbers: number k is label k of the model, from 0.",
)
@options.flag(
    "--skip-unknown",
    "skips_unknown",
    help="Leave out images of classes that the model does not know.",
)
@options.root_option
@options.layout_options
@options.plain_option
@options.output_options
def command(
    model: str,
    path: str,
    root: pathlib.Path,
    assignments: tuple[str, ...],
    is_plain: bool,
    **choices: Any,
) -> output.Result:
    """Measure a pushed model, the model of a run, or a SavedModel on labelled images.

    Classes are matched by name. Nothing is trained, gated or written.
    """
    # `choices`: split, by_number and skips_unknown.
    config = data.config(assignments=assignments)
    with display.working("evaluate", is_plain=is_plain) as screen:
        # TensorFlow prints while it loads.
        from serving import local_model
        from slimline import evaluation

        folder = evaluation.model_folder(root, model)
        found = evaluation.measure(
            local_model.LocalModel.load(folder),
            path,
            config,
            watch=lambda images: display.counted(images, "predict", screen),
            **choices,
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
    for name, (low, high) in found.figures.intervals.items():
        title, unit = name.replace("_", "-"), ""
        if not name.startswith("top_"):
            title, unit = "loss", " (cross-entropy, nats)"
        interval = f"95 % interval {low:.4f} to {high:.4f}"
        facts[title] = f"{found.metrics[name]:.4f}{unit}, {interval}"
    per_class, most_confused = found.figures.per_class, found.figures.most_confused
    facts["weakest"] = closing.weakest(per_class, most_confused)
    lines = output.facts(facts, data_text.TITLE_WIDTH)
    if found.unreadable:
        unreadable = [f"{key}: {why}" for key, why in found.unreadable]
        lines.append(data_text.listed("unreadable", unreadable))
    lines += ["", output.table(_worst(per_class), ("recall", "precision", "images"))]
    if found.notes:
        lines += ["", *(f"note: {note}" for note in found.notes)]
    return "\n".join(lines)


def _split(found: "Evaluation") -> str:
    if found.split != "all":
        return f"the {found.split} split"
    known = [name for name in found.splits if name != "all"]
    return f"all of {', '.join(known)}" if known else "all"


def _worst(per_class: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    """The classes with the lowest recall, the lowest first."""
    seen = [(label, row) for label, row in per_class.items() if row["support"]]
    seen.sort(key=lambda item: item[1]["recall"])
    return [
        {
            "class": label,
            "recall": f"{row['recall']:.4f}",
            "precision": f"{row['precision']:.4f}",
            "images": f"{row['support']:,}",
        }
        for label, row in seen[:WORST_CLASSES]
    ]
