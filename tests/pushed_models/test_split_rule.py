"""Which models may have been trained on test images."""

import dataclasses
import json

import pytest

from pushed_models import signatures, split_rule
from pushed_models.split_rule import SplitRule
from storage import manifest

NOW = SplitRule(0.15, seed=3, group_by="column:patient")


def test_a_rule_comes_back_from_its_text():
    assert split_rule.from_json(NOW.to_json()) == NOW


@pytest.mark.parametrize("text", ["", "null", "3", '{"by": 1}', "{", "[" * 100_000])
def test_of_other_texts_the_rule_is_unknown(text):
    assert split_rule.from_json(text) is None


def test_a_model_brings_its_rule_along(tmp_path):
    assert split_rule.of_model(tmp_path) is None
    (tmp_path / manifest.EXTRA_FOLDER).mkdir()
    file = tmp_path / manifest.EXTRA_FOLDER / signatures.SPLIT_RULE_FILE
    file.write_bytes(b"\xff")
    assert split_rule.of_model(tmp_path) is None
    file.write_text(NOW.to_json())
    assert split_rule.of_model(tmp_path) == NOW


@pytest.mark.parametrize(
    ("trained", "why"),
    [
        (NOW, ""),
        (None, "its splits were cut by an older rule, or by an unknown one"),
        (
            dataclasses.replace(NOW, version=1),
            "its splits were cut by other settings: version 1 then, 2 now",
        ),
        (
            dataclasses.replace(NOW, seed=0, group_by=""),
            "its splits were cut by other settings: seed 0 then, 3 now,"
            " group_by '' then, 'column:patient' now",
        ),
        (
            dataclasses.replace(NOW, test_fraction=0.1),
            "its splits were cut by other settings: test_fraction 0.1 then, 0.15 now",
        ),
        # What is test now was test then, and more.
        (dataclasses.replace(NOW, test_fraction=0.2), ""),
        (
            dataclasses.replace(NOW, test_fraction=0.2, seed=4),
            "its splits were cut by other settings: test_fraction 0.2 then, 0.15 now,"
            " seed 4 then, 3 now",
        ),
        (
            SplitRule(0.0),
            "its splits were cut by other settings: test_fraction 0.0 then, 0.15 now,"
            " seed 0 then, 3 now, group_by '' then, 'column:patient' now",
        ),
    ],
)
def test_why_a_model_may_have_seen_test_images(trained, why):
    assert split_rule.why_seen(trained, NOW) == why


@pytest.mark.parametrize("tested", [None, SplitRule(0.0)])
def test_an_official_test_set_is_seen_by_nobody(tested):
    assert split_rule.why_seen(None, tested) == ""


def test_a_rule_of_a_later_release_is_unknown():
    text = json.dumps(dataclasses.asdict(NOW) | {"version": 3, "hash": "blake2"})
    assert split_rule.from_json(text) is None
