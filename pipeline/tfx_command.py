"""What the runner files share: the `tfx` command that imports them, and its environment.

    SLIMLINE_EXPERIMENT           'digits_resnet_20'
    SLIMLINE_DATA                 folder or archive of the images
    SLIMLINE_TINY                 1 for the smallest form of the experiment
    SLIMLINE_<SECTION>__<KEY>     a setting, as SLIMLINE_TRAIN__EPOCHS=30

TFX 1.16 crashes with `--engine=kubeflow`, and without `--engine` (`auto`) where kfp is
installed, before it reads a runner file. Type `slimline pipeline VERB --engine kubeflow`.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
from tfx.tools.cli import cli_context, labels

from common import errors
from pipeline import experiments, settings

EXPERIMENT = "SLIMLINE_EXPERIMENT"
DATA = "SLIMLINE_DATA"
ROOT = "SLIMLINE_ROOT"
TINY = "SLIMLINE_TINY"
# Engine -> what to type where another runner file was named.
_TIPS = {
    "local": "--pipeline_path=pipeline/local_runner.py",
    "vertex": "--pipeline_path=pipeline/vertex_runner.py",
    "airflow": "slimline pipeline create --engine airflow",
}


@contextlib.contextmanager
def calling(engine: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The `tfx` command that runs a runner file; errors inside end it with their sentence.

    Args:
      engine: that the runner file is for.

    Yields:
      The verb ('create', 'update' or 'compile') and the flags, which TFX reads again
      afterwards; '' and nothing where the file was started by itself.
    """
    context = click.get_current_context(silent=True)
    found = context.find_object(cli_context.Context) if context else None
    verb = str(context.info_name) if context and found else ""
    flags = found.flags_dict if found else {}
    with errors.of_a_command():
        try:
            if verb and (given := flags[labels.ENGINE_FLAG]) != engine:
                raise errors.ConfigError(
                    f"this runner file is for --engine={engine}",
                    found=f"--engine={given}",
                    tip=_TIPS.get(given, f"--engine={engine}"),
                )
            yield verb, flags
        except errors.SlimlineError as error:
            sys.exit(f"error: {error}")


def resolve(environment: Mapping[str, str] = os.environ) -> settings.Resolved:
    """The settings that the environment names.

    Raises:
      ConfigError: an unknown experiment or setting.
    """
    return settings.resolve(
        experiment(environment),
        environment=environment,
        data=environment.get(DATA) or None,
        is_tiny=is_tiny(environment),
    )


def experiment(environment: Mapping[str, str]) -> str:
    """Name of the experiment."""
    return environment.get(EXPERIMENT) or experiments.DEFAULT


def is_tiny(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for the smallest form of the experiment."""
    return environment.get(TINY, "") not in ("", "0")


def is_setting(variable: str) -> bool:
    """Whether an environment variable says what is run, and not who runs it or where."""
    own = (EXPERIMENT, DATA, ROOT, TINY)
    return variable in own or settings.is_variable(variable)
