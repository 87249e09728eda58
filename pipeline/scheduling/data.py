"""The data that a run would train on now, and whether anybody has yet."""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
from typing import Protocol

from components.image_example_gen import spans
from pipeline import inputs
from pipeline.config import PipelineConfig
from schema.errors import DataError
from trainer.config import as_json


class NotSettled(Exception):
    """The newest data are still being written; `args[0]` says so."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
      name: in words, as 'span 7' or the path.
      key: equal where the data are: spans and versions, or the digest of all files.
      arrival: names the newest span and its version; '' where the path is no pattern.
      span: the newest one, None where the path is no pattern. version: of it.
    """

    name: str
    key: str
    arrival: str = ""
    span: int | None = None
    version: int | None = None


class Source(Protocol):
    """Where data come from."""

    def newest(self, now: datetime.datetime, last: int = spans.NEWEST) -> Data:
        """What a run would read.

        Args:
          now: the time.
          last: the newest span that counts; NEWEST sets no limit.

        Raises:
          ConfigError, DataError: there are none, or they cannot be read.
          NotSettled: they are still being written.
        """


class ConfiguredSource:
    """The data of an experiment."""

    def __init__(
        self, config: PipelineConfig, root: pathlib.Path, settle_seconds: float
    ):
        """Makes the source.

        Args:
          config: the experiment; `data.path` may be a pattern of spans.
          root: of the runs, for experiments that bring their own data.
          settle_seconds: a span that was written to within the last so many seconds is
            still on its way.
        """
        self._config = config
        self._root = root
        self._settle = datetime.timedelta(seconds=settle_seconds)

    def newest(self, now: datetime.datetime, last: int = spans.NEWEST) -> Data:
        """See base class."""
        config = self._config
        if last != spans.NEWEST:
            limited = dataclasses.replace(config.data, span=last)
            config = dataclasses.replace(config, data=limited)
        path = inputs.data_path(config, self._root)
        if not spans.is_pattern(path) and not path.exists():
            raise DataError(f"no data at {path}")
        found = inputs.find_data_sets(config, path)
        newest = found[-1]
        self._check_settled(newest, now)
        if newest.span is None:
            return Data(str(path), inputs.fingerprint_of(found))
        name = newest.name
        if len(found) > 1:
            earlier = ", ".join(
                spans.label(data.span or 0, is_dated=data.is_dated)
                for data in found[:-1]
            )
            name += f" with {earlier}"
        return Data(name, spans.pin(found), newest.name, newest.span, newest.version)

    def _check_settled(self, data: spans.DataSet, now: datetime.datetime) -> None:
        if not self._settle:
            return
        written = datetime.datetime.fromtimestamp(_last_write(data.path), datetime.UTC)
        # A time ahead of ours is that of another clock.
        if datetime.timedelta() <= now - written < self._settle:
            raise NotSettled(
                f"{data.name or data.path} was written to"
                f" {(now - written).total_seconds():.0f} s ago"
            )


def settings_key(config: PipelineConfig) -> str:
    """Digest of all settings but those that say which span is read."""
    data = dataclasses.replace(config.data, span=spans.NEWEST)
    text = json.dumps(as_json(dataclasses.replace(config, data=data)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _last_write(path: pathlib.Path) -> float:
    """Seconds since 1970 of the last change to a file or folder at or below `path`."""
    newest = path.stat().st_mtime
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                newest = max(newest, (pathlib.Path(folder) / name).stat().st_mtime)
            except FileNotFoundError:
                continue  # renamed or removed meanwhile
    return newest
