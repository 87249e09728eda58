"""Progress line of the baseline."""

from components.baseline_model.component import VERSION_PROPERTY
from components.nodes import Node, Outcome, Outputs, only


def describe(outputs: Outputs) -> Outcome:
    """'version 7', or 'none yet'."""
    artifact = only(outputs, "baseline_model")
    version = artifact.get_string_custom_property(VERSION_PROPERTY)
    return Outcome(f"version {version}" if version else "none yet")


NODE = Node(describe=describe)
