"""What the steps of the Beam job share: its parameters, and how errors reach the component."""

import dataclasses
import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from common.errors import ConfigError, DataError, SlimlineError
from components.image_example_gen import splits, windows


@dataclasses.dataclass(frozen=True)
class Job:
    """What every worker needs to know.

    Attributes:
      plan: the source, and how to read it.
      labels: classes of the contract, in label order.
      cut: what is cut from train for eval and test.
      max_unreadable_share: unreadable images per image, at most.
      shards: number of files a split; 0 for as many as their bytes ask for.
      output_uri: folder of the artifact.
      working_uri: folder for files of this run only.
    """

    plan: windows.Images
    labels: tuple[str, ...]
    cut: splits.Cut
    max_unreadable_share: float
    shards: int
    output_uri: str
    working_uri: str

    @property
    def spool_uri(self) -> str:
        """Folder of the images on their way (`spool`)."""
        return posixpath.join(self.working_uri, "images")


class RefusingDoFn(beam.DoFn):
    """Base of steps that may meet data to refuse.

    A runner turns exceptions into text of its own, with a stack; so the error is written to
    a file, and the component raises it after the job.
    """

    def __init__(self, job: Job):
        self._job = job

    # Any: of named tuples Beam would make rows of a schema.
    def process(self, element: Any) -> Iterator[Any]:
        """Yields the results of `step` up to its first error."""
        try:
            yield from self.step(element)
        except SlimlineError as error:
            text = json.dumps([type(error).__name__, *error.args])
            name = hashlib.sha256(text.encode()).hexdigest()
            file = posixpath.join(self._job.working_uri, f"{name}.json")
            io_utils.write_string_file(file, text)

    def step(self, element: Any) -> Iterable[Any]:
        """Results of the step for one element."""
        raise NotImplementedError


def raise_refusal(job: Job) -> None:
    """Raises the error that a worker wrote down; the first by name where there are more."""
    kinds = {"ConfigError": ConfigError, "DataError": DataError}
    for name in refusals(job):
        text = io_utils.read_string_file(posixpath.join(job.working_uri, name))
        kind, message, found, expected, tip = json.loads(text)
        raise kinds[kind](message, found=found, expected=expected, tip=tip)


def refusals(job: Job) -> list[str]:
    """Files of the errors that workers wrote down."""
    names = map(str, fileio.listdir(job.working_uri))
    return sorted(name for name in names if name.endswith(".json"))
