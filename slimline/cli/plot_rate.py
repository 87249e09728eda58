"""slimline plot-rate: the learning rate of an experiment as a picture."""

import pathlib

import click
import numpy as np

from pipeline import settings
from pipeline.config import PipelineConfig
from pipeline.runs import runs
from schema import features
from slimline import errors
from slimline.terminal import options, output
from trainer import plan, schedules

POINTS = 2_000
# Assumed where no run of the experiment says how many images there are.
USUAL_IMAGES = 50_000
SIZE_INCHES = (8.0, 4.0)
DOTS_PER_INCH = 120


@click.command("plot-rate", short_help="Draw the learning rate of an experiment.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@options.set_option(
    help="Change a setting, as schedule.name=one_cycle; may be repeated."
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Train images; those of the newest run of EXPERIMENT by default.",
)
@options.file_option("rate.png", "Picture")
@options.root_option
@options.output_options
def command(
    experiment: str,
    assignments: tuple[str, ...],
    images: int | None,
    path: pathlib.Path,
    root: pathlib.Path,
) -> output.Result:
    """Draw the learning rate of EXPERIMENT over its training into a PNG."""
    config = settings.resolve(experiment, assignments=assignments).config
    count = images or _images_of_newest_run(root, experiment) or USUAL_IMAGES
    fitted, _ = plan.fit_batch(config.train, count)
    length = plan.make_plan(fitted, count)
    schedule = schedules.make(
        config.schedule,
        base_rate=config.train.learning_rate,
        total_steps=length.total_steps,
        steps_per_epoch=length.steps_per_epoch,
    )
    steps = np.unique(
        np.linspace(0, length.total_steps, POINTS).round().astype(np.int64)
    )
    rates = schedule(steps)
    with output.writing(path):
        _draw(config, steps / length.steps_per_epoch, rates, path)
    document = {
        "picture": str(path),
        "schedule": config.schedule.name,
        "images": count,
        "total_steps": length.total_steps,
        "steps_per_epoch": length.steps_per_epoch,
        "first": float(rates[0]),
        "highest": float(rates.max()),
        "last": float(rates[-1]),
    }
    text = (
        f"{config.schedule.name}: first {rates[0]:.4g}, highest {rates.max():.4g}, last"
        f" {rates[-1]:.4g}, over {length.total_steps:,} steps"
        f" ({count:,} images)\n{path}"
    )
    return output.Result(text, document)


def _images_of_newest_run(root: pathlib.Path, experiment: str) -> int | None:
    for folder in reversed(runs.list_runs(root)):
        try:
            summary = runs.read_summary(folder)
        except errors.SlimlineError:
            continue  # an unfinished run has none
        if summary.get("experiment") == experiment:
            return summary["images"][features.TRAIN]
    return None


def _draw(
    config: PipelineConfig, epochs: np.ndarray, rates: np.ndarray, path: pathlib.Path
) -> None:
    # Not needed elsewhere in this command, and slow to load.
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(epochs, rates, linewidth=1.5)
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.set_title(f"{config.name}: {config.schedule.name}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, epochs[-1])
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png")
