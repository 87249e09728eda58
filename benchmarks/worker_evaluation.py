"""One evaluation: MODEL EXAMPLES [BASELINE]; prints its times and metrics as JSON."""

import functools
import json
import pathlib
import sys
import tempfile
import time

import apache_beam as beam
from tfx.types import artifact_utils, standard_artifacts

from components.model_evaluator import analysis, classes, component, gate, verdict
from pipeline.beam import engines
from pushed_models import class_names
from schema import features


def main(model: str, examples: str, baseline: str = "") -> None:
    """Imports are over when the clock starts; the models load within."""
    artifact = standard_artifacts.Examples()
    artifact.uri = examples
    artifact.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    settings = analysis.Settings(class_names.of_model(pathlib.Path(model)))
    models, live = {analysis.CANDIDATE: model}, None
    if baseline:
        models[analysis.BASELINE] = baseline
        live = classes.Baseline("0", class_names.of_model(pathlib.Path(baseline)))
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        analysis.run(
            functools.partial(component._read, artifact, features.TEST),
            models,
            settings,
            pathlib.Path(folder),
            beam.Pipeline(argv=engines.local()),
            live.labels if live else (),
        )
        measured = verdict.measure(folder, settings, live)
        verdict.write(folder, measured, gate.Limits())
        times = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
        }
    print(json.dumps({**times, "metrics": measured["metrics"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
