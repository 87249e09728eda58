"""Which data a run would read, and whether they are whole yet."""

import dataclasses
import datetime
import os
import pathlib

import pytest

from pipeline import experiments
from pipeline.scheduling.data import (
    ConfiguredSource,
    NotSettled,
    identity,
    settings_key,
)
from schema.errors import DataError

NOW = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)


@pytest.fixture
def make_source(tmp_path):
    """Function (path, settle_seconds, **data) -> source with spans 1 and 2 at `path`."""
    for span in (1, 2):
        (tmp_path / "cats" / str(span) / "tabby").mkdir(parents=True)
        (tmp_path / "cats" / str(span) / "tabby" / "a.png").write_bytes(b"image")

    def make(path="cats/{SPAN}", settle_seconds=0.0, **data):
        config = experiments.folder()
        changed = dataclasses.replace(config.data, path=str(tmp_path / path), **data)
        config = dataclasses.replace(config, data=changed)
        return ConfiguredSource(config, tmp_path / "runs", settle_seconds)

    return make


def test_the_newest_span(make_source) -> None:
    found = make_source().newest(NOW)
    assert (found.name, found.key, found.arrival) == ("span 2", "2", "span 2")
    assert (found.span, found.version) == (2, None)
    assert make_source().newest(NOW, 1).name == "span 1"
    with pytest.raises(DataError, match="no span 7 of "):
        make_source().newest(NOW, 7)


def test_a_window_is_named_by_its_newest_span(make_source) -> None:
    found = make_source(window_spans=2).newest(NOW)
    assert (found.name, found.key) == ("span 2 with 1", "1 2")
    assert found.arrival == "span 2"


def test_a_plain_path_is_known_by_its_content(make_source, tmp_path) -> None:
    source = make_source("cats/1")
    before = source.newest(NOW)
    assert before.name == str(tmp_path / "cats" / "1") and not before.arrival
    (tmp_path / "cats" / "1" / "tabby" / "b.png").write_bytes(b"another")
    assert source.newest(NOW).key != before.key
    with pytest.raises(DataError, match="no data at "):
        make_source("dogs").newest(NOW)


def test_a_span_is_left_alone_while_it_is_written_to(make_source, tmp_path) -> None:
    seconds = NOW.timestamp()
    for path in sorted(tmp_path.rglob("*")):
        os.utime(path, (seconds - 100, seconds - 100))
    source = make_source(settle_seconds=60)
    assert source.newest(NOW).name == "span 2"
    image = tmp_path / "cats" / "2" / "tabby" / "a.png"
    os.utime(image, (seconds - 10, seconds - 10))
    with pytest.raises(NotSettled, match="span 2 was written to 10 s ago"):
        source.newest(NOW)
    later = NOW + datetime.timedelta(seconds=50)
    assert source.newest(later).name == "span 2"
    # By a clock that runs ahead of ours nothing is ever settled; that is not waited for.
    os.utime(image, (seconds + 3600, seconds + 3600))
    assert source.newest(NOW).name == "span 2"


def named(config, **names: str):
    data = dataclasses.replace(config.data, contract=names["contract"])
    serving = dataclasses.replace(config.serving, model_name=names.get("model", ""))
    return dataclasses.replace(config, data=data, serving=serving)


def test_a_schedule_is_known_by_experiment_data_set_and_model() -> None:
    folder, digits = experiments.folder(), experiments.digits_resnet_20()
    cats = pathlib.Path("/images/cats/{SPAN}")
    assert identity(folder, cats) == "folder/cats"
    assert identity(folder, cats.parents[1] / "dogs.zip") == "folder/dogs"
    assert identity(named(folder, contract="schema/pets"), cats) == "folder/pets"
    assert identity(named(folder, contract="pets", model="a"), cats) == "folder/pets/a"
    # One that names its data set has no other, but may push under another name.
    assert identity(digits, cats) == "digits_resnet_20"
    assert identity(named(digits, contract="digits", model="a"), cats) == (
        "digits_resnet_20/digits/a"
    )
    assert identity(experiments.tiny(digits), cats) == (
        "digits_resnet_20/digits/digits-tiny"
    )


def test_settings_are_equal_whatever_span_they_name() -> None:
    config = experiments.folder()
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, span=7))
    assert settings_key(other) == settings_key(config)
    window = dataclasses.replace(config.data, window_spans=2)
    other = dataclasses.replace(config, data=window)
    assert settings_key(other) != settings_key(config)
