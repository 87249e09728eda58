"""The pipeline for the stock `tfx` command on this machine.

    tfx pipeline create --engine=local --pipeline_path=pipeline/local_runner.py
    tfx run create --engine=local --pipeline_name=digits-resnet-20-digits

The variables of `pipeline.tfx_command` and SLIMLINE_ROOT, the folder of runs and models, say
what is run. Their values at `create` hold: `create` writes them into a runner file of the
pipeline's own, in `<root>/runners`, which `run create` starts. The run is `slimline run`.
"""

import hashlib
import os
import pathlib
import pprint
import sys
from collections.abc import Mapping
from typing import NoReturn

from tfx.orchestration.local import local_dag_runner
from tfx.tools.cli import labels

from common.errors import ConfigError
from pipeline import execution, inputs, tfx_command
from pipeline.beam import engines
from storage import durable, remote

RUNNERS_FOLDER = "runners"
_RUNNER = '''\
"""Pipeline {name} as `tfx pipeline create` found it; `tfx run create` starts this file."""

from pipeline import local_runner

local_runner.run(
    {folder!r},
    {variables},
)
'''
_SLIMLINE = "import sys; from slimline.cli.main import main; sys.exit(main())"


def main() -> None:
    """Gives the `tfx` command the pipeline; started by itself, runs it."""
    with tfx_command.calling("local") as (verb, flags):
        variables = {
            name: value
            for name, value in sorted(os.environ.items())
            if tfx_command.is_setting(name)
        }
        if not verb:
            run(str(pathlib.Path.cwd()), variables)
        config = tfx_command.resolve().config
        given = os.environ.get(tfx_command.ROOT, "runs")
        if remote.is_uri(given):
            raise ConfigError(
                "the stock tfx command keeps no runs in an object store",
                found=f"{tfx_command.ROOT}={given}",
                expected="a folder",
                tip="slimline run --root takes it",
            )
        root = pathlib.Path(given).resolve()
        root.mkdir(parents=True, exist_ok=True)
        found = inputs.resolve(config, root)
        engines.check(config.engine)
        # The command only takes name and root from it.
        local_dag_runner.LocalDagRunner().run(
            execution.create_pipeline(config, found, root)
        )
        if verb != "compile":
            variables[tfx_command.ROOT] = str(root)
            flags[labels.PIPELINE_DSL_PATH] = _write(found.identity, root, variables)


def run(folder: str, variables: Mapping[str, str]) -> NoReturn:
    """Replaces this process by `slimline run`.

    Args:
      folder: to run in: relative paths and contracts are found there.
      variables: what is run, whatever the environment says.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not tfx_command.is_setting(name)
    }
    words = ["run", tfx_command.experiment(variables)]
    if data := variables.get(tfx_command.DATA):
        words += ["--data", data]
    if tfx_command.is_tiny(variables):
        words.append("--tiny")
    command = [sys.executable, "-P", "-c", _SLIMLINE, *words]
    os.chdir(folder)
    os.execve(command[0], command, environment | dict(variables))


def _write(name: str, root: pathlib.Path, variables: Mapping[str, str]) -> str:
    """Writes the runner file of a pipeline; its path.

    Files of other settings stay: a `create` that TFX refuses must not change a pipeline.
    """
    text = _RUNNER.format(
        name=name,
        folder=str(pathlib.Path.cwd()),
        variables=pprint.pformat(variables).replace("\n", "\n    "),
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = root / RUNNERS_FOLDER / f"{name}-{digest}.py"
    path.parent.mkdir(exist_ok=True)
    durable.write_text(path, text)
    return str(path)


if __name__ == "__main__":
    main()
