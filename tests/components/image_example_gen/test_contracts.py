"""What TFDV says about data that break a contract."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders import example_coder

from components.image_example_gen import contracts
from schema import contract, features, images

LABELS = ("cat", "dog", "owl")
MADE = contracts.write_contract(
    LABELS, formats=("png",), height_px=(8, 8), width_px=(8, 8)
)
SCHEMA = contract.parse_schema(MADE.schema_pbtxt, "test")


def example(number: int, **changes) -> bytes:
    label = number % len(LABELS)
    noise = np.random.default_rng(number).integers(0, 256, (1, 8, 8, 1))
    values = {
        features.ENCODED: list(images.encode_pngs(noise.astype(np.uint8))),
        features.FORMAT: [b"png"],
        features.HEIGHT: [8],
        features.WIDTH: [8],
        features.LABEL: [label],
        features.TEXT: [LABELS[label].encode()],
        features.KEY: [f"{number}.png".encode()],
        **{getattr(features, name): value for name, value in changes.items()},
    }
    made = tf.train.Example()
    for name, value in values.items():
        if value and isinstance(value[0], bytes):
            made.features.feature[name].bytes_list.value.extend(value)
        elif value:
            made.features.feature[name].int64_list.value.extend(value)
    return made.SerializeToString()


GOOD = [example(number) for number in range(30)]
CASES = {
    # what is wrong: (examples, {feature: part of the description})
    "nothing": (GOOD, {}),
    "a new class": (
        [*GOOD, example(99, TEXT=[b"eel"], LABEL=[-1])],
        {
            features.TEXT: "missing from the schema: eel (~3%)",
            features.LABEL: "Unexpectedly small value: -1.",
        },
    ),
    # A split may lack a class; that train has all is ExampleValidator's rule.
    "a missing class": ([example(number) for number in range(30) if number % 3], {}),
    "a feature missing once": (
        [*GOOD, example(99, WIDTH=[])],
        {features.WIDTH: "present in fewer examples than expected"},
    ),
    "a feature missing always": (
        [example(number, WIDTH=[]) for number in range(30)],
        {features.WIDTH: "Column is completely missing"},
    ),
    "two values": (
        [*GOOD, example(99, HEIGHT=[8, 8])],
        {features.HEIGHT: "its value lengths vary"},
    ),
    "another size": (
        [*GOOD, example(99, HEIGHT=[9])],
        {features.HEIGHT: "Unexpectedly large value: 9."},
    ),
    "another format": (
        [*GOOD, example(99, FORMAT=[b"jpeg"])],
        {features.FORMAT: "missing from the schema: jpeg (~3%)"},
    ),
    "another type": (
        [example(number, HEIGHT=[b"8"]) for number in range(30)],
        {features.HEIGHT: "Expected data of type: INT but got STRING"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_anomalies(name):
    examples, expected = CASES[name]
    statistics = stats_impl.generate_statistics_in_memory(
        example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(examples),
        tfdv.StatsOptions(schema=SCHEMA),
    )
    anomalies = tfdv.validate_statistics(statistics, SCHEMA).anomaly_info
    assert set(anomalies) == set(expected)
    for feature, part in expected.items():
        assert part in anomalies[feature].description


def test_every_feature_is_a_scalar_for_transform():
    spec = schema_utils.schema_as_feature_spec(SCHEMA).feature_spec
    assert set(spec) == set(features.RAW_FEATURES)
    assert all(feature.shape == [] for feature in spec.values())
    assert spec[features.LABEL].dtype == tf.int64


def test_labels_travel_in_the_schema(tmp_path):
    assert contract.labels_of(SCHEMA) == LABELS
    contract.save(MADE, tmp_path)
    assert contract.load(tmp_path) == MADE


def test_class_names_may_hold_any_letter(tmp_path):
    labels = ('a "b"', "Käse\\", "名")
    made = contracts.write_contract(
        labels, formats=("png",), height_px=(1, 1), width_px=(1, 1)
    )
    contract.save(made, tmp_path)
    assert contract.load(tmp_path).labels == labels
