"""slimline why: the verdict on the model of a run, a line per rule."""

import pathlib

import click

from slimline import verdicts
from slimline.terminal import options, output


@click.command(short_help="Say why the gate passed or refused a model.")
@options.run_argument
@options.root_option
@options.output_options
def command(run_name: str, root: pathlib.Path) -> output.Result:
    """Say why the model of RUN passed or was refused, the newest run by default.

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
    return output.Result("\n".join(verdict.lines(output.paint)), document)
