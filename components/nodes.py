"""What the pipeline knows of a component beside its channels: `NODE` in its `node.py`.

A module of its own, because a changed sentence must not change the fingerprint of the
component's code and run it again.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Takes seconds to load; commands read sentences without it.
    from tfx import types

Outputs = Mapping[str, Sequence["types.Artifact"]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The progress line of a finished component.

    Attributes:
      detail: a short sentence, or ''.
      is_good: False where a person should look, as at a refused model.
    """

    detail: str = ""
    is_good: bool = True


@dataclasses.dataclass(frozen=True)
class Node:
    """Settings and progress line of a component.

    Attributes:
      settings: sections or keys of the configuration that it reads.
      describe: outcome of the component from its output artifacts by channel.
    """

    settings: tuple[str, ...] = ()
    describe: Callable[[Outputs], Outcome] = lambda outputs: Outcome()

    def reads(self, key: str) -> bool:
        """Whether the component reads the setting `key`."""
        return any(key == name or key.startswith(f"{name}.") for name in self.settings)


def only(outputs: Outputs, channel: str) -> "types.Artifact":
    """The one artifact of a channel."""
    (artifact,) = outputs[channel]
    return artifact


def read_json(outputs: Outputs, channel: str, file: str) -> dict[str, Any]:
    """Content of a JSON file in the one artifact of a channel."""
    path = pathlib.Path(only(outputs, channel).uri) / file
    return json.loads(path.read_text(encoding="utf-8"))
