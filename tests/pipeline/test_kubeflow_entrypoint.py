"""Specs that were compiled before the entry point moved run in newer images."""

import subprocess
import sys

from pipeline import kubeflow_entrypoint


def test_the_old_command_takes_the_same_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", kubeflow_entrypoint.__name__, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--json_serialized_invocation_args" in done.stdout
