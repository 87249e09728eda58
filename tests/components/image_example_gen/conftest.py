"""What several tests of the ingest need."""

import pathlib
from collections.abc import Callable

import pytest

from components.image_example_gen import layouts, splits, steps


@pytest.fixture
def job_of(tmp_path: pathlib.Path) -> Callable[[layouts.Plan | None], steps.Job]:
    """Function (plan or None) -> a job that writes below `tmp_path`."""

    def make(plan: layouts.Plan | None) -> steps.Job:
        job = steps.Job(
            plan=plan,
            labels=("cat", "dog"),
            cut=splits.Cut(0.1, 0.1),
            max_unreadable_share=0.0,
            shards=0,
            output_uri=str(tmp_path),
            working_uri=str(tmp_path / ".working"),
        )
        pathlib.Path(job.spool_uri).mkdir(parents=True)
        return job

    return make
