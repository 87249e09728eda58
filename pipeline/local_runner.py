"""The pipeline for the stock `tfx` command, on this machine.

    tfx pipeline create --engine=local --pipeline_path=$PWD/pipeline/local_runner.py
    tfx run create --engine=local --pipeline_name=digits-resnet-20-digits

`SLIMLINE_EXPERIMENT`, `SLIMLINE_ROOT` and `SLIMLINE_TINY` choose experiment and folder,
`SLIMLINE_<SECTION>__<KEY>` the settings. They are read at `create`, which compiles the pipeline.
"""

import os
import pathlib

from tfx.orchestration.local import local_dag_runner

from common.errors import ConfigError
from pipeline import execution, experiments, inputs, settings
from pipeline.beam import engines
from storage import remote


def main() -> None:
    """Runs the experiment that the environment names."""
    resolved = settings.resolve(
        os.environ.get("SLIMLINE_EXPERIMENT", experiments.DEFAULT),
        is_tiny=os.environ.get("SLIMLINE_TINY", "") not in ("", "0"),
    )
    given = os.environ.get("SLIMLINE_ROOT", "runs")
    if remote.is_uri(given):
        raise ConfigError(
            "the stock tfx command cannot write to an object store",
            found=f"SLIMLINE_ROOT={given}",
            expected="a folder",
            tip="slimline run --root takes it",
        )
    root = pathlib.Path(given).resolve()
    root.mkdir(parents=True, exist_ok=True)
    found = inputs.resolve(resolved.config, root)
    engines.check(resolved.config.engine)
    with engines.started(resolved.config.engine):
        local_dag_runner.LocalDagRunner().run(
            execution.create_pipeline(resolved.config, found, root)
        )


if __name__ == "__main__":
    main()
