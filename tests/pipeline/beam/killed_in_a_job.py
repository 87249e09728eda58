"""Runs a Beam job on the engine `portable` that does not end; its worker tells its pid."""

import os
import pathlib
import sys
import time

import apache_beam as beam
from apache_beam.options import pipeline_options

from pipeline.beam import engines
from pipeline.config import EngineConfig


def main(path: str) -> None:
    """Writes the pids of worker, pool and job service to `path`, and waits."""

    def wait(element: int) -> int:
        # Within: what a worker unpickles brings no imports of this script.
        lines = [f"worker {os.getpid()}", f"pool {os.getppid()}"]
        pathlib.Path(path).write_text("\n".join(lines))
        time.sleep(600)
        return element

    engine = EngineConfig(name="portable")
    options = pipeline_options.PipelineOptions(engines.arguments(engine))
    with engines.started(engine), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([0]) | beam.Map(wait)


if __name__ == "__main__":
    main(sys.argv[1])
