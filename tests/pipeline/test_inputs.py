"""What is found out before anything runs."""

import dataclasses
import logging
import pathlib
import re
import shutil
import subprocess
import sys

import PIL.Image
import pytest
import tensorflow as tf

from common.errors import ConfigError, DataError
from components.image_example_gen import fingerprint
from pipeline import digits, experiments, inputs
from schema import contract


def changed(config, **sections: dict):
    for section, values in sections.items():
        part = dataclasses.replace(getattr(config, section), **values)
        config = dataclasses.replace(config, **{section: part})
    return config


def test_digits_bring_their_own_data(tmp_path: pathlib.Path) -> None:
    found = inputs.resolve(experiments.digits_resnet_20(), tmp_path)
    assert len(list(found.path.glob("*/*.png"))) == 1797
    assert found.contract.labels == tuple("0123456789")
    again = inputs.resolve(experiments.digits_resnet_20(), tmp_path)
    assert again.fingerprint == found.fingerprint


def test_an_interrupted_copy_of_digits_is_made_again(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data" / ".digits-1").mkdir(parents=True)
    folder = digits.write_folders(tmp_path / "data" / "digits")
    assert len(list(folder.glob("*/*.png"))) == 1797


def test_missing_path(tmp_path: pathlib.Path) -> None:
    config = changed(experiments.cifar10_resnet_20(), data={"path": "nowhere.tar"})
    with pytest.raises(DataError, match=r"no data at nowhere\.tar"):
        inputs.resolve(config, tmp_path)


def test_no_path_given(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="'cifar10_resnet_20' needs images"):
        inputs.resolve(experiments.cifar10_resnet_20(), tmp_path)


def test_no_contract_yet(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Cats.v2").mkdir()
    config = changed(
        experiments.folder(),
        data={"path": str(tmp_path / "My Cats.v2"), "init_contract": False},
    )
    with pytest.raises(
        ConfigError, match=r"no data contract for 'my-cats.v2'"
    ) as caught:
        inputs.check(config)  # before a run gets its folder
    assert "slimline data init" in caught.value.tip
    assert [path.name for path in tmp_path.iterdir()] == ["My Cats.v2"]


def test_the_first_run_writes_the_contract(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "My Cats.v2"
    for name in ("tabby", "siamese"):
        (folder / name).mkdir(parents=True)
        PIL.Image.new("RGB", (40, 30), "white").save(folder / name / "1.png")
    config = changed(experiments.folder(), data={"path": str(folder)})
    with caplog.at_level(logging.INFO, "slimline.progress"):
        found = inputs.resolve(config, tmp_path)
    assert found.contract.labels == ("siamese", "tabby")
    written = tmp_path / "schema" / "my-cats.v2"
    assert contract.load(written) == found.contract
    (event,) = [r for r in caplog.records if r.message == "contract_written"]
    assert event.fields == {"folder": "schema/my-cats.v2", "classes": 2}
    # The second run reads it, whatever has become of the data.
    (folder / "persian").mkdir()
    before = (written / "labels.txt").stat().st_mtime_ns
    inputs.resolve(config, tmp_path)
    assert (written / "labels.txt").stat().st_mtime_ns == before


def test_data_without_classes_write_no_contract(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    config = changed(experiments.folder(), data={"path": str(tmp_path / "empty")})
    with pytest.raises(DataError):
        inputs.resolve(config, tmp_path)
    assert not (tmp_path / "schema").exists()


def test_images_too_small_for_the_net(tmp_path: pathlib.Path) -> None:
    config = changed(experiments.digits_resnet_20(), model={"net": "inception_v2"})
    with pytest.raises(ConfigError, match="8 x 8 px are too small") as caught:
        inputs.resolve(config, tmp_path)
    assert "17 x 17" in caught.value.expected


def test_unknown_net_names_the_nearest(tmp_path: pathlib.Path) -> None:
    config = changed(experiments.digits_resnet_20(), model={"net": "resnet_21"})
    with pytest.raises(ConfigError, match="resnet_21") as caught:
        inputs.resolve(config, tmp_path)
    assert "resnet_20" in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "setting"),
    [
        ({"preprocessing": {"crop_px": 9}}, "preprocessing.crop_px"),
        ({"model": {"image_size_px": 9}}, "model.image_size_px"),
    ],
)
def test_crops_larger_than_the_image(
    tmp_path: pathlib.Path, sections: dict, setting: str
) -> None:
    config = changed(experiments.digits_resnet_20(), **sections)
    with pytest.raises(ConfigError, match=setting):
        inputs.resolve(config, tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("caltech101-16.tar.gz", "caltech101-16"),
        ("Cats & dogs.ZIP", "cats-dogs"),
        ("folder", "folder"),
        ("a/b.tar.xz", "b"),
        ("...", "data"),
        ("cats/{SPAN}", "cats"),
        ("cats-{SPAN:04}.tar.gz", "cats"),
        ("cats/{YYYY}-{MM}-{DD}/v{VERSION}.zip", "cats"),
        ("cats/span_{SPAN}", "cats"),
        ("{SPAN}/cats.zip", "cats"),
        ("{SPAN}", "data"),
    ],
)
def test_name_of_the_data(path: str, name: str) -> None:
    assert inputs.name_of(pathlib.Path(path)) == name


def test_a_schedule_that_cannot_be() -> None:
    config = changed(
        experiments.digits_resnet_20(),
        schedule={"name": "exp_range", "min_rate": 1.0},
    )
    with pytest.raises(ConfigError, match=r"'schedule.min_rate' is not below"):
        inputs.check(config)


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({"weights": "no/where"}, "no weights in no/where"),
        ({"weights": "nowhere"}, "no weights 'nowhere'"),
        ({"freeze": ("group_1",)}, "'resnet_20' has no row 'group_1'"),
        ({"weights_exclude": ("logit",)}, "'resnet_20' has no row 'logit'"),
    ],
)
def test_a_warm_start_that_cannot_be(train: dict, sentence: str) -> None:
    config = changed(experiments.digits_resnet_20(), train=train)
    with pytest.raises(ConfigError, match=sentence):
        inputs.check(config)


