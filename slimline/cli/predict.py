"""slimline predict: classes of image files from a pushed model."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from pipeline.runs import runs
from slimline import capture, errors
from slimline.terminal import batch, display, options, output

if TYPE_CHECKING:
    from serving.local_model import LocalModel, Prediction
    from trainer.explaining import Explanation

EXPLANATION_FILE = "explanation.png"
# More would be too small to look at.
MAX_EXPLAINED = 64


@click.command(short_help="Classify image files with a pushed model.")
@click.argument("files", nargs=-1, type=click.Path())
@click.option(
    "--model",
    metavar="NAME[@VERSION]|PATH",
    shell_complete=options.complete_models,
    help="Pushed model, its live version without @VERSION, or the folder of a"
    " SavedModel; the only model under --root by default. With --server NAME,"
    " NAME@VERSION or NAME:LABEL.",
)
@click.option(
    "--server",
    metavar="URL",
    help="Ask a model server, TensorFlow Serving or `slimline serve`, in place of the"
    " models under --root: http://HOST:PORT for REST, grpc://HOST:PORT for gRPC, https://"
    " and grpcs:// encrypted. A bearer token is taken from SLIMLINE_SERVER_TOKEN.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificates (PEM) of the authorities to trust for --server.",
)
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit of --server for each batch of 64 images, repeated attempts included;"
    " 30 by default.",
)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    help="Take the model of RUN, as 'latest', also one that was refused; without FILES,"
    " classify its sample images of the test split.",
)
@options.root_option
@options.shown(
    "--top",
    type=click.IntRange(min=1),
    default=3,
    help="How many classes to give for each file.",
)
@click.option(
    "--output",
    "output_path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    metavar="NAME.csv|NAME.jsonl|NAME.png",
    help="Write the classes of any number of files there, a row per image, sorted by path."
    " FILES may then be folders, quoted patterns ('photos/**/*.jpg') and lists (NAME.txt, a"
    " path per line). Rerun an interrupted command to resume it. With --explain, the picture"
    f" to write, {EXPLANATION_FILE} by default.",
)
@options.flag(
    "--explain",
    "is_explained",
    help="Draw a heat map over each image into a PNG: where the evidence for its class is.",
)
@options.engine_options
@options.flag(
    "--force",
    "is_forced",
    help="Replace an existing output, once the new one is complete.",
)
@click.option(
    "--from-logs",
    "logs",
    type=click.Path(path_type=pathlib.Path),
    metavar="FOLDER",
    help="Take the predictions from the PredictionLogs of BulkInferrer or TensorFlow Serving"
    " in FOLDER, in place of FILES and a model.",
)
@options.plain_option
@options.output_options
def command(
    files: tuple[str, ...],
    model: str | None,
    server: str | None,
    ca_file: str | None,
    deadline_seconds: float | None,
    run_name: str | None,
    root: pathlib.Path,
    top: int,
    output_path: pathlib.Path | None,
    is_explained: bool,
    engine: str | None,
    engine_options: tuple[str, ...],
    is_forced: bool,
    logs: pathlib.Path | None,
    is_plain: bool,
) -> output.Result:
    """Classify image FILES: JPEG, PNG, BMP, GIF or WebP.

    With --output any number of them, folders too, into a table. With --explain a few of
    them, with a picture of what the net looks at.
    """
    if is_explained:
        _check_explain(server, output_path)
    for is_wrong, message in (
        (
            server is None and (ca_file or deadline_seconds),
            "--ca-file and --deadline belong to --server",
        ),
        (
            is_explained and (logs or is_forced or is_plain),
            "--explain takes no --from-logs, --force or --plain",
        ),
        (
            server is not None and (output_path or logs),
            "--output and --from-logs take no --server: a table of any number of files is"
            " made from the model itself",
        ),
        (
            logs and (files or model or run_name or output_path is None),
            "--from-logs takes --output, and neither files nor a model",
        ),
        (
            output_path is None and (is_forced or is_plain),
            "--force and --plain belong to --output",
        ),
        (run_name and model, "--model and --run both name a model; give one"),
    ):
        if is_wrong:
            raise click.UsageError(message)
    if logs is not None and output_path is not None:
        return batch.convert_logs(logs, output_path, top=top, replaces=is_forced)
    truth: dict[str, str] = {}
    if run_name is not None:
        model, truth = _of_run(root, run_name, server)
        files = files or tuple(truth)
    if not files:
        raise click.UsageError("give image files, or --run for its samples")
    if output_path is not None and not is_explained:
        return batch.run(
            files,
            output_path,
            root=root,
            model=model,
            top=top,
            engine=settings.engine(engine, engine_options),
            replaces=is_forced,
            is_plain=is_plain,
        )
    count = len(files)
    files, refused = _readable(files, is_decoded=server is None)
    if not files:
        raise next(iter(refused.values()))
    if is_explained and len(files) > MAX_EXPLAINED:
        raise errors.ConfigError(
            f"--explain draws at most {MAX_EXPLAINED} images",
            found=f"{len(files)} files",
        )
    if server is not None:
        about, predictions = _ask(server, model, files, top, ca_file, deadline_seconds)
    else:
        loaded, predictions, explanations = _predict(
            root, model, files, top, is_explained=is_explained
        )
        about = {"model": str(loaded.folder), "labels": list(loaded.labels)}
    text = _table(files, predictions, truth, top)
    if is_explained:
        picture = output_path or pathlib.Path(EXPLANATION_FILE)
        # The pictures of the report and matplotlib are not needed elsewhere.
        with capture.discard(), output.writing(picture):
            from slimline.terminal import explanation

            explanation.draw(explanations, files, truth, picture)
        about["picture"] = str(picture)
        text += f"\n{output.short_path(str(picture))}"
    document = {
        **about,
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
        "unreadable": [
            {"file": file, "reason": error.message} for file, error in refused.items()
        ],
    }
    failure = None
    if refused:
        failure = errors.DataError(
            f"{len(refused)} of {count} files got no answer",
            found="; ".join(error.message for error in refused.values()),
        )
    return output.Result(text, document, failure)


def _table(
    files: Sequence[str],
    predictions: "Sequence[Prediction]",
    truth: Mapping[str, str],
    top: int,
) -> str:
    """A line a file; the column of true classes only where some are known."""
    rows = [
        {
            "file": file,
            **({"true": truth.get(file, "")} if truth else {}),
            "class": prediction.label,
            "score": f"{prediction.score:.3f}",
            "next" if top > 1 else "": "  ".join(
                f"{label} {score:.3f}" for label, score in prediction.top[1:]
            ),
        }
        for file, prediction in zip(files, predictions, strict=True)
    ]
    return output.table(rows)


def _readable(
    files: Sequence[str], *, is_decoded: bool
) -> tuple[tuple[str, ...], dict[str, errors.SlimlineError]]:
    """The files that hold an image, and an error for each of the others.

    Args:
      files: as given.
      is_decoded: False leaves it to a server to find damaged pixels.
    """
    readable: list[str] = []
    refused: dict[str, errors.SlimlineError] = {}
    with capture.discard():  # TensorFlow prints while it loads
        from serving import encoding

        for file in files:
            if pathlib.Path(file).is_dir():
                refused[file] = errors.ConfigError(
                    f"{file} is a folder",
                    expected="image files",
                    tip=f"{file}/*.png; --output NAME.csv takes a folder and writes a"
                    " table",
                )
                continue
            try:
                encoding.encode(file, file, is_decoded=is_decoded)
                readable.append(file)
            except errors.DataError as error:
                refused[file] = error
    return tuple(readable), refused


def _predict(
    root: pathlib.Path,
    model: str | None,
    files: Sequence[str],
    top: int,
    *,
    is_explained: bool,
) -> "tuple[LocalModel, list[Prediction], list[Explanation]]":
    """The model, a prediction a file, and where `is_explained` an explanation a file."""
    from serving import local_model

    folder = local_model.find_model(root, model)
    with display.working("predict", f" with {folder}"):
        loaded = local_model.LocalModel.load(folder)
        predictions = loaded.predict(files, top=top)
        explanations: list[Explanation] = []
        if is_explained:
            from serving import encoding
            from trainer import explaining

            encoded = [encoding.encode(file, file) for file in files]
            labels = [prediction.label for prediction in predictions]
            explanations = explaining.explain(loaded.folder, encoded, labels)
    return loaded, predictions, explanations


def _check_explain(server: str | None, output_path: pathlib.Path | None) -> None:
    """Refuses what contradicts --explain.

    Raises:
      ConfigError: --server, or an output that is no PNG.
    """
    if server is not None:
        raise errors.ConfigError(
            "--explain takes no --server: a server answers with classes, not with what"
            " happens inside the net",
            tip="give the model itself: --run RUN or --model PATH in place of --server",
        )
    if output_path is not None and output_path.suffix.lower() != ".png":
        raise errors.ConfigError(
            "--explain draws a PNG",
            found=f"--output {output_path}",
            expected="--output NAME.png",
            tip="leave --explain away for a table",
        )


def _ask(
    server: str,
    model: str | None,
    files: Sequence[str],
    top: int,
    ca_file: str | None,
    deadline_seconds: float | None,
) -> "tuple[dict[str, Any], list[Prediction]]":
    """The server, its model with versions and labels, and a prediction a file."""
    from serving import client

    token = os.environ.get("SLIMLINE_SERVER_TOKEN", "")
    seconds = deadline_seconds or client.DEADLINE_SECONDS
    # gRPC prints to standard error, and so does TensorFlow, which decodes an image that the
    # server refused.
    with (
        capture.discard(),
        client.Client(
            server, model, token=token, ca_file=ca_file or "", deadline_seconds=seconds
        ) as asked,
    ):
        answer = asked.ask(files, top=top)
        about = {
            "server": asked.address,
            "model": asked.model,
            "versions": list(answer.versions),
            "labels": list(answer.labels),
        }
    return about, answer.predictions


def _of_run(
    root: pathlib.Path, run_name: str, server: str | None
) -> tuple[str, dict[str, str]]:
    """Folder of a run's model, or its name for a server; sample images by true class.

    Raises:
      ConfigError: there is no such run, or a server is asked for a model that was not
        pushed.
    """
    folder = runs.find(root, run_name)
    summary = runs.read_summary(folder)
    model = runs.model_folder(folder)
    samples = {
        output.short_path(path): true for path, true in summary["sample_images"].items()
    }
    if summary["pushed_path"]:
        return "@".join(model.parts[-2:]) if server else str(model), samples
    if server:
        raise errors.ConfigError(
            f"run '{run_name}' pushed no model: no server has it",
            tip="without --server this command loads the model itself",
        )
    output.note(f"run '{run_name}' pushed no model: not served")
    return str(model), samples
