"""What the gate and the check of the served model say, a sentence a rule."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rule:
    """The outcome of one rule.

    Attributes:
      name: of the rule; as the setting that holds its limit, where one does.
      sentence: with the figures.
      is_kept: False speaks against the model.
      figure: what was measured, None where nothing could be.
      limit: what it was compared with, or None.
      baseline: figure of the baseline, where the rule looks at one.
    """

    name: str
    sentence: str
    is_kept: bool
    figure: float | None = None
    limit: float | None = None
    baseline: float | None = None
