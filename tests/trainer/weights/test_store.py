"""The store: what is imported is found again, whole or not at all."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from common.errors import ConfigError
from trainer.config import PreprocessingConfig
from trainer.nets import registry
from trainer.nets.published import Source
from trainer.weights import checkpoints, mapping, opening, safetensors, store

SPEC = dataclasses.replace(
    registry.NETS["lenet_5"],
    sources=(
        Source(
            "slim",
            "somebody",
            (),
            PreprocessingConfig(resize_px=32, crop_px=32, standardise="fixed"),
        ),
    ),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.setenv("SLIMLINE_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setitem(registry.NETS, "lenet_5", SPEC)
    return tmp_path / "store"


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in mapping.expected_shapes(SPEC, 7).items()
    }


@pytest.fixture
def source(tmp_path, values) -> pathlib.Path:
    path = tmp_path / "given.safetensors"
    with path.open("wb") as file:
        safetensors.write(file, values)
    return path


def test_what_is_added_is_loaded(source, values, folder) -> None:
    added = store.add(source, "lenet_5", licence="MIT", labels="abcdefg")
    assert added.name == "lenet_5"
    assert added.sha256 == opening.sha256(source)
    assert added.num_classes == 7
    assert added.labels == tuple("abcdefg")
    assert added.parameters == sum(value.size for value in values.values())
    assert added.preprocessing["standardise"] == "fixed"
    weights = store.load("lenet_5")
    assert weights.manifest == added
    assert weights.arrays.keys() == {f"{SPEC.name}/{name}" for name in values}
    for name, value in values.items():
        np.testing.assert_array_equal(weights.arrays[f"{SPEC.name}/{name}"], value)
    inside = sorted(path.name for path in (folder / "lenet_5").iterdir())
    assert inside == ["manifest.json", "weights.safetensors"]
    assert [path.name for path in folder.iterdir()] == ["lenet_5"]


def test_several_names(source) -> None:
    store.add(source, "lenet_5", name="b")
    store.add(source, "lenet_5", name="a.1")
    stored = [m.name for m in store.all_manifests() if not m.is_built_in]
    assert stored == ["a.1", "b"]
    store.remove("b")
    stored = [m.name for m in store.all_manifests() if not m.is_built_in]
    assert stored == ["a.1"]


def test_a_name_is_taken_once(source) -> None:
    store.add(source, "lenet_5")
    with pytest.raises(ConfigError, match="weights 'lenet_5' already"):
        store.add(source, "lenet_5")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "Big", "x" * 65])
def test_names_that_are_none(source, name, folder) -> None:
    with pytest.raises(ConfigError, match="no name for weights"):
        store.add(source, "lenet_5", name=name)
    assert not folder.exists()


def test_an_unknown_name_names_the_nearest(source) -> None:
    store.add(source, "lenet_5", name="flowers")
    with pytest.raises(ConfigError, match="no weights 'flower'") as info:
        store.find("flower")
    assert "did you mean 'flowers'?" in info.value.tip
    assert "slimline weights list" in info.value.tip


def test_labels_must_be_as_many_as_classes(source, folder) -> None:
    with pytest.raises(ConfigError, match="labels are not those") as info:
        store.add(source, "lenet_5", labels=["a", "b"])
    assert info.value.found == "2 labels"
    assert not folder.exists()


def test_a_changed_file_is_not_loaded(source, folder) -> None:
    store.add(source, "lenet_5")
    path = folder / "lenet_5" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="are damaged"):
        store.load("lenet_5")


def _without(key):
    def change(manifest):
        del manifest["preprocessing"][key]
        return json.dumps(manifest)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: "{}",
        lambda manifest: "[" * 100_000,
        lambda manifest: json.dumps(manifest | {"net": "lenet_55"}),
        lambda manifest: json.dumps(
            manifest | {"preprocessing": manifest["preprocessing"] | {"mean": [1e999]}}
        ),
        _without("crop_px"),
    ],
    ids=["empty", "nested", "net", "infinite", "part"],
)
def test_a_manifest_that_is_none(source, folder, change) -> None:
    store.add(source, "lenet_5")
    path = folder / "lenet_5" / "manifest.json"
    path.write_text(change(json.loads(path.read_text())))
    (damaged,) = [m for m in store.all_manifests() if not m.is_built_in]
    assert (damaged.name, damaged.note) == ("lenet_5", store.DAMAGED)
    with pytest.raises(ConfigError, match="manifest of the weights 'lenet_5' cannot"):
        store.load("lenet_5")
    store.remove("lenet_5")
    assert list(folder.iterdir()) == []


def test_a_folder_without_a_manifest_can_be_removed(source, folder) -> None:
    (folder / "half").mkdir(parents=True)
    with pytest.raises(ConfigError, match="there are weights 'half' already"):
        store.add(source, "lenet_5", name="half")
    store.remove("half")
    store.add(source, "lenet_5", name="half")


def test_the_word_for_the_live_version_is_no_name(source, folder) -> None:
    with pytest.raises(ConfigError, match="means the live version"):
        store.add(source, "lenet_5", name="blessed")


@pytest.mark.parametrize("weights", [".", "/", "a" * 300, "ünlü"])
def test_odd_values_are_no_checkpoint(weights) -> None:
    if store.is_published(weights):
        with pytest.raises(ConfigError, match="there are no weights"):
            store.find(weights)
    else:
        with pytest.raises(ConfigError, match="no weights in"):
            checkpoints.checkpoint_in(weights)


def test_numbers_that_are_none_are_refused(tmp_path, values, folder) -> None:
    path = tmp_path / "nan.safetensors"
    values["logits/biases"][3] = np.nan
    with path.open("wb") as file:
        safetensors.write(file, values)
    with pytest.raises(ConfigError, match="damaged"):
        store.add(path, "lenet_5")
    assert not folder.exists()


def test_a_failed_write_leaves_nothing(source, folder, monkeypatch) -> None:
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors, "write", fail)
    with pytest.raises(ConfigError, match="No space left on device"):
        store.add(source, "lenet_5")
    assert list(folder.iterdir()) == []


def test_where_the_store_is(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("SLIMLINE_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.folder() == tmp_path / "slimline" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.folder() == tmp_path / ".cache" / "slimline" / "weights"


def test_manifests_need_no_tensorflow(source) -> None:
    store.add(source, "lenet_5")
    code = (
        "import sys; from trainer.weights import store;"
        " print(store.find('lenet_5').name, len(store.all_manifests()) > 0,"
        " 'tensorflow' in sys.modules, 'h5py' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["lenet_5", "True", "False", "False"]


def test_the_manifest_can_be_read_by_others(source, folder) -> None:
    added = store.add(source, "lenet_5")
    text = (folder / "lenet_5" / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text)["sha256"] == added.sha256


def test_other_weights_of_the_same_name_have_another_fingerprint(
    source, values, tmp_path
) -> None:
    store.add(source, "lenet_5", name="mine")
    first = store.fingerprint("mine")
    store.remove("mine")
    store.add(source, "lenet_5", name="mine", licence="MIT")
    assert store.fingerprint("mine") == first  # the same weights
    store.remove("mine")
    values["logits/biases"][3] += 1
    other = tmp_path / "other.safetensors"
    with other.open("wb") as file:
        safetensors.write(file, values)
    store.add(other, "lenet_5", name="mine")
    assert store.fingerprint("mine") != first


def test_fingerprints_of_what_is_no_name(tmp_path) -> None:
    assert store.fingerprint("") == store.fingerprint(store.BLESSED) == ""
    with pytest.raises(ConfigError, match="no weights 'nothing'"):
        store.fingerprint("nothing")
