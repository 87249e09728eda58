"""How far two datasets lie apart, by TFDV's comparators, and when that is too far."""

import dataclasses

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.example_validator import profile
from components.example_validator.profile import Profile
from schema import features

# Distances of smaller splits are mostly noise: two halves of one dataset of this many images
# differ by up to 0.08 (Jensen-Shannon, 20 buckets).
MIN_IMAGES = 100
JENSEN_SHANNON = "Jensen-Shannon divergence"
INFINITY_NORM = "L-infinity distance"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What data must keep; 0 sets no limit.

    Attributes:
      max_drift: largest Jensen-Shannon divergence (0 to 1) of sizes, brightness and
        contrast from the data that the live model was trained on.
      max_label_drift: largest change of any class's share of the images.
      max_skew: the same two distances, of eval and test from train.
      max_imbalance: most images of a class for one of another.
    """

    max_drift: float = 0.0
    max_label_drift: float = 0.0
    max_skew: float = 0.0
    max_imbalance: float = 0.0


@dataclasses.dataclass(frozen=True)
class Distance:
    """Of one feature.

    Attributes:
      feature: its name.
      measure: JENSEN_SHANNON or INFINITY_NORM.
      value: from 0 to 1.
      limit: largest value that is let through; 0 sets none.
      change: what differs most, in words.
    """

    feature: str
    measure: str
    value: float
    limit: float
    change: str

    @property
    def is_kept(self) -> bool:
        """Whether the limit is."""
        return not self.limit or self.value <= self.limit

    @property
    def sentence(self) -> str:
        """'image/brightness: Jensen-Shannon divergence 0.412, at most 0.1 (mean ...)'."""
        limit = f", at most {self.limit:g}" if self.limit else ""
        value = f"{self.value:.3f}"
        # A distance beyond its limit must not look like one on it.
        if not self.is_kept and float(value) <= self.limit:
            value = f"{self.value:.6f}"
        change = f" ({self.change})" if self.change else ""
        return f"{self.feature}: {self.measure} {value}{limit}{change}"


def between(
    baseline: Profile, current: Profile, limit: float, label_limit: float
) -> list[Distance]:
    """Distances of all features that both profiles have, the farthest beyond first.

    Shares of classes are those among the images of classes that both have: that a class
    came or went is no drift, the gate has a rule for it. None where a side has fewer than
    MIN_IMAGES images.
    """
    sides = (baseline, current)
    if any(side.datasets[0].num_examples < MIN_IMAGES for side in sides):
        return []
    baseline, current = profile.of_shared_classes(baseline, current)
    sides = (baseline, current)
    found = tfdv.validate_statistics(
        current, _comparators(current), previous_statistics=baseline
    )
    distances = [
        _distance(str(info.path.step[0]), measured.value, limit, label_limit, sides)
        for info in found.drift_skew_info
        for measured in info.drift_measurements
    ]
    return sorted(distances, key=lambda distance: (distance.is_kept, -distance.value))


def imbalance(current: Profile, limit: float) -> str:
    """Why the classes are too imbalanced, or ''."""
    counts = {name: count for name, count in profile.classes(current).items() if count}
    if not limit or not counts:
        return ""
    fewest, most = (find(counts, key=counts.__getitem__) for find in (min, max))
    ratio = counts[most] / counts[fewest]
    if ratio <= limit:
        return ""
    return (
        f"{features.TEXT}: {ratio:.1f} images of {most} ({counts[most]:,.0f}) for one of"
        f" {fewest} ({counts[fewest]:,.0f}), at most {limit:g}"
    )


def _comparators(current: Profile) -> schema_pb2.Schema:
    """Schema that asks for distances; its thresholds are never passed, ours decide."""
    schema = schema_pb2.Schema()
    kinds = statistics_pb2.FeatureNameStatistics
    of_kind = {
        kinds.INT: schema_pb2.INT,
        kinds.FLOAT: schema_pb2.FLOAT,
        kinds.STRING: schema_pb2.BYTES,
        kinds.BYTES: schema_pb2.BYTES,
    }
    for found in current.datasets[0].features:
        name = str(found.path.step[0])
        feature = schema.feature.add(name=name, type=of_kind[found.type])
        comparator = feature.drift_comparator
        if name == features.TEXT:
            comparator.infinity_norm.threshold = 1.0
        else:
            comparator.jensen_shannon_divergence.threshold = 1.0
    return schema


def _distance(
    name: str,
    value: float,
    limit: float,
    label_limit: float,
    sides: tuple[Profile, Profile],
) -> Distance:
    if name == features.TEXT:
        return Distance(name, INFINITY_NORM, value, label_limit, _moved_class(*sides))
    before, after = (profile.mean(side, name) for side in sides)
    change = f"mean {before:.3g} -> {after:.3g}"
    return Distance(name, JENSEN_SHANNON, value, limit, change)


def _moved_class(baseline: Profile, current: Profile) -> str:
    """The class whose share of the images changed most, as 'cat 10 % -> 31 %'."""
    before, after = (_shares(side) for side in (baseline, current))
    names = sorted({*before, *after})
    if not names:
        return ""
    moved = max(names, key=lambda name: abs(after.get(name, 0) - before.get(name, 0)))
    return f"{moved} {before.get(moved, 0):.1%} -> {after.get(moved, 0):.1%}"


def _shares(found: Profile) -> dict[str, float]:
    counts = profile.classes(found)
    total = sum(counts.values()) or 1.0
    return {name: count / total for name, count in counts.items()}
