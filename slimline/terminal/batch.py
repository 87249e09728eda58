"""slimline predict --output: a table of the classes of very many files."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
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
    """Classifies the files that `words` name into the table at `path`."""
    engines.check(engine)
    with display.working("predict", is_plain=is_plain), engines.started(engine):
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
    files = {"rows": result.output, "unreadable": result.unreadable_file}
    return _conclude(result, summary, files)


def convert_logs(
    folder: pathlib.Path, path: pathlib.Path, *, top: int, replaces: bool
) -> output.Result:
    """Writes the answers in PredictionLogs into the table at `path`."""
    with display.working("read logs"):
        from serving import prediction_logs

        converted = prediction_logs.convert(folder, path, top=top, replaces=replaces)
    summary = f"{converted.images:,} images"
    return _conclude(converted, summary, {"rows": converted.output})


def _conclude(
    made: "Result | Converted", summary: str, files: Mapping[str, str | None]
) -> output.Result:
    counts = made.images_per_class
    paths = {name: output.short_path(path) for name, path in files.items() if path}
    lines = [data_text.class_table({"images": counts}, list(counts)), "", summary]
    lines += output.facts(paths, 12, "  ")
    return output.Result("\n".join(lines), dataclasses.asdict(made))
