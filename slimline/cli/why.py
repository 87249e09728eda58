"""slimline why: the verdict on the model of a run, a line a rule."""

import pathlib
import sys

import click

from slimline import verdicts
from slimline.terminal import options, output


@click.command(short_help="Say why the gate passed or refused a model.")
@options.run_argument
@options.root_option
@options.output_options
def command(run_name: str, root: pathlib.Path) -> output.Result:
    """Say why the model of RUN was passed or refused, the newest run by default.

    RUN is a name, its two words, a prefix, latest:passed, or RUN/MEMBER of a sweep.
    """
    verdict = verdicts.of_run(root, run_name)
    summary = verdict.summary
    document = {
        "run": verdict.folder.name,
        "passed": summary["passed"],
        "rules": summary.get("rules", []),
        "infra_rules": summary.get("infra_rules", []),
        "findings": summary.get("findings", []),
        "pushed_version": summary.get("pushed_version"),
    }
    text = "\n".join(verdict.lines(_mark, _red))
    return output.Result(text, document)


def _mark(is_kept: bool) -> str:
    return output.paint("✓", "green", sys.stdout) if is_kept else _red("✗")


def _red(text: str) -> str:
    return output.paint(text, "red", sys.stdout)
