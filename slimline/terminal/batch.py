"""slimline predict --output: a table of the classes of very many files."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.beam import engines
from pipeline.config import EngineConfig
from slimline.terminal import data_text, display, output

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
) -> output.Result:
    """Classifies what `words` mean into the table at `path`, and tells how it went."""
    engines.check(engine)
    with (
        display.working("predict", is_plain=is_plain),
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
    return output.Result(text, document)


def convert_logs(
    folder: pathlib.Path,
    path: pathlib.Path,
    *,
    top: int,
    replaces: bool,
) -> output.Result:
    """Writes the answers in PredictionLogs into the table at `path`."""
    with display.working("read the logs", is_quiet=True):
        from serving import prediction_logs

        converted = prediction_logs.convert(folder, path, top=top, replaces=replaces)
    text = "\n".join([_table(converted.images_per_class), "", _told(converted)])
    document = dataclasses.asdict(converted)
    return output.Result(text, document)


def _table(images_per_class: Mapping[str, int]) -> str:
    return data_text.class_table({"images": images_per_class}, list(images_per_class))


def _files(result: "Result") -> Iterator[str]:
    yield f"  rows        {output.short_path(result.output)}"
    if result.unreadable_file:
        yield f"  unreadable  {output.short_path(result.unreadable_file)}"


def _told(converted: "Converted") -> str:
    return f"{converted.images:,} images\n  rows  {output.short_path(converted.output)}"
