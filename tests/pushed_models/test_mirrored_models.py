"""Versions in an object store: taken whole, or not at all."""

import pathlib
import threading

import pytest

from common.errors import ConfigError
from components.model_pusher import publishing
from pushed_models import mirrored_models, models_config, versions
from pushed_models.models_config import Entry
from storage import manifest, mirror

CATS = "team/serving/cats"


@pytest.fixture
def serving(bucket) -> pathlib.Path:
    return mirror.make(f"{bucket.uri}/team").folder / "serving"


@pytest.fixture
def pushed(serving, tmp_path) -> int:
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "variables.index").write_bytes(b"index")
    return publishing.publish(model, serving / "cats")


@pytest.fixture
def elsewhere(bucket, pushed, new_machine) -> pathlib.Path:
    """The folder of the models on a machine that has not looked yet."""
    new_machine()
    return mirror.make(f"{bucket.uri}/team").folder / "serving"


def test_only_what_a_manifest_names_is_taken(elsewhere, bucket, pushed) -> None:
    bucket.write(f"{CATS}/{pushed}/stray.pb", b"stray")
    bucket.write(f"{CATS}/{pushed}/assets.extra/model_card.md", b"card")
    bucket.write(f"{CATS}/99/saved_model.pb", b"on its way, or copied by hand")
    mirrored_models.pull(elsewhere)
    assert versions.present(elsewhere / "cats") == [pushed]
    version = elsewhere / "cats" / str(pushed)
    assert manifest.problems(version) == []
    assert not (version / "stray.pb").exists()
    assert (version / "assets.extra" / "model_card.md").read_bytes() == b"card"
    assert not list(elsewhere.glob("*/.staging-*"))


def test_what_was_added_to_a_version_comes_later(elsewhere, bucket, pushed) -> None:
    mirrored_models.pull(elsewhere)
    bucket.write(f"{CATS}/{pushed}/assets.extra/model_card.md", b"card")
    mirrored_models.pull(elsewhere)
    card = elsewhere / "cats" / str(pushed) / "assets.extra" / "model_card.md"
    assert card.read_bytes() == b"card"


@pytest.mark.parametrize("content", [b"cut", None, b"GRAPH"])
def test_a_version_that_is_damaged_in_the_store_is_left_out(
    elsewhere, bucket, pushed, caplog, content: bytes | None
) -> None:
    key = f"{CATS}/{pushed}/saved_model.pb"
    bucket.delete(key) if content is None else bucket.write(key, content)
    mirrored_models.pull(elsewhere)
    assert versions.present(elsewhere / "cats") == []
    assert f"s3://{bucket.name}/{CATS}/{pushed} is damaged in the store" in caplog.text


def test_a_manifest_that_nobody_can_read(elsewhere, bucket, pushed, caplog) -> None:
    bucket.write(f"{CATS}/{pushed}/assets.extra/manifest.json", b"[" * 5000)
    mirrored_models.pull(elsewhere)
    assert versions.present(elsewhere / "cats") == []
    assert "cannot be read" in caplog.text


def test_what_the_store_has_no_more_goes(elsewhere, bucket, pushed) -> None:
    mirrored_models.pull(elsewhere)
    models_config.write(elsewhere, {"cats": Entry((pushed,), {"stable": pushed})})
    assert models_config.live(elsewhere / "cats") == pushed
    bucket.delete(
        f"{CATS}/{pushed}/assets.extra/manifest.json", "team/serving/models.config"
    )
    mirrored_models.pull(elsewhere)
    assert versions.present(elsewhere / "cats") == []
    assert not (elsewhere / "models.config").exists()


def test_models_config_goes_to_the_store_first(serving, pushed, monkeypatch) -> None:
    before = models_config.read(serving)

    def fail(*arguments):
        raise ConfigError("the store is down")

    monkeypatch.setattr(mirror.remote.Store, "put_bytes", fail)
    with pytest.raises(ConfigError, match="the store is down"):
        models_config.write(serving, {"cats": Entry((pushed,), {"stable": pushed})})
    assert models_config.read(serving) == before


def test_a_number_that_is_taken_meanwhile(serving, bucket, pushed) -> None:
    version = serving / "cats" / str(pushed)
    with pytest.raises(ConfigError, match=f"{pushed} was pushed by another machine"):
        mirror.publish(version, version / manifest.FILE, is_new=True)


def test_following_goes_on_where_the_store_is_down_for_a_while(
    elsewhere, bucket, pushed, monkeypatch, caplog
) -> None:
    pulled, asked = threading.Event(), []
    pull = mirrored_models.pull

    def flaky(folder):
        asked.append(folder)
        if len(asked) < 4:
            raise ConfigError("the store is down")
        pull(folder)
        pulled.set()

    monkeypatch.setattr(mirrored_models, "pull", flaky)
    with mirrored_models.followed(elsewhere, 0.01):
        assert pulled.wait(30)
    assert versions.present(elsewhere / "cats") == [pushed]
    assert (
        caplog.text.count(
            "the store does not answer, serving what is here: the store is down"
        )
        == 1
    )


def test_a_folder_of_this_machine_is_not_followed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mirrored_models.threading, "Thread", None)
    with mirrored_models.followed(tmp_path, 0.01):
        mirrored_models.pull(tmp_path)
        mirrored_models.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
