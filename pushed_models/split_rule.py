"""By what rule images are kept for test, and which models may have seen them all the same.

Ingest writes the rule down, the Trainer puts it into the model (`signatures`), and the gate
holds that of the live model against that of the images it is measured on.
"""

import dataclasses
import json
import pathlib

from pushed_models import signatures
from storage import manifest

# 1 cut the n-th smallest hashes of a class, so that new images moved old ones.
VERSION = 2


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """What decides whether an image is in test, beside its own content.

    Attributes:
      test_fraction: share of train that is cut for test; 0 where the data bring a test.
      seed: of the draw. group_by: what stays together, as in `data.group_by`.
      version: of the rule.
    """

    test_fraction: float
    seed: int = 0
    group_by: str = ""
    version: int = VERSION

    def to_json(self) -> str:
        """A text that an artifact's property can carry."""
        return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> SplitRule | None:
    """The rule in a text of `to_json`; None where it holds none that is known here."""
    try:
        return SplitRule(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


def of_model(folder: pathlib.Path) -> SplitRule | None:
    """The rule that a SavedModel brings along; None where it brings none."""
    file = folder / manifest.EXTRA_FOLDER / signatures.SPLIT_RULE_FILE
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def why_seen(trained: SplitRule | None, tested: SplitRule | None) -> str:
    """Why a model may have been trained on test images, or ''.

    Args:
      trained: rule of the model's training data; None where it is unknown, as for models
        of releases that did not write it down.
      tested: rule of the images that it is measured on.
    """
    if tested is None or not tested.test_fraction:
        return ""  # an official test set is the same for all
    if trained is None:
        return "its splits were cut by an older rule, or by an unknown one"
    # With a larger share of test, all of the smaller one was kept for test, too.
    same_draw = dataclasses.replace(tested, test_fraction=trained.test_fraction)
    if trained == same_draw and trained.test_fraction >= tested.test_fraction:
        return ""
    changes = [
        f"{name} {before!r} then, {now!r} now"
        for name, now in dataclasses.asdict(tested).items()
        if (before := getattr(trained, name)) != now
    ]
    return f"its splits were cut by other settings: {', '.join(changes)}"
