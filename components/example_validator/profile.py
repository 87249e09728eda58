"""Profile of a split: the distributions that are compared between datasets.

Statistics of TFX see the features of an Example only, so nothing of its pixels. Their
histograms have boundaries of their own for every dataset, one huge image moves them all;
here they are fixed, and a distance is no more than what the images differ by.
"""

import io
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2

from schema import features

# Means and standard deviations of the gray values of an image, 0 to 1.
BRIGHTNESS = "image/brightness"
CONTRAST = "image/contrast"
MEASURED = (features.HEIGHT, features.WIDTH, BRIGHTNESS, CONTRAST)

# Images of a split that are measured; shards are sorted by digest, so the first ones are as
# good as drawn at random.
SAMPLE_IMAGES = 2000
# Larger JPEGs are decoded to about this size: means of gray values need no more.
_DRAFT_PX = 128
_PILLOW = ("JPEG", "PNG")
_GRAY = np.linspace(0.0, 1.0, 21)
# A contrast above one half is impossible: half of the pixels black, half white.
_CONTRAST = np.linspace(0.0, 0.5, 21)
# Half octaves from 1 px to the largest side, which a length of 2 ** 14 px has.
_SIDES_PX = 2.0 ** np.arange(0.0, 15.0, 0.5)
_BOUNDARIES = {
    features.HEIGHT: _SIDES_PX,
    features.WIDTH: _SIDES_PX,
    BRIGHTNESS: _GRAY,
    CONTRAST: _CONTRAST,
}
_INTEGERS = (features.HEIGHT, features.WIDTH)

Profile: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


def make(files: Sequence[str], statistics: Profile) -> Profile:
    """Profile of a split.

    Args:
      files: its Examples, TFRecords with GZIP.
      statistics: what StatisticsGen found in it; gives the number of images and the
        classes of all of them.
    """
    (found,) = statistics.datasets
    profile = Profile()
    data_set = profile.datasets.add(name=found.name, num_examples=found.num_examples)
    for feature in found.features:
        if _holds_classes(feature):
            data_set.features.append(feature)
    measured = np.array(list(_measure(files)), np.float64)
    for name, values in zip(MEASURED, measured.reshape(-1, 4).T, strict=True):
        _add(data_set, name, values)
    return profile


def read(path: pathlib.Path) -> Profile | None:
    """The profile in a file; None where there is none, or it is none."""
    try:
        profile = Profile.FromString(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:  # protobuf's DecodeError, whose module depends on its build
        return None
    return profile if len(profile.datasets) == 1 else None


def of_shared_classes(*profiles: Profile) -> tuple[Profile, ...]:
    """Copies without the counts of classes that not all of `profiles` have."""
    shared = set.intersection(*(set(classes(profile)) for profile in profiles))
    copies = []
    for profile in profiles:
        copy = Profile()
        copy.CopyFrom(profile)
        features_of = copy.datasets[0].features
        for feature in [each for each in features_of if _holds_classes(each)]:
            buckets = feature.string_stats.rank_histogram.buckets
            kept = [bucket for bucket in buckets if bucket.label in shared]
            del buckets[:]
            buckets.extend(kept)
            if not kept:
                features_of.remove(feature)
        copies.append(copy)
    return tuple(copies)


def classes(profile: Profile) -> dict[str, float]:
    """Images of each class."""
    for feature in profile.datasets[0].features:
        if _holds_classes(feature):
            buckets = feature.string_stats.rank_histogram.buckets
            return {bucket.label: bucket.sample_count for bucket in buckets}
    return {}


def missing_classes(profile: Profile, labels: Sequence[str]) -> list[str]:
    """Those of `labels` that no image has.

    Of more classes than TFDV lists, 1,000, these may be too many, where one is missing.
    """
    for feature in profile.datasets[0].features:
        if _holds_classes(feature) and feature.string_stats.unique >= len(labels):
            return []
    counts = classes(profile)
    return [label for label in labels if not counts.get(label)]


def mean(profile: Profile, name: str) -> float:
    """Mean of a measured feature; 0 where it was not measured."""
    for feature in profile.datasets[0].features:
        if list(feature.path.step) == [name]:
            return feature.num_stats.mean
    return 0.0


def _holds_classes(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    return list(feature.path.step) == [features.TEXT]


def _measure(
    files: Sequence[str],
) -> Iterator[tuple[float, float, float, float]]:
    """Height and width in px, brightness and contrast, an image each."""
    records = tf.data.Dataset.from_tensor_slices(sorted(files)).interleave(
        lambda file: tf.data.TFRecordDataset(file, "GZIP"),
        cycle_length=max(1, len(files)),
        deterministic=True,
    )
    for record in records.take(SAMPLE_IMAGES).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        gray = _gray(feature[features.ENCODED].bytes_list.value[0])
        yield (
            feature[features.HEIGHT].int64_list.value[0],
            feature[features.WIDTH].int64_list.value[0],
            float(gray.mean()) / 255.0,
            float(gray.std()) / 255.0,
        )


def _gray(encoded: bytes) -> np.ndarray:
    """Gray values 0 to 255 [height, width], of a large JPEG in a smaller size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ingest has judged the image already
            with Image.open(io.BytesIO(encoded), formats=_PILLOW) as image:
                image.draft("L", (_DRAFT_PX, _DRAFT_PX))
                return np.asarray(image.convert("L"), np.float64)
    # Some images that training decodes are refused by Pillow, in many ways.
    except Exception:
        colours = tf.io.decode_image(encoded, channels=3)
        return tf.image.rgb_to_grayscale(colours).numpy()[..., 0].astype(np.float64)


def _add(
    data_set: statistics_pb2.DatasetFeatureStatistics, name: str, values: np.ndarray
) -> None:
    kind = statistics_pb2.FeatureNameStatistics
    feature = data_set.features.add(type=kind.INT if name in _INTEGERS else kind.FLOAT)
    feature.path.step.append(name)
    numbers = feature.num_stats
    numbers.common_stats.num_non_missing = len(values)
    numbers.common_stats.tot_num_values = len(values)
    numbers.common_stats.min_num_values = numbers.common_stats.max_num_values = 1
    numbers.common_stats.avg_num_values = 1.0
    if not len(values):
        return
    numbers.mean, numbers.std_dev = float(values.mean()), float(values.std())
    numbers.min, numbers.max = float(values.min()), float(values.max())
    boundaries = _BOUNDARIES[name]
    inside = np.clip(values, boundaries[0], boundaries[-1])
    counts, _ = np.histogram(inside, boundaries)
    histogram = numbers.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for low, high, count in zip(boundaries[:-1], boundaries[1:], counts, strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=int(count))
