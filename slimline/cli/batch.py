"""slimline predict --output: a table of the classes of very many files."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.beam import engines
from pipeline.config import EngineConfig
from pipeline.runs import runs
from slimline import capture, errors, session
from slimline.cli import data_text, display, output

if TYPE_CHECKING:
    from serving.batch_inference.running import Result
    from serving.prediction_logs import Converted


def run(
    words: Sequence[str],
    path: pathlib.Path,
    *,
    root: pathlib.Path,
    model: str | None,
    top: int,
    engine: EngineConfig,
    replaces: bool,
    is_plain: bool,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Classifies what `words` mean into the table at `path`, and tells how it went."""
    engines.check(engine)
    with (
        _shown("predict", is_plain=is_plain, is_quiet=is_quiet),
        engines.started(engine),
    ):
        from serving import local_model
        from serving.batch_inference import running

        result = running.run(
            words,
            path,
            model_folder=local_model.find_model(root, model),
            beam_arguments=engines.arguments(engine),
            top=top,
            replaces=replaces,
        )
        summary = running.describe(result)
    document = dataclasses.asdict(result)
    text = "\n".join([_table(result.images_per_class), "", summary, *_files(result)])
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def convert_logs(
    folder: pathlib.Path,
    path: pathlib.Path,
    *,
    top: int,
    replaces: bool,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Writes the answers in PredictionLogs into the table at `path`."""
    with _shown("read the logs", is_plain=False, is_quiet=True):
        from serving import prediction_logs

        converted = prediction_logs.convert(folder, path, top=top, replaces=replaces)
    text = "\n".join([_table(converted.images_per_class), "", _told(converted)])
    document = dataclasses.asdict(converted)
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


@contextlib.contextmanager
def _shown(what: str, *, is_plain: bool, is_quiet: bool) -> Iterator[None]:
    """Shows what happens inside; what libraries say meanwhile is for failures only."""
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / runs.LOG_FILE
        try:
            with (
                capture.capture(log) as terminal,
                display.open_display(
                    terminal.stderr, is_plain=is_plain, is_quiet=is_quiet
                ) as screen,
                session.watched(log.parent, screen.event, logs_everything=False),
            ):
                yield
        except errors.SlimlineError:
            raise
        except Exception as error:
            first_line = (str(error).strip() or "no message").splitlines()[0]
            broken = errors.RunError(
                f"cannot {what}: {type(error).__name__}: {first_line[:300]}"
            )
            broken.log_lines = session.last_lines(log)
            raise broken from error


def _table(images_per_class: Mapping[str, int]) -> str:
    return data_text.class_table({"images": images_per_class}, list(images_per_class))


def _files(result: "Result") -> Iterator[str]:
    yield f"  rows        {output.short_path(result.output)}"
    if result.unreadable_file:
        yield f"  unreadable  {output.short_path(result.unreadable_file)}"


def _told(converted: "Converted") -> str:
    return f"{converted.images:,} images\n  rows  {output.short_path(converted.output)}"
