"""slimline predict: classes of image files from a pushed model."""

import pathlib
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline import runs
from slimline import capture, errors, session
from slimline.cli import options, output

if TYPE_CHECKING:
    from serving.local_model import LocalModel, Prediction


@click.command(short_help="Classify image files with a pushed model.")
@click.argument("files", nargs=-1, type=click.Path())
@click.option(
    "--model",
    metavar="NAME[@VERSION]|PATH",
    shell_complete=options.complete_models,
    help="Pushed model, its newest version without @VERSION, or the folder of a"
    " SavedModel; the only model under --root by default.",
)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    help="Take the model that RUN pushed ('latest' is one) and, without FILES, classify"
    " its sample images from the test split.",
)
@options.root_option
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many classes to give for each file.",
)
@options.output_options
def command(
    files: tuple[str, ...],
    model: str | None,
    run_name: str | None,
    root: pathlib.Path,
    top: int,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Classify image FILES: JPEG, PNG, BMP, GIF or WebP."""
    truth: dict[str, str] = {}
    if run_name is not None:
        if model is not None:
            raise click.UsageError("--model and --run both name a model; give one")
        model, truth = _of_run(root, run_name)
        files = files or tuple(truth)
    if not files:
        raise click.UsageError("give image files, or --run for its samples")
    for file in files:
        if pathlib.Path(file).is_dir():
            raise errors.ConfigError(
                f"{file} is a folder", expected="image files", tip=f"{file}/*.png"
            )
        if not pathlib.Path(file).exists():
            raise errors.DataError(f"cannot read image {file}: there is no such file")
    loaded, predictions = _predict(root, model, files, top)
    document = {
        "model": str(loaded.folder),
        "labels": list(loaded.labels),
        "predictions": [
            {
                "file": file,
                "label": prediction.label,
                "score": prediction.score,
                **({"true": truth[file]} if file in truth else {}),
                "top": [
                    {"label": label, "score": score} for label, score in prediction.top
                ],
            }
            for file, prediction in zip(files, predictions, strict=True)
        ],
    }
    rows = [_row("file", "true", "class", "score", "next" if top > 1 else "", truth)]
    rows += [
        _row(
            file,
            truth.get(file, ""),
            prediction.label,
            f"{prediction.score:.3f}",
            "  ".join(f"{label} {score:.3f}" for label, score in prediction.top[1:]),
            truth,
        )
        for file, prediction in zip(files, predictions, strict=True)
    ]
    text = output.columns(rows)
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _predict(
    root: pathlib.Path, model: str | None, files: Sequence[str], top: int
) -> "tuple[LocalModel, list[Prediction]]":
    """Loads and asks the model; what TensorFlow says meanwhile is for failures only."""
    folder: pathlib.Path | None = None
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log.txt"
        try:
            with capture.capture(log):
                # TensorFlow speaks while it loads, too.
                from serving import local_model

                folder = local_model.find_model(root, model)
                loaded = local_model.LocalModel.load(folder)
                return loaded, loaded.predict(files, top=top)
        except errors.SlimlineError:
            raise
        except Exception as error:
            broken = errors.RunError(
                f"cannot predict with {folder or model}: {type(error).__name__}: {error}"
            )
            broken.log_lines = session.last_lines(log)
            raise broken from error


def _row(
    file: str, true: str, best: str, score: str, others: str, truth: dict[str, str]
) -> tuple[str, ...]:
    """A line of the table; the column of true classes only where some are known."""
    return (file, *([true] if truth else []), best, score, others)


def _of_run(root: pathlib.Path, run_name: str) -> tuple[str, dict[str, str]]:
    """Folder of the model that a run pushed, and its sample images by true class."""
    folder = runs.find(root, run_name)
    summary = runs.read_summary(folder)
    if not summary["pushed_path"]:
        raise errors.ConfigError(f"run '{folder.name}' pushed no model")
    samples = summary["sample_images"].items()
    return summary["pushed_path"], {
        output.short_path(path): true for path, true in samples
    }
