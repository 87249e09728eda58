"""The data that a scheduled run would train on, and keys that tell whether it is new."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib

from common.errors import DataError, os_errors_as
from components.image_example_gen import spans
from pipeline import experiments, inputs
from pipeline.config import PipelineConfig
from pipeline.slots.rows import TryAgain
from trainer.config import as_json


@dataclasses.dataclass(frozen=True)
class Data:
    """Data of a run.

    Attributes:
      name: in words, as 'span 7' or the path.
      key: spans and versions, or the digest of all files; equal for equal data.
      arrival: name of the newest span and its version; '' without a pattern of spans.
      span, version: of the newest span; None without a pattern of spans.
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
    """The data that a run would read.

    Args:
      config: the experiment; `data.path` may be a pattern of spans.
      root: of the runs, for bundled data.
      settle_seconds: data written to within this time are still being written.
      now: the time.
      last: the newest span to read.

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
    *others, end = found
    age = now.timestamp() - _last_write(end.path) if settle_seconds else -1
    # A negative age is another clock's.
    if 0 <= age < settle_seconds:
        raise TryAgain(f"{end.name or end.path} was written to {age:.0f} s ago")
    if end.span is None:
        return Data(str(path), inputs.fingerprint_of(found))
    earlier = ", ".join(
        spans.label(data.span or 0, is_dated=data.is_dated) for data in others
    )
    name = f"{end.name} with {earlier}" if earlier else end.name
    return Data(name, spans.pin(found), end.name, end.span, end.version)


def identity(config: PipelineConfig, path: pathlib.Path) -> str:
    """Name of a schedule for people; one name for each `inputs.identity`.

    Args:
      config: the experiment.
      path: of its data, or their pattern.

    Returns:
      The experiment's name; with the data set, as 'photos/flowers', where the experiment
      names none, and with the model where it has another name.
    """
    own = experiments.find(config.name)
    data_set = inputs.data_set_name(config, path)
    model = inputs.model_name(config, path)
    if own.data.contract and model == inputs.model_name(own, path):
        return config.name
    names = (config.name, data_set, *([model] if model != data_set else []))
    return "/".join(names)


def settings_key(config: PipelineConfig) -> str:
    """Digest of all settings but `data.span`."""
    data = dataclasses.replace(config.data, span=spans.NEWEST)
    text = json.dumps(as_json(dataclasses.replace(config, data=data)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _last_write(path: pathlib.Path) -> float:
    """Seconds since 1970 of the last change at or below `path`.

    Skips files and folders that cannot be read; the run reports them.

    Raises:
      DataError: `path` itself cannot be read.
    """
    with os_errors_as(DataError, f"cannot read {path}"):
        newest_time = path.stat().st_mtime
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                written = os.lstat(os.path.join(folder, name)).st_mtime  # noqa: PTH118
                newest_time = max(newest_time, written)
    return newest_time
