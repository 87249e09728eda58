"""slimline predict: classes of image files from a pushed model."""

import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from pipeline.runs import runs
from slimline import capture, errors, session
from slimline.terminal import batch, options, output

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
    help="Certificates (PEM) of the authorities that may vouch for --server.",
)
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long --server has for each batch of 64 images, with repeated attempts; 30 by"
    " default.",
)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    help="Take the model of RUN ('latest' is one), also one that was refused, and, without FILES, classify"
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
@click.option(
    "--output",
    "output_path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    metavar="NAME.csv|NAME.jsonl|NAME.png",
    help="Write the classes of any number of files there, a row an image, sorted by path."
    " FILES may be folders, quoted patterns ('photos/**/*.jpg') and lists (NAME.txt, a path"
    " a line) then. What was broken off goes on with the same command. With --explain, the"
    f" picture to write, {EXPLANATION_FILE} by default.",
)
@click.option(
    "--explain",
    "is_explained",
    is_flag=True,
    help="Draw into a PNG where in each image the evidence for its class lies, as a heat"
    " map over what the net sees.",
)
@options.engine_options
@click.option(
    "--force",
    "is_forced",
    is_flag=True,
    help="Replace an existing output, once the new one is whole.",
)
@click.option(
    "--from-logs",
    "logs",
    type=click.Path(path_type=pathlib.Path),
    metavar="FOLDER",
    help="Take the answers from the PredictionLogs of BulkInferrer or TensorFlow Serving in"
    " FOLDER, in place of FILES and a model.",
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
    them, with a picture of what the net looked at.
    """
    if server is None and (ca_file or deadline_seconds):
        raise click.UsageError("--ca-file and --deadline belong to --server")
    if is_explained:
        _check_explain(server, logs, output_path, is_forced=is_forced or is_plain)
    if server is not None and (output_path or logs):
        raise click.UsageError(
            "--output and --from-logs take no --server: a table of any number of files is"
            " made from the model itself"
        )
    if logs is not None:
        if files or model or run_name or output_path is None:
            raise click.UsageError(
                "--from-logs takes --output, and neither files nor a model"
            )
        return batch.convert_logs(
            logs,
            output_path,
            top=top,
            replaces=is_forced,
        )
    if output_path is None and (is_forced or is_plain):
        raise click.UsageError("--force and --plain belong to --output")
    truth: dict[str, str] = {}
    is_served = True
    if run_name is not None:
        if model is not None:
            raise click.UsageError("--model and --run both name a model; give one")
        model, truth, is_served = _of_run(root, run_name)
        if not is_served and not output.is_quiet():
            click.echo(f"run '{run_name}' pushed no model: not served", err=True)
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
    given, (files, refused) = files, _readable(files, is_decoded=server is None)
    if not files:
        raise next(iter(refused.values()))
    if is_explained and len(files) > MAX_EXPLAINED:
        raise errors.ConfigError(
            f"--explain draws at most {MAX_EXPLAINED} images",
            found=f"{len(files)} files",
        )
    if server is not None:
        if run_name is not None and model is not None and not is_served:
            raise errors.ConfigError(
                f"run '{run_name}' pushed no model: no server has it",
                tip="without --server its model is looked at here",
            )
        if run_name is not None and model is not None:
            # The folder of a version; its server knows it by name and number.
            model = "@".join(pathlib.Path(model).parts[-2:])
        about, predictions = _ask(server, model, files, top, ca_file, deadline_seconds)
    else:
        loaded, predictions, explanations = _predict(
            root, model, files, top, is_explained=is_explained
        )
        about = {"model": str(loaded.folder), "labels": list(loaded.labels)}
    if is_explained:
        picture = output_path or pathlib.Path(EXPLANATION_FILE)
        # The pictures of the report and matplotlib are not needed elsewhere.
        with capture.discard(), output.writing(picture):
            from slimline.terminal import explanation

            explanation.draw(explanations, files, truth, picture)
        about["picture"] = str(picture)
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
    if is_explained:
        text += f"\n{output.short_path(str(picture))}"
    return output.Result(text, document, _failure(refused, len(given)))


def _readable(
    files: Sequence[str], *, is_decoded: bool
) -> tuple[tuple[str, ...], dict[str, errors.SlimlineError]]:
    """The files that a model can be asked about, and why it cannot about the others.

    Args:
      files: as given.
      is_decoded: False leaves damaged pixels to a server.
    """
    readable: list[str] = []
    refused: dict[str, errors.SlimlineError] = {}
    with capture.discard():  # TensorFlow speaks while it loads
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
                if not pathlib.Path(file).exists():
                    raise errors.DataError(
                        f"cannot read image {file}: there is no such file"
                    )
                encoding.encode(file, file, is_decoded=is_decoded)
                readable.append(file)
            except errors.DataError as error:
                refused[file] = error
    return tuple(readable), refused


def _failure(
    refused: Mapping[str, errors.SlimlineError], count: int
) -> errors.DataError | None:
    """The error behind the answers, where some of the files got none."""
    if not refused:
        return None
    return errors.DataError(
        f"{len(refused)} of {count} files got no answer",
        found="; ".join(error.message for error in refused.values()),
    )


def _predict(
    root: pathlib.Path,
    model: str | None,
    files: Sequence[str],
    top: int,
    *,
    is_explained: bool,
) -> "tuple[LocalModel, list[Prediction], list[Explanation]]":
    """Loads and asks the model; what TensorFlow says meanwhile is for failures only.

    Returns:
      The model, a prediction a file, and where asked for an explanation a file.
    """
    folder: pathlib.Path | None = None
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log.txt"
        try:
            with capture.capture(log):
                # TensorFlow speaks while it loads, too.
                from serving import local_model

                folder = local_model.find_model(root, model)
                loaded = local_model.LocalModel.load(folder)
                predictions = loaded.predict(files, top=top)
                explanations: list[Explanation] = []
                if is_explained:
                    explanations = _explain(loaded.folder, files, predictions)
                return loaded, predictions, explanations
        except errors.SlimlineError:
            raise
        except Exception as error:
            broken = errors.RunError(
                f"cannot predict with {folder or model}: {type(error).__name__}: {error}"
            )
            broken.log_lines = session.last_lines(log)
            raise broken from error


def _explain(
    folder: pathlib.Path, files: Sequence[str], predictions: "Sequence[Prediction]"
) -> "list[Explanation]":
    from serving import encoding
    from trainer import explaining

    return explaining.explain(
        folder,
        [encoding.encode(file, file) for file in files],
        [prediction.label for prediction in predictions],
    )


def _check_explain(
    server: str | None,
    logs: pathlib.Path | None,
    output_path: pathlib.Path | None,
    *,
    is_forced: bool,
) -> None:
    """Refuses what --explain cannot go with.

    Raises:
      ConfigError: --server, or an output that is no PNG.
      UsageError: options of the table of any number of files.
    """
    if server is not None:
        raise errors.ConfigError(
            "--explain takes no --server: a server answers with classes, not with what"
            " happens inside the net",
            tip="give the model itself: --run RUN or --model PATH in place of --server",
        )
    if logs is not None or is_forced:
        raise click.UsageError("--explain takes no --from-logs, --force or --plain")
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
    """What a server says, and which model and versions of it."""
    from serving import client

    token = os.environ.get("SLIMLINE_SERVER_TOKEN", "")
    seconds = deadline_seconds or client.DEADLINE_SECONDS
    # gRPC writes its troubles to standard error, and so does TensorFlow, where an image that
    # the server refused is looked at.
    with (
        capture.discard(),
        client.Client(
            server,
            model,
            token=token,
            ca_file=ca_file or "",
            deadline_seconds=seconds,
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


def _row(
    file: str, true: str, best: str, score: str, others: str, truth: dict[str, str]
) -> tuple[str, ...]:
    """A line of the table; the column of true classes only where some are known."""
    return (file, *([true] if truth else []), best, score, others)


def _of_run(root: pathlib.Path, run_name: str) -> tuple[str, dict[str, str], bool]:
    """Folder of a run's model, its sample images by true class, whether it was pushed."""
    folder = runs.find(root, run_name)
    summary = runs.read_summary(folder)
    samples = summary["sample_images"].items()
    return (
        str(runs.model_folder(folder)),
        {output.short_path(path): true for path, true in samples},
        bool(summary["pushed_path"]),
    )