def test_a_warm_start_of_another_net(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "other.ckpt")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("vgg_16/conv1/weights", initializer=tf.zeros([3]))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, path)
    config = changed(experiments.digits_resnet_20(), train={"weights": path})
    with pytest.raises(ConfigError, match="are those of another net"):
        inputs.check(config)


def test_blessed_is_looked_up_later() -> None:
    inputs.check(changed(experiments.digits_resnet_20(), train={"weights": "blessed"}))


@pytest.fixture
def two_spans(tmp_path: pathlib.Path) -> str:
    for span in (1, 2):
        folder = tmp_path / "digits" / str(span) / "0"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"image %d" % span)
    return str(tmp_path / "digits" / "{SPAN}")


def test_a_pattern_means_its_newest_span(
    two_spans: str, tmp_path: pathlib.Path
) -> None:
    config = changed(experiments.digits_resnet_20(), data={"path": two_spans})
    found = inputs.resolve(config, tmp_path)
    assert (str(found.path), found.model_name) == (two_spans, "digits")
    (data,) = found.data_sets
    assert data.path == tmp_path / "digits" / "2"
    assert found.fingerprint == fingerprint.fingerprint(data.path)
    first = inputs.resolve(changed(config, data={"span": 1}), tmp_path)
    assert first.fingerprint == fingerprint.fingerprint(tmp_path / "digits" / "1")


def test_the_fingerprint_of_a_window_is_that_of_all_its_spans(
    two_spans: str, tmp_path: pathlib.Path
) -> None:
    config = changed(
        experiments.digits_resnet_20(), data={"path": two_spans, "window_spans": 2}
    )
    before = inputs.resolve(config, tmp_path)
    assert [data.span for data in before.data_sets] == [1, 2]
    (tmp_path / "digits" / "1" / "0" / "a.png").write_bytes(b"another image")
    assert inputs.resolve(config, tmp_path).fingerprint != before.fingerprint


def test_no_span_yet(two_spans: str) -> None:
    config = changed(
        experiments.digits_resnet_20(), data={"path": f"{two_spans}/v{{VERSION}}"}
    )
    with pytest.raises(DataError, match="no span matches ") as caught:
        inputs.check(config)
    assert caught.value.found.endswith("digits: 1/, 2/")


def test_a_tiny_model_never_has_the_name_of_a_real_one() -> None:
    path = pathlib.Path("/images/cats.tar.gz")
    config = experiments.folder()
    named = changed(config, serving={"model_name": "pets"})
    assert inputs.model_name(config, path) == "cats"
    assert inputs.model_name(experiments.tiny(config), path) == "cats-tiny"
    assert inputs.model_name(experiments.tiny(named), path) == "pets-tiny"


