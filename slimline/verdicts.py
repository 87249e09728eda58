"""What became of the model of a run, a line a rule."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.model_evaluator import gate
from pipeline.runs import runs

REFUSED = "was refused by the gate"
_KEPT, _BROKEN = "✓", "✗"


@dataclasses.dataclass(frozen=True, repr=False)
class Verdict:
    """Why the model of a run was passed or refused.

    Attributes:
      folder: of the run.
      summary: as `pipeline.runs.summary.Summary`, as JSON gives it.
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
        self,
        mark: Callable[[bool], str] | None = None,
        paint_red: Callable[[str], str] = str,
    ) -> list[str]:
        """The verdict, its rules, warnings and what followed.

        Args:
          mark: sign of a rule that is kept (True) or broken.
          paint_red: gives a text in red, where there are colours.
        """
        summary = self.summary
        mark = mark or (lambda is_kept: _KEPT if is_kept else _BROKEN)
        verdict = outcome(
            summary["passed"],
            summary.get("refusals", ()),
            # Runs from before the check of the served model had no say of it.
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
            f"  {mark(rule['is_kept'])} {rule['sentence']}" for rule in self.rules
        ]
        lines += [f"  ! {sentence}" for sentence in summary.get("findings", ())]
        if summary.get("is_gate_open"):
            lines.append(f"  {paint_red(f'gate {gate.OPEN}')}")
        version = summary.get("pushed_version")
        baseline = summary.get("baseline_version")
        if version:
            lines.append(f"version {version} was pushed")
        elif baseline:
            lines.append(f"nothing was pushed, version {baseline} stayed live")
        else:
            lines.append("nothing was pushed")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def of_run(root: pathlib.Path, wanted: str | pathlib.Path) -> Verdict:
    """The verdict on the model of a run.

    Args:
      root: folder of the runs.
      wanted: as `runs.find` takes it.

    Raises:
      ConfigError: there is no such run, or it did not end.
    """
    folder = runs.find(root, wanted)
    return Verdict(folder, runs.read_summary(folder))


def outcome(
    passed: bool, refusals: Sequence[str], infra_refusals: Sequence[str]
) -> str:
    """What became of a model; a refusal by the gate goes before one by the other check."""
    if passed:
        return "passed"
    if infra_refusals and not refusals:
        return "failed the check of the served model"
    return REFUSED
