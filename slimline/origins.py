"""Where a model came from: its executions, each with a sentence."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from pipeline.runs import runs

if TYPE_CHECKING:
    from pipeline.runs.lineage import Step


@dataclasses.dataclass(frozen=True, repr=False)
class Lineage:
    """The executions that led to a run or a version, earliest first.

    Attributes:
      target: the run or version, as 'digits@17'.
      steps: executions of components.
      sentences: what each of them did.
    """

    target: str
    steps: "tuple[Step, ...]"
    sentences: tuple[str, ...]

    def __repr__(self) -> str:
        from pipeline.runs import lineage
        from slimline.terminal import output

        lines = [self.target]
        for step, sentence in zip(self.steps, self.sentences, strict=True):
            details = [sentence or f"finished {step.finished}"]
            if data := step.properties.get(lineage.DATA_FINGERPRINT):
                details.append(f"data {data}  {step.properties.get('input_path', '')}")
            if code := step.properties.get(lineage.SOURCE_FINGERPRINT):
                details.append(f"code {code}")
            for uri in step.outputs.values():
                gone = "" if pathlib.Path(uri).exists() else "  (gone)"
                details.append(f"{output.short_path(uri)}{gone}")
            lines += output.facts({step.component: f"\n{'':11}".join(details)}, 11)
        return "\n".join(lines)


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
