"""TensorFlow Serving's file of models: what is read, kept and written."""

import pathlib
import threading

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from common.errors import ConfigError
from pushed_models import models_config
from pushed_models.models_config import Entry

# As somebody wrote it who serves from another folder and logs requests.
BY_HAND = """
model_config_list {
  config {
    name: "cats"
    base_path: "/srv/cats"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 7 versions: 6 } }
    version_labels { key: "stable" value: 6 }
    version_labels { key: "canary" value: 7 }
    logging_config { sampling_config { sampling_rate: 0.1 } }
  }
  config {
    name: "dogs"
    base_path: "/srv/dogs"
    model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
  }
}
"""


@pytest.fixture
def serving(tmp_path: pathlib.Path) -> pathlib.Path:
    for version in ("cats/5", "cats/6", "cats/7", "eels/3"):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "saved_model.pb").touch()
    return tmp_path


def parse(serving: pathlib.Path):
    document = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((serving / "models.config").read_text(), document)
    return {model.name: model for model in document.model_config_list.config}


def test_without_a_file_every_model_serves_its_newest(serving) -> None:
    assert models_config.read(serving) == {"cats": Entry(), "eels": Entry()}
    assert models_config.live(serving / "cats") == 7
    assert models_config.read(serving / "none") == {}
    assert models_config.live(serving / "none") is None


def test_what_the_file_pins_is_served(serving) -> None:
    (serving / "models.config").write_text(BY_HAND)
    assert models_config.read(serving) == {
        "cats": Entry((6, 7), {"stable": 6, "canary": 7}),
        "dogs": Entry(),
        "eels": Entry(),
    }
    assert models_config.live(serving / "cats") == 6
    assert models_config.live(serving / "eels") == 3


@pytest.mark.parametrize(
    ("versions", "labels", "live"),
    [
        ((), {}, 7),
        ((5, 6), {}, 6),
        ((5, 6), {"stable": 5}, 5),
        ((), {"stable": 5}, 5),
        ((6, 7), {"canary": 7}, 7),
        ((5, 9), {"stable": 9}, 5),  # removed by hand
        ((9,), {"stable": 9}, 7),
    ],
)
def test_live_is_stable_else_the_newest_named_else_the_newest(
    versions, labels, live
) -> None:
    assert Entry(versions, labels).live([5, 6, 7]) == live
    assert Entry(versions, labels).live([]) is None


def test_stable_moves_and_labelled_versions_stay() -> None:
    entry = Entry((5, 6, 9), {"stable": 5, "canary": 6, "gone": 9, "blue": 4})
    complete = [4, 5, 6, 7]
    assert entry.with_stable(7, complete, 5) == Entry(
        (4, 5, 6, 7), {"stable": 7, "canary": 6, "blue": 4}
    )
    # What becomes stable is no canary any more, and 5 is not asked for.
    assert entry.with_stable(6, complete) == Entry((4, 6), {"stable": 6, "blue": 4})
    assert Entry().with_stable(7, complete, None, 9) == Entry((7,), {"stable": 7})


def test_written_is_what_a_model_server_reads(serving) -> None:
    entries = models_config.read(serving)
    models_config.write(
        serving, entries | {"cats": Entry((6, 7), {"stable": 6, "canary": 7})}
    )
    cats, eels = parse(serving)["cats"], parse(serving)["eels"]
    assert (cats.base_path, cats.model_platform) == ("/models/cats", "tensorflow")
    assert list(cats.model_version_policy.specific.versions) == [6, 7]
    assert dict(cats.version_labels) == {"stable": 6, "canary": 7}
    # No policy is TensorFlow Serving's default: the newest one.
    assert not eels.HasField("model_version_policy")
    assert sorted(path.name for path in serving.iterdir()) == (
        ["cats", "eels", "models.config"]
    )


def test_what_a_hand_has_written_is_kept(serving) -> None:
    (serving / "models.config").write_text(BY_HAND)
    entries = models_config.read(serving)
    models_config.write(serving, entries | {"cats": Entry((7,), {"stable": 7})})
    cats, dogs = parse(serving)["cats"], parse(serving)["dogs"]
    assert cats.base_path == "/srv/cats"
    assert cats.logging_config.sampling_config.sampling_rate == pytest.approx(0.1)
    assert list(cats.model_version_policy.specific.versions) == [7]
    assert dict(cats.version_labels) == {"stable": 7}
    assert dogs.model_version_policy.latest.num_versions == 2
    models_config.write(serving, {"cats": Entry()})
    assert not parse(serving)["cats"].HasField("model_version_policy")
    assert list(parse(serving)) == ["cats"]


def test_a_file_that_says_the_same_is_not_touched(serving) -> None:
    (serving / "models.config").write_text(BY_HAND)
    entries = models_config.read(serving)
    del entries["eels"]
    models_config.write(serving, entries)
    assert (serving / "models.config").read_text() == BY_HAND


@pytest.mark.parametrize("text", [b"model_config_list {", b"\xff\xfe", b"wrong: 1"])
def test_a_file_that_is_none_is_refused(serving, text) -> None:
    (serving / "models.config").write_bytes(text)
    for ask in (models_config.read, lambda folder: models_config.live(folder / "cats")):
        with pytest.raises(
            ConfigError, match=r"cannot read .*models\.config"
        ) as caught:
            ask(serving)
        assert "ModelServerConfig" in caught.value.expected


def test_who_waits_too_long_for_the_lock_is_told(serving, monkeypatch) -> None:
    monkeypatch.setattr(models_config, "LOCK_SECONDS", 0.1)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with models_config.lock(serving):
            taken.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    try:
        with (
            pytest.raises(ConfigError, match=r"another command .* for 0\.1 s"),
            models_config.lock(serving),
        ):
            pass
    finally:
        done.set()
        holder.join()
    with models_config.lock(serving):
        pass
