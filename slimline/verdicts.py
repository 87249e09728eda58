"""The verdict on the model of a run, a line per rule."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.model_evaluator import gate
from pipeline.runs import runs

REFUSED = "was refused by the gate"


@dataclasses.dataclass(frozen=True, repr=False)
class Verdict:
    """Why the model of a run passed or was refused.

    Attributes:
      folder: of the run.
      summary: a `pipeline.runs.summary.Summary` as JSON.
    """

    folder: pathlib.Path
    summary: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the model may be served."""
        return self.summary["passed"]

    @property
    def rules(self) -> Sequence[Mapping[str, Any]]:
        """Those of the gate, then those of the check of the served model."""
        return [*self.summary.get("rules", ()), *self.summary.get("infra_rules", ())]

    def lines(
        self, paint: Callable[[str, str], str] = lambda text, colour: text
    ) -> list[str]:
        """The verdict, its rules, warnings and what was pushed; `paint` adds colours."""
        summary, marks = self.summary, (paint("✗", "red"), paint("✓", "green"))
        verdict = outcome(
            summary["passed"],
            summary.get("refusals", ()),
            # Missing in runs from before the check of the served model.
            summary.get("infra_refusals", ()),
        )
        lines = [f"{runs.two_words(self.folder)} ({summary['experiment']}) {verdict}"]
        if base := summary.get("base"):
            earlier = runs.two_words(pathlib.Path(base))
            lines.append(f"  ran {summary['part']}; the rest is from {earlier}")
        if "rules" not in summary:
            # Runs from before rules were kept one by one.
            lines += [f"  {sentence}" for sentence in summary["verdict"]]
        lines += [
            f"  {marks[rule['is_kept']]} {rule['sentence']}" for rule in self.rules
        ]
        lines += [f"  ! {sentence}" for sentence in summary.get("findings", ())]
        if summary.get("is_gate_open"):
            lines.append(f"  {paint(f'gate {gate.OPEN}', 'red')}")
        if version := summary.get("pushed_version"):
            return [*lines, f"version {version} was pushed"]
        if baseline := summary.get("baseline_version"):
            return [*lines, f"nothing was pushed, version {baseline} stayed live"]
        return [*lines, "nothing was pushed"]

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def of_run(root: pathlib.Path, wanted: str | pathlib.Path) -> Verdict:
    """The verdict on the model of a run, given as `runs.find` takes it.

    Raises:
      ConfigError: there is no such run, or it did not finish.
    """
    folder = runs.find(root, wanted)
    return Verdict(folder, runs.read_summary(folder))


def outcome(
    passed: bool, refusals: Sequence[str], infra_refusals: Sequence[str]
) -> str:
    """The verdict in words; a refusal by the gate takes precedence over the other check's."""
    if passed:
        return "passed"
    if infra_refusals and not refusals:
        return "failed the check of the served model"
    return REFUSED
