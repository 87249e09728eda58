"""A few nights of the year, with everything but the work of the components."""

import collections
import dataclasses
import itertools
import pathlib

import nightly_clock
import pytest
import stub_training
import year_of_nights
from ml_metadata import metadata_store
from PIL import Image

from pipeline import experiments, inputs
from pipeline.slots import rows


@pytest.fixture
def fetched(monkeypatch) -> list[int]:
    """Executions that each run has fetched from the metadata store by their contexts."""
    counts: list[int] = []
    store = metadata_store.MetadataStore
    get, run = store.get_executions_by_context, stub_training.StubTraining.run

    def get_and_count(self, *arguments, **named):
        found = get(self, *arguments, **named)
        counts[-1] += len(found)
        return found

    def run_anew(self, *arguments):
        counts.append(0)
        return run(self, *arguments)

    monkeypatch.setattr(store, "get_executions_by_context", get_and_count)
    monkeypatch.setattr(stub_training.StubTraining, "run", run_anew)
    return counts


def test_nights(tmp_path: pathlib.Path, monkeypatch, fetched: list[int]) -> None:
    monkeypatch.setattr(year_of_nights, "QUIET_NIGHT", 3)
    nights = year_of_nights.run(tmp_path, 5, keep_runs=1, keep_versions=1)
    assert [night["state"] for night in nights] == [
        *("done", "done", "skipped", "done", "done")
    ]
    *_, fourth, fifth = nights
    # One run and one version beside the live one are kept: disk and files stay, rows grow.
    assert fifth["versions"] == fourth["versions"] <= 3
    metadata = fifth["metadata_bytes"] - fourth["metadata_bytes"]
    assert 0 <= metadata < 200_000
    assert abs(fifth["bytes"] - fourth["bytes"] - metadata) < 100_000
    assert fifth["files"] - fourth["files"] < 10
    picture = tmp_path / "nights.png"
    year_of_nights.draw(picture, nights, 1)
    assert Image.open(picture).size[0] > 1000
    assert "MB of metadata store" in year_of_nights.summary(nights)
    # A night fetches no more than the one before, but for one: the component that comes from
    # the cache joins those that came from it.
    assert [after - before for before, after in itertools.pairwise(fetched)][1:] == [
        1,
        1,
    ]
    assert fetched[1] < 50


def test_a_cached_artifact_whose_files_are_gone_is_made_again(
    tmp_path: pathlib.Path, monkeypatch
) -> None:
    """The folder stands, as after a cleaner of old files; TFX's cache would serve it."""
    made = collections.Counter()
    do = stub_training.Executor.Do

    def count(self, input_dict, output_dict, exec_properties):
        made.update(list(output_dict))
        do(self, input_dict, output_dict, exec_properties)

    monkeypatch.setattr(stub_training.Executor, "Do", count)
    root, images = tmp_path / "runs", tmp_path / "digits"
    config = experiments.digits_resnet_20()
    place = dataclasses.replace(config.data, path=str(images / "{SPAN}"))
    config = dataclasses.replace(config, data=place)
    training = stub_training.StubTraining(config, root, nightly_clock.NightlyClock())
    stub_training.write_span(images, 1)
    root.mkdir()
    row = rows.Row(config.name, "span 1", rows.SPAN)

    def train() -> collections.Counter:
        made.clear()
        training.run(row, {}, lambda run: None)
        return made.copy()

    assert train()["examples"] == 1
    assert not train()["examples"]
    folder = root / inputs.identity(config, images)
    (examples,) = filter(
        pathlib.Path.is_dir, (folder / "ingest" / "examples").iterdir()
    )
    (file,) = examples.iterdir()
    file.unlink()
    again = train()
    assert again["examples"] == 1 and again["schema"] == 0
    assert not train()["examples"]
