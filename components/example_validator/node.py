"""Settings and progress line of the check of the data."""

from components.example_validator.component import read_distances
from components.nodes import Node, Outcome, Outputs, only


def describe(outputs: Outputs) -> Outcome:
    """'the data keep their contract', with the largest distance from the live model's data."""
    measured = read_distances(only(outputs, "anomalies").uri)
    text = "the data keep their contract"
    if measured["distances"]:
        farthest = max(measured["distances"], key=lambda distance: distance["value"])
        text += f"; against version {measured['version']}: {farthest['sentence']}"
    return Outcome(text)


NODE = Node(
    (
        "data.max_drift",
        "data.max_label_drift",
        "data.max_skew",
        "data.max_imbalance",
    ),
    describe,
)
