"""An anomaly stops the run, in words."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from common.errors import DataError
from components.example_validator import component, distances, profile
from pushed_models import data_profile
from schema import features, images

SCHEMA = """
string_domain { name: "class" value: "cat" value: "dog" }
feature {
  name: "image/class/text" type: BYTES domain: "class"
  presence { min_fraction: 1.0 min_count: 1 }
  shape {}
  unique_constraints { min: 2 max: 2 }
}
feature {
  name: "image/height" type: INT int_domain { min: 8 max: 8 }
  presence { min_fraction: 1.0 min_count: 1 }
  shape {}
}
"""

STATISTICS = """
datasets {
  num_examples: 10
  features {
    path { step: "image/class/text" } type: STRING
    string_stats {
      common_stats {
        num_non_missing: 10 min_num_values: 1 max_num_values: 1 avg_num_values: 1.0
        tot_num_values: 10
      }
      unique: %d
      rank_histogram { %s }
    }
  }
  features {
    path { step: "image/height" } type: INT
    num_stats {
      common_stats {
        num_non_missing: 10 min_num_values: 1 max_num_values: 1 avg_num_values: 1.0
        tot_num_values: 10
      }
      min: 8 max: %d
    }
  }
}
"""


@pytest.fixture
def validate(tmp_path: pathlib.Path, new_fakes):
    """Function (class_name, largest_px, **limits) that validates.

    A split `train` has ten images, one of them of `class_name`; `others` gives further
    splits, name -> class -> images.
    """

    def run(
        class_name: str,
        largest_px: int,
        others: Mapping[str, Mapping[str, int]] = {},
        **limits: float,
    ) -> pathlib.Path:
        splits = {"train": {"cat": 9, class_name: 1}, **others}
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / "schema")
        pathlib.Path(schema.uri).mkdir()
        (tmp_path / "schema" / "schema.pbtxt").write_text(SCHEMA)
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        for name, classes in splits.items():
            split = tmp_path / "statistics" / f"Split-{name}"
            split.mkdir(parents=True)
            buckets = " ".join(
                f'buckets {{ label: "{label}" sample_count: {count} }}'
                for label, count in classes.items()
            )
            message = text_format.Parse(
                STATISTICS % (len(classes), buckets, largest_px),
                statistics_pb2.DatasetFeatureStatisticsList(),
            )
            (split / "FeatureStats.pb").write_bytes(message.SerializeToString())
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        write_examples(
            tmp_path / "examples" / "Split-train", new_fakes(0).pixels([0] * 4, 8, 6, 3)
        )
        examples.split_names = artifact_utils.encode_split_names(["train"])
        statistics.split_names = artifact_utils.encode_split_names([*splits])
        anomalies = standard_artifacts.ExampleAnomalies()
        anomalies.uri = str(tmp_path / "anomalies")
        output = standard_artifacts.ExampleStatistics()
        output.uri = str(tmp_path / "profile")
        component.ExampleValidator_Executor().Do(
            {"statistics": [statistics], "schema": [schema], "examples": [examples]},
            {"anomalies": [anomalies], "profile": [output]},
            {
                "serving_folder": str(tmp_path / "serving" / "pets"),
                "limits": json.dumps(limits),
                "source_fingerprint": "",
            },
        )
        return tmp_path

    return run


def write_examples(folder: pathlib.Path, pixels: np.ndarray) -> list[str]:
    """A shard of PNGs; gives its path in a list."""
    folder.mkdir(parents=True)
    path = str(folder / "data_tfrecord-00000-of-00001.gz")
    _, height, width, _ = pixels.shape
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for encoded in images.encode_pngs(pixels):
            example = tf.train.Example()
            feature = example.features.feature
            feature[features.ENCODED].bytes_list.value.append(encoded)
            feature[features.HEIGHT].int64_list.value.append(height)
            feature[features.WIDTH].int64_list.value.append(width)
            writer.write(example.SerializeToString())
    return [path]


def test_data_that_keep_their_contract_pass(validate) -> None:
    validate("dog", 8)


def test_a_new_class_is_named(validate) -> None:
    with pytest.raises(DataError, match="break their contract") as caught:
        validate("zebra", 8)
    assert caught.value.found.startswith("train: image/class/text: ")
    assert "zebra" in caught.value.found


def test_a_wrong_size_is_named(validate) -> None:
    with pytest.raises(DataError, match="break their contract") as caught:
        validate("dog", 9)
    assert "train: image/height: " in caught.value.found
    assert "9" in caught.value.found


def test_a_small_class_may_be_missing_from_eval_and_test(validate) -> None:
    root = validate("dog", 8, {"eval": {"cat": 3}, "test": {"cat": 4, "dog": 1}})
    assert (root / "profile" / "Split-train").is_dir()


def test_an_official_split_may_lack_a_class_of_many_images(validate) -> None:
    root = validate("dog", 8, {"eval": {"cat": 300}, "test": {"cat": 3, "dog": 200}})
    assert (root / "profile" / "Split-train").is_dir()


def test_a_class_may_not_be_missing_from_train(validate) -> None:
    with pytest.raises(DataError, match="break their contract") as caught:
        validate("cat", 8, {"eval": {"cat": 3, "dog": 1}})
    assert caught.value.found == "train: no image of dog"


def test_of_more_classes_than_are_listed_none_is_missing() -> None:
    statistics = text_format.Parse(
        STATISTICS % (3, 'buckets { label: "cat" sample_count: 9 }', 8),
        statistics_pb2.DatasetFeatureStatisticsList(),
    )
    assert profile.missing_classes(statistics, ("cat", "dog", "emu")) == []
    assert profile.missing_classes(statistics, ("auk", "cat", "dog", "emu")) == [
        "auk",
        "dog",
        "emu",
    ]


def test_what_else_is_wrong_with_a_small_split_is_told(validate) -> None:
    with pytest.raises(DataError) as caught:
        validate("dog", 9, {"eval": {"cat": 3}})
    assert "eval: image/height: " in caught.value.found
    assert "unique" not in caught.value.found


def test_classes_are_named_first() -> None:
    anomalies = anomalies_pb2.Anomalies()
    for name in ("image/aaa", features.TEXT):
        anomalies.anomaly_info[name].reason.add(description=f"{name} is\n odd")
    assert component.in_words(anomalies) == [
        "image/class/text: image/class/text is odd",
        "image/aaa: image/aaa is odd",
    ]


def test_what_the_data_are_like_is_kept(validate) -> None:
    root = validate("dog", 8)
    found = profile.read(root / "profile" / "Split-train" / data_profile.FILE_NAME)
    assert found is not None
    assert profile.classes(found) == {"cat": 9, "dog": 1}
    assert profile.mean(found, features.HEIGHT) == 8
    assert profile.mean(found, features.WIDTH) == 6
    # Levels of class 0 are 0, 97 and 194, with noise up to 39: luma 79 and a half of 39.
    assert profile.mean(found, profile.BRIGHTNESS) == pytest.approx(
        98.5 / 255, abs=0.02
    )
    assert component.read_distances(str(root / "anomalies")) == {
        "version": None,
        "distances": [],
    }


def test_classes_that_are_too_unequal(validate) -> None:
    with pytest.raises(DataError, match="the classes are too imbalanced") as caught:
        validate("dog", 8, max_imbalance=8.5)
    assert caught.value.found == (
        "image/class/text: 9.0 images of cat (9) for one of dog (1), at most 8.5"
    )


@pytest.fixture
def make_profile(tmp_path: pathlib.Path):
    """Function (gray values of images, images a class) -> profile."""
    count = 0

    def make(gray: np.ndarray, size_px: int = 8, **classes: int) -> profile.Profile:
        nonlocal count
        count += 1
        pixels = np.broadcast_to(
            np.asarray(gray, np.uint8)[:, None, None, None],
            (len(gray), size_px, size_px, 1),
        ).copy()
        pixels[:, : size_px // 2] //= 2  # the upper half is darker: contrast
        statistics = profile.Profile()
        data_set = statistics.datasets.add(
            name="train", num_examples=sum(classes.values())
        )
        feature = data_set.features.add(
            type=statistics_pb2.FeatureNameStatistics.STRING
        )
        feature.path.step.append(features.TEXT)
        feature.string_stats.common_stats.num_non_missing = sum(classes.values())
        for name, images_of_it in classes.items():
            feature.string_stats.rank_histogram.buckets.add(
                label=name, sample_count=images_of_it
            )
        files = write_examples(tmp_path / f"{count}", pixels)
        return profile.make(files, statistics)

    return make


def divergence(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms, in bits."""
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    terms = [
        (side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum()
        for side in (p, q)
    ]
    return float(sum(terms) / 2)


def test_distances_are_what_they_are_called(make_profile) -> None:
    generator = np.random.default_rng(0)
    before, after = (
        np.clip(generator.normal(middle, 20, 400), 1, 254).astype(np.uint8)
        for middle in (150, 110)
    )
    old = make_profile(before, cat=200, dog=200)
    new = make_profile(after, cat=320, dog=80)
    found = {
        distance.feature: distance for distance in distances.between(old, new, 0.1, 0.2)
    }
    assert found.keys() == {*profile.MEASURED, features.TEXT}
    means = [
        (gray // 2 * 0.5 + gray * 0.5) / 255
        for gray in map(np.float64, (before, after))
    ]
    expected = divergence(
        *(np.histogram(values, np.linspace(0, 1, 21))[0] for values in means)
    )
    bright = found[profile.BRIGHTNESS]
    assert bright.value == pytest.approx(expected, abs=1e-6)
    assert bright.value > 0.1 and not bright.is_kept
    assert bright.sentence.startswith(
        f"image/brightness: Jensen-Shannon divergence {bright.value:.2f}"
    )
    assert ", at most 0.1 (mean 0.43" in bright.sentence
    label = found[features.TEXT]
    assert label.value == pytest.approx(0.3)
    assert label.sentence == (
        "image/class/text: L-infinity distance 0.300, at most 0.2 (cat 50.0% -> 80.0%)"
    )
    assert found[features.HEIGHT].value == 0 and found[features.HEIGHT].is_kept


def test_other_sizes_are_as_far_as_can_be(make_profile) -> None:
    gray = np.arange(100, 200)
    near, far = (make_profile(gray, size_px, cat=50, dog=50) for size_px in (8, 64))
    (height,) = (
        distance
        for distance in distances.between(near, far, 0.1, 0.2)
        if distance.feature == features.HEIGHT
    )
    assert height.value == pytest.approx(1.0)


def test_halves_of_one_data_set_pass(make_profile) -> None:
    generator = np.random.default_rng(1)
    gray = np.clip(generator.normal(128, 40, 2000), 0, 255).astype(np.uint8)
    halves = [make_profile(half, cat=500, dog=500) for half in np.split(gray, 2)]
    found = distances.between(*halves, 0.1, 0.15)
    assert len(found) == 5 and all(distance.is_kept for distance in found)


def test_a_class_that_came_or_went_is_no_drift(make_profile) -> None:
    """Among the classes that both have, cat and dog, the shares are the same."""
    gray = np.arange(100, 200)
    old = make_profile(gray, cat=60, dog=30, emu=400)
    new = make_profile(gray, cat=80, dog=40, auk=900, owl=10)
    (label,) = (
        distance
        for distance in distances.between(old, new, 0.1, 0.15)
        if distance.feature == features.TEXT
    )
    assert label.value == pytest.approx(0)
    moved = make_profile(gray, cat=40, dog=80, auk=900)
    farthest = distances.between(old, moved, 0.1, 0.15)[0]
    assert farthest.change == "cat 66.7% -> 33.3%"


def test_shares_of_classes_that_have_nothing_in_common_are_not_compared(
    make_profile,
) -> None:
    gray = np.arange(100, 200)
    old, new = make_profile(gray, cat=60, dog=60), make_profile(gray, auk=60, owl=60)
    found = distances.between(old, new, 0.1, 0.15)
    assert {distance.feature for distance in found} == set(profile.MEASURED)
    assert profile.classes(old) == {"cat": 60, "dog": 60}


def test_few_images_are_not_judged(make_profile) -> None:
    small = make_profile(np.arange(99), cat=50, dog=49)
    large = make_profile(np.arange(99) + 100, cat=50, dog=50)
    assert distances.between(small, large, 0.1, 0.1) == []
    assert distances.between(large, small, 0.1, 0.1) == []
    assert distances.between(large, large, 0.1, 0.1) != []


def test_a_profile_that_is_none_is_no_baseline(tmp_path: pathlib.Path) -> None:
    assert profile.read(tmp_path / "absent.pb") is None
    (tmp_path / "broken.pb").write_bytes(b"\xff\xff not a protocol buffer")
    assert profile.read(tmp_path / "broken.pb") is None
