"""One evaluation: MODEL EXAMPLES [BASELINE]; prints its times and metrics as JSON."""

import functools
import json
import pathlib
import sys
import tempfile
import time

import apache_beam as beam
from tfx.types import artifact_utils, standard_artifacts

from components.model_evaluator import analysis, component, gate, verdict
from pipeline import engines
from schema import features, signatures


def main(model: str, examples: str, baseline: str = "") -> None:
    """Imports are over when the clock starts; the models load within."""
    artifact = standard_artifacts.Examples()
    artifact.uri = examples
    artifact.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    labels = pathlib.Path(model, "assets", signatures.LABELS_ASSET)
    settings = analysis.Settings(tuple(labels.read_text("utf-8").splitlines()))
    models = {analysis.CANDIDATE: model}
    if baseline:
        models[analysis.BASELINE] = baseline
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        analysis.run(
            functools.partial(component._read, [artifact], features.TEST),
            models,
            settings,
            pathlib.Path(folder),
            lambda: beam.Pipeline(argv=engines.local()),
        )
        measured = verdict.measure(folder, settings, "0" if baseline else None)
        verdict.write(folder, measured, gate.Limits())
        times = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
        }
    print(json.dumps({**times, "metrics": measured["metrics"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
