"""Which data a run would read, and whether they are whole yet."""

import dataclasses
import datetime
import functools
import os
import pathlib

import pytest

from common.errors import DataError
from pipeline import experiments
from pipeline.scheduling import data as scheduled_data
from pipeline.scheduling.data import identity, settings_key
from pipeline.slots.rows import TryAgain

NOW = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)


@pytest.fixture
def make_newest(tmp_path):
    """Function (path, settle_seconds, **data) -> what is newest, with spans 1 and 2 at `path`."""
    for span in (1, 2):
        (tmp_path / "cats" / str(span) / "tabby").mkdir(parents=True)
        (tmp_path / "cats" / str(span) / "tabby" / "a.png").write_bytes(b"image")

    def make(path="cats/{SPAN}", settle_seconds=0.0, **data):
        config = experiments.folder()
        changed = dataclasses.replace(config.data, path=str(tmp_path / path), **data)
        config = dataclasses.replace(config, data=changed)
        return functools.partial(
            scheduled_data.newest, config, tmp_path / "runs", settle_seconds
        )

    return make


def test_the_newest_span(make_newest) -> None:
    found = make_newest()(NOW)
    assert (found.name, found.key, found.arrival) == ("span 2", "2", "span 2")
    assert (found.span, found.version) == (2, None)
    assert make_newest()(NOW, 1).name == "span 1"
    with pytest.raises(DataError, match="no span 7 of "):
        make_newest()(NOW, 7)


def test_a_window_is_named_by_its_newest_span(make_newest) -> None:
    found = make_newest(window_spans=2)(NOW)
    assert (found.name, found.key) == ("span 2 with 1", "1 2")
    assert found.arrival == "span 2"


def test_a_plain_path_is_known_by_its_content(make_newest, tmp_path) -> None:
    newest = make_newest("cats/1")
    before = newest(NOW)
    assert before.name == str(tmp_path / "cats" / "1") and not before.arrival
    (tmp_path / "cats" / "1" / "tabby" / "b.png").write_bytes(b"another")
    assert newest(NOW).key != before.key
    with pytest.raises(DataError, match="no data at "):
        make_newest("dogs")(NOW)


def test_a_span_is_left_alone_while_it_is_written_to(make_newest, tmp_path) -> None:
    seconds = NOW.timestamp()
    for path in sorted(tmp_path.rglob("*")):
        os.utime(path, (seconds - 100, seconds - 100))
    newest = make_newest(settle_seconds=60)
    assert newest(NOW).name == "span 2"
    image = tmp_path / "cats" / "2" / "tabby" / "a.png"
    os.utime(image, (seconds - 10, seconds - 10))
    with pytest.raises(TryAgain, match="span 2 was written to 10 s ago"):
        newest(NOW)
    later = NOW + datetime.timedelta(seconds=50)
    assert newest(later).name == "span 2"
    # By a clock that runs ahead of ours nothing is ever settled; that is not waited for.
    os.utime(image, (seconds + 3600, seconds + 3600))
    assert newest(NOW).name == "span 2"


def loop(path: pathlib.Path) -> None:
    """A link that leads in a circle."""
    path.symlink_to(path.with_name(f"{path.name} and back"))
    path.with_name(f"{path.name} and back").symlink_to(path)


def test_links_in_a_circle_are_an_error_and_not_a_crash(make_newest, tmp_path) -> None:
    loop(tmp_path / "cats" / "3")
    with pytest.raises(DataError, match=r"cannot read .*cats/3: Too many levels"):
        make_newest(settle_seconds=60)(NOW)
    with pytest.raises(DataError, match=r"no data at .*cats/3"):
        make_newest("cats/3", settle_seconds=60)(NOW)


def test_what_cannot_be_looked_at_is_left_to_the_run(
    make_newest, tmp_path, monkeypatch
) -> None:
    """A link in a circle in a span, and an image that may not be looked at."""
    loop(tmp_path / "cats" / "2" / "tabby" / "b.png")

    def lstat(path, real=os.lstat):
        if os.fspath(path).endswith("a.png"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(scheduled_data.os, "lstat", lstat)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert make_newest(settle_seconds=60)(later).name == "span 2"


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
