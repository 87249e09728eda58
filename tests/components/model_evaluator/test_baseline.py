"""What the evaluator knows of the live model."""

import pathlib

import pytest
from tensorflow.core.protobuf import saved_model_pb2
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.baseline_model import component as baseline_model
from components.model_evaluator import classes, component
from pushed_models import signatures
from pushed_models.split_rule import SplitRule
from storage import manifest

RULE = SplitRule(0.15)
OLD = "its splits were cut by an older rule, or by an unknown one"
OTHER = "its splits were cut by other settings: seed 3 then, 0 now"


@pytest.fixture
def live(tmp_path):
    """Function (rule of its training, labels or None) -> artifact of the live model."""

    def make(rule: SplitRule | None, labels: str | None = "cat\ndog\n"):
        artifact = standard_artifacts.Model()
        artifact.uri = str(tmp_path)
        artifact.set_int_custom_property(baseline_model.EXISTS_PROPERTY, 1)
        artifact.set_string_custom_property(baseline_model.VERSION_PROPERTY, "6")
        model = pathlib.Path(path_utils.serving_model_path(artifact.uri))
        files = {
            f"assets/{signatures.LABELS_ASSET}": labels,
            f"{manifest.EXTRA_FOLDER}/{signatures.SPLIT_RULE_FILE}": rule
            and rule.to_json(),
        }
        for name, text in files.items():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                (model / name).write_text(text)
        # A graph that leaves open how many classes it has.
        empty = saved_model_pb2.SavedModel()
        empty.meta_graphs.add()
        (model / "saved_model.pb").write_bytes(empty.SerializeToString())
        return artifact

    return make


@pytest.mark.parametrize(
    ("trained", "tested", "seen"),
    [
        (RULE, RULE, ""),
        (None, RULE, OLD),
        (SplitRule(0.15, seed=3), RULE, OTHER),
        (None, SplitRule(0.0), ""),
        (None, None, ""),
    ],
)
def test_whether_it_may_have_seen_test_images(live, trained, tested, seen):
    assert component._baseline(live(trained), tested) == classes.Baseline(
        "6", ("cat", "dog"), seen
    )


def test_a_model_without_class_names_is_not_compared(live):
    assert component._baseline(live(RULE, None), RULE) == classes.Baseline("6", ())


def test_there_is_none_yet():
    assert component._baseline(standard_artifacts.Model(), RULE) is None
