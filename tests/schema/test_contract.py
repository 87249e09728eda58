"""The packaged contracts, and what a broken one says."""

import pytest

from common.errors import ConfigError, DataError
from components.image_example_gen import contracts
from schema import contract, features

# data set: (classes, size in px, the first and the last class)
PACKAGED = {
    "digits": (10, 8, "0", "9"),
    "mnist": (10, 28, "0", "9"),
    "fashion_mnist": (10, 28, "T-shirt/top", "Ankle boot"),
    "cifar10": (10, 32, "airplane", "truck"),
    "cifar100": (100, 32, "apple", "worm"),
}


def test_every_packaged_data_set_is_in_the_table():
    assert contract.names() == sorted(PACKAGED)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_contracts(name):
    num_classes, size_px, first, last = PACKAGED[name]
    loaded = contract.load(contract.find(name))
    assert len(loaded.labels) == len(set(loaded.labels)) == num_classes
    assert (loaded.labels[0], loaded.labels[-1]) == (first, last)
    size = (size_px, size_px)
    assert loaded == contracts.write_contract(
        loaded.labels, formats=("png",), height_px=size, width_px=size
    )


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_schemas_ask_for_every_feature_once(name):
    schema = contract.parse_schema(
        contract.load(contract.find(name)).schema_pbtxt, name
    )
    assert {feature.name for feature in schema.feature} == set(features.RAW_FEATURES)
    for feature in schema.feature:
        assert feature.presence.min_fraction == 1
        assert feature.HasField("shape")
        assert not feature.shape.dim


def test_cifar100_classes_are_in_official_order():
    labels = contract.load(contract.find("cifar100")).labels
    assert list(labels) == sorted(labels)
    assert labels[8] == "bicycle"
    assert labels[52] == "oak_tree"


def test_finds_a_contract_by_folder(tmp_path):
    made = contract.load(contract.find("digits"))
    contract.save(made, tmp_path / "mine")
    assert contract.find(str(tmp_path / "mine")) == tmp_path / "mine"
    assert contract.load(tmp_path / "mine") == made


def test_says_which_contracts_there_are(tmp_path):
    with pytest.raises(ConfigError) as caught:
        contract.find(str(tmp_path))
    assert "cifar10, cifar100, digits, fashion_mnist, mnist" in caught.value.expected
    assert "slimline data init" in caught.value.tip


def test_refuses_files_that_disagree(tmp_path):
    contract.save(contract.load(contract.find("digits")), tmp_path)
    (tmp_path / "labels.txt").write_text("0\n1\n3\n")
    with pytest.raises(DataError) as caught:
        contract.load(tmp_path)
    assert "disagree about the classes" in caught.value.message
    assert "3 classes in labels.txt: 0, 1, 3" in caught.value.found


def test_refuses_what_is_no_schema(tmp_path):
    (tmp_path / "schema.pbtxt").write_text("feature {")
    (tmp_path / "labels.txt").write_text("")
    with pytest.raises(DataError, match="is not a TFMD schema"):
        contract.load(tmp_path)
    (tmp_path / "schema.pbtxt").write_text("")
    with pytest.raises(DataError, match=f"the schema has no feature '{features.TEXT}'"):
        contract.load(tmp_path)


def test_refuses_a_missing_labels_file(tmp_path):
    (tmp_path / "schema.pbtxt").write_text("")
    with pytest.raises(DataError):
        contract.load(tmp_path)


@pytest.mark.parametrize("given", ["caf\u00e9", "cafe\u0301"])
def test_a_contract_is_read_in_nfc(tmp_path, given):
    written = contracts.write_contract(
        (given, "dog"), formats=("png",), height_px=(8, 8), width_px=(8, 8)
    )
    contract.save(written, tmp_path)
    loaded = contract.load(tmp_path)
    assert loaded.labels == ("caf\u00e9", "dog")
    assert contract.labels_of(contract.parse_schema(loaded.schema_pbtxt, "")) == (
        "caf\u00e9",
        "dog",
    )
    assert contract.read_labels(tmp_path / contract.SCHEMA_FILE) == loaded.labels
