"""The model, and the version of it, that a request names."""

import dataclasses
import re

from common.errors import ConfigError

# '/' and ':' would end the name in a path of the REST interface.
_SPEC = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]+)(@(?P<version>[0-9]{1,19})|:(?P<label>[A-Za-z0-9_.-]+))?"
)
MAX_VERSION = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model of a server; without version and label the server chooses the version."""

    name: str  # of the model
    version: int | None = None  # that has to answer, or None
    label: str | None = None  # of the version that has to answer, or None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}@{self.version}"
        return f"{self.name}:{self.label}" if self.label else self.name


def parse(text: str) -> ModelSpec:
    """The model of 'NAME', 'NAME@VERSION' or 'NAME:LABEL'.

    Raises:
      ConfigError: the text has another form.
    """
    match = _SPEC.fullmatch(text)
    version = int(match["version"]) if match and match["version"] else None
    if match is None or (version or 0) > MAX_VERSION:
        raise ConfigError(
            f"'{text}' does not name a model of a server",
            expected="NAME, NAME@VERSION or NAME:LABEL, like cifar10, cifar10@6 or"
            " cifar10:canary",
        )
    return ModelSpec(match["name"], version, match["label"])
