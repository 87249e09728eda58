"""The settings of a run, from its folder."""

import dataclasses
import json
import pathlib
from typing import Any

from common import run_files
from trainer.config import flatten


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Attributes:
      key: dotted.
      value: as JSON gives it.
      origin: 'default', 'experiment', '--set' and so on; '' where it is unknown.
    """

    key: str
    value: Any
    origin: str


def read(folder: pathlib.Path) -> tuple[Setting, ...]:
    """All settings of a run or a member of a sweep, sorted; none where they are gone."""
    member = folder / run_files.MEMBER_SETTINGS_FILE
    try:
        if member.is_file():
            values = flatten(json.loads(member.read_text(encoding="utf-8")))
            return tuple(Setting(key, values[key], "") for key in sorted(values))
        path = folder / run_files.CONFIG_FILE
        record = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        return ()
    return tuple(
        Setting(key, entry["value"], entry["origin"])
        for key, entry in sorted(record.items())
    )


def values(folder: pathlib.Path) -> dict[str, Any]:
    """Dotted key -> value of the settings that `read` gives."""
    return {setting.key: setting.value for setting in read(folder)}
