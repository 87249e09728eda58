"""Where a model came from: its executions, each with a sentence."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from pipeline.runs import runs

if TYPE_CHECKING:
    from pipeline.runs.lineage import Step

_WIDTH = 10


@dataclasses.dataclass(frozen=True, repr=False)
class Lineage:
    """All that led to a run or a version, earliest first.

    Attributes:
      target: what it is of, as 'digits@17'.
      steps: executions of components.
      sentences: what each of them did.
    """

    target: str
    steps: "tuple[Step, ...]"
    sentences: tuple[str, ...]

    def __repr__(self) -> str:
        rows = zip(self.steps, self.sentences, strict=True)
        lines = [
            f"{step.component:<{_WIDTH}} {text or f'finished {step.finished}'}"
            for step, text in rows
        ]
        return "\n".join([self.target, *lines])


def of_target(root: pathlib.Path, target: str | pathlib.Path) -> Lineage:
    """The lineage of a run, NAME@VERSION, or the folder of a version or run.

    Raises:
      ConfigError: there is no such target, or nothing is known of it.
    """
    from pipeline.runs import model_card

    title, steps = _find(root, target)
    return Lineage(title, steps, tuple(map(model_card.sentence, steps)))


def _find(
    root: pathlib.Path, target: str | pathlib.Path
) -> "tuple[str, tuple[Step, ...]]":
    from pipeline.runs import lineage
    from serving import local_model

    is_run = isinstance(target, pathlib.Path) and runs.is_run(target)
    if not is_run and ("@" in str(target) or pathlib.Path(target).is_dir()):
        folder = local_model.find_model(root, str(target))
        return f"{folder.parent.name}@{folder.name}", lineage.of_version(root, folder)
    folder = runs.find(root, target)
    artifacts = runs.read_summary(folder)["artifacts"]
    uris = [
        uri
        for outputs in artifacts.values()
        for found in outputs.values()
        for uri in found
    ]
    return folder.name, lineage.of_artifacts(root, uris)
