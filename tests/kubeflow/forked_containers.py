"""Containers as forks of one process that has loaded TFX, for runs that follow another.

Loading takes most of a small task's time. A fork has its own folder, environment and log,
and runs the same command; what it does not show is that the command starts from nothing.
"""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence

COMMAND = ["python", "-m"]


class ForkedContainers:
    """Starts commands of the form `python -m MODULE ...`; a context that ends them."""

    def __enter__(self) -> "ForkedContainers":
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def start(
        self,
        words: Sequence[str],
        folder: pathlib.Path,
        variables: Mapping[str, str],
        log: pathlib.Path,
    ) -> int:
        """Runs a command to its end; gives its exit code."""
        assert words[:2] == COMMAND
        asked = [words[2:], str(folder), dict(variables), str(log)]
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def serve() -> None:
    """Forks for each line of standard input, and writes the exit code."""
    from tfx.orchestration.kubeflow.v2.container import (  # noqa: F401
        kubeflow_v2_run_executor,
    )

    for line in sys.stdin:
        asked = json.loads(line)
        process = os.fork()
        if not process:
            become(*asked)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(words: list[str], folder: str, variables: dict[str, str], log: str) -> None:
    """Goes on as the container; does not return."""
    for name, mode, numbers in ((os.devnull, "rb", [0]), (log, "wb", [1, 2])):
        with pathlib.Path(name).open(mode) as file:
            for number in numbers:
                os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = list(words)
    code = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
