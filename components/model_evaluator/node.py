"""Settings and progress line of the evaluation."""

from typing import Any

from components.model_evaluator import gate
from components.nodes import Node, Outcome, Outputs, read_json


def read(outputs: Outputs) -> dict[str, Any]:
    """Figures and verdict, as `verdict.write` wrote them."""
    return read_json(outputs, "evaluation", gate.VERDICT_FILE)


def describe(outputs: Outputs) -> Outcome:
    """'blessed: ' or 'refused: ', and the sentences of the rules that decided."""
    verdict = read(outputs)
    words = "blessed" if verdict["is_blessed"] else "refused"
    return Outcome(
        f"{words}: {'; '.join(verdict['refusals'] or verdict['sentences'])}",
        is_good=verdict["is_blessed"],
    )


NODE = Node(("evaluation",), describe)