def test_the_identity_is_of_experiment_data_set_and_model() -> None:
    def identity(path: str, **sections: dict) -> str:
        return inputs.identity(
            changed(experiments.folder(), **sections), pathlib.Path(path)
        )

    assert identity("/images/Cats & dogs.tar.gz") == "folder-cats-dogs"
    assert identity("/elsewhere/cats-dogs") == "folder-cats-dogs"
    others = [
        identity("/images/cats"),
        identity("/images/dogs"),
        identity("/images/cats", serving={"model_name": "pets"}),
        identity("/images/cats-pets"),
        identity("/images/cats_pets"),
        identity("/images/cats.pets"),
        identity("/images/x", data={"contract": "/contracts/Cats"}),
        identity(f"/images/{'long-' * 30}1"),
        identity(f"/images/{'long-' * 30}2"),
    ]
    assert len(set(others)) == len(others)
    assert all(re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", name) for name in others)


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_identities_of_experiments_differ(name: str) -> None:
    """No name of an experiment begins another's, so that data sets cannot blur them."""
    others = [other for other in experiments.EXPERIMENTS if other != name]
    assert not any(other.startswith(f"{name}_") for other in others)
    path = pathlib.Path("/images/flowers")
    config = changed(experiments.find(name), data={"contract": ""})
    words = name.replace("_", "-")
    assert inputs.identity(config, path) == f"{words}-flowers"
    assert inputs.identity(experiments.tiny(config), path) == f"{words}-flowers-tiny"


def photos_in(folder: pathlib.Path) -> str:
    for name in ("tabby", "siamese"):
        (folder / name).mkdir(parents=True)
        PIL.Image.new("RGB", (40, 30), "white").save(folder / name / "1.png")
    return str(folder)


def test_a_packaged_contract_is_never_taken_for_data_of_the_same_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(
        experiments.folder(), data={"path": photos_in(tmp_path / "digits")}
    )
    with pytest.raises(ConfigError, match="which contract") as caught:
        inputs.look(config, tmp_path / "runs")
    assert "--set data.contract=digits" in caught.value.expected
    chosen = changed(config, data={"contract": "digits"})
    assert len(inputs.contract_for(chosen, tmp_path / "digits").labels) == 10


@pytest.mark.parametrize("place", ["", "runs", "elsewhere"])
def test_a_contract_is_found_by_name_here_and_from_the_root(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The root is elsewhere/runs; its schema/ counts, and the one beside it."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "elsewhere" / "runs"
    base = {"": tmp_path, "runs": root, "elsewhere": root.parent}[place]
    saved = base / "schema" / "cats"
    contract.save(contract.load(contract.find("digits")), saved)
    path = tmp_path / "cats"
    for config in (
        changed(experiments.folder(), data={"contract": "cats"}),
        experiments.folder(),
    ):
        found = inputs.contract_for(config, path, root)
        assert found.labels == tuple("0123456789")


def test_no_contract_is_written_where_the_run_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(
        experiments.folder(),
        data={"path": photos_in(tmp_path / "cats")},
        evaluation={"floors": ("class:persian=0.5",)},
    )
    with pytest.raises(ConfigError, match="names a class 'persian'"):
        inputs.resolve(config, tmp_path / "runs")
    assert not (tmp_path / "schema").exists()


@pytest.mark.parametrize(
    "folders, found",
    [
        (("siamese", "tabby", "manx"), "new: manx"),
        (("siamese", "manx"), "without an image: tabby; new: manx"),
        (("siamese",), None),
    ],
)
def test_classes_that_are_not_the_contracts_are_said_before_a_run(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    folders: tuple[str, ...],
    found: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(experiments.folder(), data={"path": photos_in(tmp_path / "zoo")})
    inputs.resolve(config, tmp_path / "runs")
    inputs.look(config, tmp_path / "runs")
    shutil.rmtree(tmp_path / "zoo")
    for folder in folders:
        (tmp_path / "zoo" / folder).mkdir(parents=True)
        PIL.Image.new("RGB", (40, 30), "white").save(
            tmp_path / "zoo" / folder / "1.png"
        )
    words = "one class only" if found is None else "not those of their contract"
    with pytest.raises(DataError, match=words) as caught:
        inputs.look(config, tmp_path / "runs")
    assert found is None or caught.value.found == found


def test_a_batch_that_devices_cannot_share_is_said_before_a_run(
    tmp_path: pathlib.Path,
) -> None:
    config = changed(
        experiments.digits_resnet_20(), train={"batch_size": 64, "devices": 3}
    )
    with pytest.raises(ConfigError, match="cannot be shared") as caught:
        inputs.check(config)
    assert caught.value.tip == "--set train.batch_size=66"


def test_a_look_loads_no_library_that_takes_seconds(tmp_path: pathlib.Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (40, 30), "white").save(tmp_path / "pets" / name / "1.png")
    code = f"""
import dataclasses, pathlib, sys
from pipeline import experiments, inputs
config = experiments.folder()
data = dataclasses.replace(config.data, path={str(tmp_path / "pets")!r})
inputs.look(dataclasses.replace(config, data=data), pathlib.Path({str(tmp_path)!r}))
slow = ("tensorflow", "tfx", "apache_beam", "scipy", "pandas", "pyarrow")
print([name for name in slow if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_muon_with_nothing_to_train_stops_before_the_run() -> None:
    config = changed(
        experiments.mnist_mlp_bn(),
        train={"optimizer": "muon", "freeze": ("fc1", "fc2", "fc3")},
    )
    with pytest.raises(ConfigError, match=r"'train\.optimizer' is muon"):
        inputs.check(config)
