"""The data that a run would train on now, and whether anybody has yet."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib

from common.errors import DataError
from components.image_example_gen import spans
from pipeline import experiments, inputs
from pipeline.config import PipelineConfig
from pipeline.slots.rows import TryAgain
from trainer.config import as_json


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


def newest(
    config: PipelineConfig,
    root: pathlib.Path,
    settle_seconds: float,
    now: datetime.datetime,
    last: int = spans.NEWEST,
) -> Data:
    """What a run would read at a time.

    Args:
      config: the experiment; `data.path` may be a pattern of spans.
      root: of the runs, for experiments that bring their own data.
      settle_seconds: a span that was written to within the last so many seconds is still
        on its way.
      now: the time.
      last: the newest span that is read.

    Raises:
      ConfigError, DataError: there are none, or they cannot be read.
      TryAgain: they are still being written.
    """
    if last != spans.NEWEST:
        limited = dataclasses.replace(config.data, span=last)
        config = dataclasses.replace(config, data=limited)
    path = inputs.data_path(config, root)
    if not spans.is_pattern(path) and not path.exists():
        raise DataError(f"no data at {path}")
    found = inputs.find_data_sets(config, path)
    last_one = found[-1]
    age = now.timestamp() - _last_write(last_one.path) if settle_seconds else -1
    # A time ahead of ours is that of another clock.
    if 0 <= age < settle_seconds:
        raise TryAgain(
            f"{last_one.name or last_one.path} was written to {age:.0f} s ago"
        )
    if last_one.span is None:
        return Data(str(path), inputs.fingerprint_of(found))
    earlier = ", ".join(
        spans.label(data.span or 0, is_dated=data.is_dated) for data in found[:-1]
    )
    name = f"{last_one.name} with {earlier}" if earlier else last_one.name
    return Data(name, spans.pin(found), last_one.name, last_one.span, last_one.version)


def identity(config: PipelineConfig, path: pathlib.Path) -> str:
    """Name of a schedule: equal where `inputs.identity` is, and what `history` takes.

    Args:
      config: the experiment.
      path: of its data, or their pattern.

    Returns:
      The experiment's name; with the data set, as in 'photos/flowers', where the
      experiment itself names none, and with the model where that has another name.
    """
    own = experiments.find(config.name)
    data_set = inputs.data_set_name(config, path)
    model = inputs.model_name(config, path)
    if own.data.contract and model == inputs.model_name(own, path):
        return config.name
    names = (config.name, data_set, *([model] if model != data_set else []))
    return "/".join(names)


def settings_key(config: PipelineConfig) -> str:
    """Digest of all settings but those that say which span is read."""
    data = dataclasses.replace(config.data, span=spans.NEWEST)
    text = json.dumps(as_json(dataclasses.replace(config, data=data)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _last_write(path: pathlib.Path) -> float:
    """Seconds since 1970 of the last change to a file or folder at or below `path`.

    What cannot be looked at is left to the run, which lists it.

    Raises:
      DataError: `path` itself cannot be looked at.
    """
    try:
        newest_time = path.stat().st_mtime
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                written = os.lstat(os.path.join(folder, name)).st_mtime  # noqa: PTH118
                newest_time = max(newest_time, written)
    return newest_time
