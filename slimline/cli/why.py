"""slimline why: the verdict on the model of a run, a line a rule."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from components.model_evaluator import gate
from pipeline import runs
from slimline import errors
from slimline.cli import closing, options, output


@click.command(short_help="Say why the gate passed or refused a model.")
@options.run_argument
@options.root_option
@options.output_options
def command(run_name: str, root: pathlib.Path, is_json: bool, is_quiet: bool) -> int:
    """Say why the model of RUN was passed or refused, the newest run by default.

    RUN is a name, its two words, a prefix, latest:passed, or RUN/MEMBER of a sweep.
    """
    folder = runs.find(root, run_name)
    summary = runs.read_summary(folder)
    document = {
        "run": folder.name,
        "passed": summary["passed"],
        "rules": summary.get("rules", []),
        "infra_rules": summary.get("infra_rules", []),
        "findings": summary.get("findings", []),
        "pushed_version": summary.get("pushed_version"),
    }
    output.emit(describe(folder, summary), document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def describe(folder: pathlib.Path, summary: Mapping[str, Any]) -> str:
    """Verdict, rules and what followed, as lines."""
    words = runs.two_words(folder)
    # Runs from before the check of the served model had no say of it.
    verdict = closing.outcome(
        summary["passed"],
        summary.get("refusals", ()),
        summary.get("infra_refusals", ()),
    )
    lines = [f"{words} ({summary['experiment']}) {verdict}"]
    if base := summary.get("base"):
        earlier = runs.two_words(pathlib.Path(base))
        lines.append(f"  ran {summary['part']}; the rest is from {earlier}")
    lines += [_line(rule) for rule in summary.get("rules", ())]
    lines += [f"  ! {sentence}" for sentence in summary.get("findings", ())]
    if summary.get("is_gate_open"):
        lines.append(f"  {output.paint(f'gate {gate.OPEN}', 'red', sys.stdout)}")
    if "rules" not in summary:
        # Runs from before rules were kept one by one.
        lines += [f"  {sentence}" for sentence in summary["verdict"]]
    lines += [_line(rule) for rule in summary.get("infra_rules", ())]
    version, baseline = summary.get("pushed_version"), summary.get("baseline_version")
    if version:
        lines.append(f"version {version} was pushed")
    elif baseline:
        lines.append(f"nothing was pushed, version {baseline} stayed live")
    else:
        lines.append("nothing was pushed")
    return "\n".join(lines)


def _line(rule: Mapping[str, Any]) -> str:
    sign = (
        output.paint("✓", "green", sys.stdout)
        if rule["is_kept"]
        else output.paint("✗", "red", sys.stdout)
    )
    return f"  {sign} {rule['sentence']}"
