"""slimline data augment: examples of augmented images, as a picture."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from slimline import capture
from slimline.terminal import options, output

if TYPE_CHECKING:
    import numpy as np

    from components.image_example_gen.samples import Sample
    from pipeline.config import PipelineConfig

CELL_INCHES = 1.2
DOTS_PER_INCH = 120


@click.command("augment", short_help="Draw what augmentation makes of images.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@options.settings_options
@options.shown(
    "--images",
    "count",
    type=click.IntRange(2, 32),
    default=6,
    help="Rows: images, of as many classes as possible.",
)
@options.shown(
    "--variants",
    type=click.IntRange(1, 32),
    default=7,
    help="Columns: augmented variants of each image.",
)
@options.file_option("augmentation.png", "Picture")
@options.root_option
@options.output_options
def command(
    experiment: str,
    count: int,
    variants: int,
    path: pathlib.Path,
    root: pathlib.Path,
    **given: Any,
) -> output.Result:
    """Draw what the augmentation of EXPERIMENT does to some images into a PNG.

    A row is an image: first as evaluation sees it, then as training does, with the seed
    of the experiment.
    """
    from pipeline import answers, inputs, settings

    # `given`: data, assignments and config_file.
    config = settings.resolve(experiment, **given).config
    inputs.check(config)
    data_path = inputs.data_path(config, root)
    images_path = inputs.find_data_sets(config, data_path)[-1].path
    # TensorFlow writes to the terminal while it loads.
    with capture.discard():
        from components.image_example_gen import samples
        from trainer.augmentation import preview, recipe

        drawn = samples.draw(
            str(images_path), count, config.train.seed, answers.of(config.data)
        )
        grid = preview.preview(
            [sample.encoded for sample in drawn], config.trainer, variants
        )
        steps = recipe.describe(config.trainer)
    with output.writing(path):
        _draw(config, drawn, grid, steps, path)
    document = {
        "picture": str(path),
        "augmentation": steps,
        "classes": [sample.text for sample in drawn],
        "variants": variants,
    }
    what = ", ".join(steps) or (
        "nothing: no setting of the section augmentation is on, as in"
        " --set augmentation.flip_left_right=true"
    )
    text = f"{len(drawn)} images, {variants} variants each: {what}\n{path}"
    return output.Result(text, document)


def _draw(
    config: "PipelineConfig",
    drawn: "Sequence[Sample]",
    grid: "np.ndarray",
    steps: Sequence[str],
    path: pathlib.Path,
) -> None:
    # Not needed elsewhere in this command, and slow to load.
    from matplotlib.figure import Figure

    rows, columns = grid.shape[:2]
    figure = Figure(
        figsize=(CELL_INCHES * columns + 0.6, CELL_INCHES * rows + 0.7),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    all_axes = figure.subplots(rows, columns, squeeze=False)
    for row, sample in enumerate(drawn):
        for column in range(columns):
            axes = all_axes[row, column]
            axes.imshow(
                grid[row, column].squeeze(-1 if grid.shape[-1] == 1 else ()),
                cmap="gray",
                vmin=0,
                vmax=255,
                interpolation="nearest",
            )
            axes.set_xticks([])
            axes.set_yticks([])
        all_axes[row, 0].set_ylabel(sample.text, fontsize=8)
    all_axes[0, 0].set_title("evaluation", fontsize=8)
    if columns > 1:
        all_axes[0, 1].set_title("training", fontsize=8)
    what = ", ".join(steps) or "no augmentation"
    figure.suptitle(f"{config.name}: {what}", fontsize=9, wrap=True)
    figure.savefig(path, format="png")
