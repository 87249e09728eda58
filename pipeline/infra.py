"""The section `infra` of the configuration."""

import shutil

from common.errors import ConfigError
from components.infra_check import rules
from pipeline.config import InfraConfig


def check(infra: InfraConfig) -> None:
    """Refuses a validator that cannot run here, and limits that it would not look at.

    Raises:
      ConfigError: TensorFlow Serving is asked for, and there is no Docker or a limit that
        it does not measure.
    """
    if infra.validator != rules.TF_SERVING:
        return
    tip = "--set infra.validator=process checks the model in a process of its own"
    if not shutil.which("docker"):
        raise ConfigError(
            f"setting 'infra.validator' is {rules.TF_SERVING}, which runs in Docker",
            found="no docker command",
            tip=tip,
        )
    for name in (rules.MAX_LATENCY_MS, rules.MAX_SIZE_MB):
        if getattr(infra, name):
            raise ConfigError(
                f"setting 'infra.{name}' has no effect with infra.validator={rules.TF_SERVING}",
                found=f"{getattr(infra, name):g}",
                expected="0, no limit",
                tip=tip,
            )
