"""The Beam job through `Do`: artifact, splits, quarantine, refusals."""

import collections
import hashlib
import itertools
import json
import logging
import os
import pathlib
import shutil

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from common.errors import ConfigError, DataError
from components import artifacts
from components.image_example_gen import (
    beam_job,
    component,
    contracts,
    layouts,
    reading,
    shards,
)
from components.image_example_gen.layouts import cifar
from pushed_models.split_rule import SplitRule
from schema import contract, example_labels, features

PROPERTIES = {
    "input_format": "auto",
    "input_fingerprint": "abc",
    "eval_fraction": 0.1,
    "test_fraction": 0.2,
    "max_unreadable_share": 0.0,
    "channels": 3,
    "output_shards": 0,
    "source_fingerprint": "",
}
CIFAR10 = cifar.class_names("cifar10")


@pytest.fixture
def ingest(tmp_path):
    """Function (path, labels, **properties) -> Examples artifact."""
    count = 0

    def run(path, labels=("cat", "dog"), workers=1, **properties):
        nonlocal count
        count += 1
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / f"contract{count}")
        made = contracts.write_contract(
            tuple(labels), formats=("jpeg", "png"), height_px=(1, 99), width_px=(1, 99)
        )
        contract.save(made, pathlib.Path(schema.uri))
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / f"examples{count}")
        pathlib.Path(examples.uri).mkdir()
        job = component.ImageExampleGen_Executor()
        job._beam_pipeline_args = ["--runner=FnApiRunner"]
        if workers > 1:
            job._beam_pipeline_args += [
                "--direct_running_mode=multi_threading",
                f"--direct_num_workers={workers}",
            ]
        job.Do(
            {"contract": [schema]},
            {"examples": [examples]},
            {**PROPERTIES, "input_path": str(path), **properties},
        )
        return examples

    return run


def read(examples, split):
    """Examples of a split as dictionaries, in the order of the files."""
    folder = pathlib.Path(artifact_utils.get_split_uri([examples], split))
    files = sorted(folder.iterdir())
    found = []
    for data in tf.data.TFRecordDataset(
        [str(file) for file in files], compression_type="GZIP"
    ).as_numpy_iterator():
        feature = tf.train.Example.FromString(data).features.feature
        assert set(feature) == set(features.RAW_FEATURES)
        found.append(
            {
                name: (value.bytes_list.value or value.int64_list.value)[0]
                for name, value in feature.items()
            }
        )
    return found


def read_all(examples):
    return {split: read(examples, split) for split in features.SPLITS}


def summary_of(examples):
    return json.loads((pathlib.Path(examples.uri) / "summary.json").read_text())


def tree(examples):
    root = pathlib.Path(examples.uri)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.name != "summary.json"
    }


def test_spec():
    made = component.ImageExampleGen(
        contract=types.Channel(type=standard_artifacts.Schema),
        input_path="data",
        eval_fraction=0.2,
        output_shards=3,
    )
    assert made.inputs["contract"].type is standard_artifacts.Schema
    assert made.outputs["examples"].type is standard_artifacts.Examples
    # The executor has the defaults of the others.
    given = {"input_path": "data", "eval_fraction": 0.2, "output_shards": 3}
    assert made.exec_properties == given
    with pytest.raises(ValueError, match=r"Unknown arguments .* shards"):
        component.ImageExampleGen(
            contract=types.Channel(type=standard_artifacts.Schema),
            input_path="data",
            shards=3,
        )


def test_artifact_is_what_stock_components_read(fakes, tmp_path, ingest, caplog):
    path = fakes.class_folders(tmp_path / "pets", per_class=30)
    with caplog.at_level(logging.INFO, "slimline.ingest"):
        examples = ingest(path)
    assert artifact_utils.decode_split_names(examples.split_names) == list(
        features.SPLITS
    )
    assert (
        examples_utils.get_payload_format(examples) == example_gen_pb2.FORMAT_TF_EXAMPLE
    )
    assert examples.get_string_custom_property("input_fingerprint") == "abc"
    assert examples.get_int_custom_property("images_train") == 42
    files = sorted(
        str(p.relative_to(examples.uri)) for p in pathlib.Path(examples.uri).rglob("*")
    )
    assert files == [
        "Split-eval",
        "Split-eval/data_tfrecord-00000-of-00001.gz",
        "Split-test",
        "Split-test/data_tfrecord-00000-of-00001.gz",
        "Split-train",
        *(f"Split-train/data_tfrecord-0000{n}-of-00004.gz" for n in range(4)),
        "labels",
        "labels/eval",
        "labels/eval/data_tfrecord-00000-of-00001.npy",
        "labels/test",
        "labels/test/data_tfrecord-00000-of-00001.npy",
        "labels/train",
        *(f"labels/train/data_tfrecord-0000{n}-of-00004.npy" for n in range(4)),
        "quarantine.jsonl",
        "summary.json",
    ]
    summary = summary_of(examples)
    assert summary["images"] == {"train": 42, "eval": 6, "test": 12}
    assert summary["images_per_class"]["eval"] == {"cat": 3, "dog": 3}
    assert summary["source"] == str(path)
    assert summary["missing_classes"] == {}
    assert "60 images (folder), 0 unreadable" in caplog.text


def test_examples_hold_the_image_and_its_facts(fakes, tmp_path, ingest):
    path = fakes.class_folders(tmp_path / "pets", suffix=".jpg")
    for found in read_all(ingest(path)).values():
        for example in found:
            key = example[features.KEY].decode()
            assert example[features.ENCODED] == (path / key).read_bytes()
            assert example[features.FORMAT] == b"jpeg"
            assert example[features.TEXT].decode() == key.split("/")[0]
            assert example[features.LABEL] == ("cat", "dog").index(key.split("/")[0])
            assert (example[features.HEIGHT], example[features.WIDTH]) == (8, 8)


def u_of(content):
    """The number that decides about an image."""
    return int.from_bytes(hashlib.sha256(content).digest(), "big") / 2**256


def test_cifar_keeps_its_test_set_and_cuts_eval_by_content(fakes, tmp_path, ingest):
    folder = fakes.cifar10_binary(tmp_path / "cifar-10-batches-bin", 600)
    archive = fakes.pack(folder, tmp_path / "cifar.tar.gz")
    examples = ingest(archive, CIFAR10)
    found = read_all(examples)
    texts = collections.Counter(e[features.TEXT].decode() for e in found["test"])
    assert texts == dict.fromkeys(CIFAR10, 60)
    assert {e[features.KEY].split(b"#")[0] for e in found["test"]} == {
        b"test_batch.bin"
    }
    for split in ("train", "eval"):
        for example in found[split]:
            pixels = tf.io.decode_png(example[features.ENCODED]).numpy().tobytes()
            assert (u_of(pixels) >= 0.9) == (split == "eval")
    keys = [e[features.KEY] for examples in found.values() for e in examples]
    assert len(set(keys)) == 1800
    assert artifacts.split_rule_of(examples) == SplitRule(0.0)


def test_groups_stay_together(fakes, tmp_path, ingest, caplog):
    for text in ("cat", "dog"):
        patients = [f"{text[0]}{n}" for n in range(10 if text == "cat" else 2)]
        fakes.class_folders(tmp_path / "pets" / text, patients, 5)
    with caplog.at_level(logging.WARNING, "slimline.ingest"):
        examples = ingest(
            tmp_path / "pets",
            input_answers=layouts.Answers(group_by="path:1").to_json(),
        )
    groups = collections.defaultdict(set)
    for split, found in read_all(examples).items():
        for example in found:
            groups[example[features.KEY].decode().split("/")[1]].add(split)
    assert len(groups) == 12
    for name, splits in groups.items():
        u = u_of(name.encode())
        is_cut = "test" if u < 0.2 else "eval" if u >= 0.9 else "train"
        assert splits == {is_cut if name.startswith("c") else "train"}
    assert (
        "fewer than 3 groups give none to eval and test: dog (2 groups)" in caplog.text
    )
    assert summary_of(examples)["split_rule"]["group_by"] == "path:1"
    assert artifacts.split_rule_of(examples) == SplitRule(0.2, group_by="path:1")


def test_an_image_without_a_group_is_refused(fakes, tmp_path, ingest):
    fakes.class_folders(tmp_path / "pets", per_class=5)
    answers = layouts.Answers(group_by="path:1").to_json()
    with pytest.raises(ConfigError, match="no folder 1 below its class"):
        ingest(tmp_path / "pets", input_answers=answers)


def test_classes_come_mixed(fakes, tmp_path, ingest):
    path = fakes.class_folders(tmp_path / "pets", per_class=100)
    labels = [e[features.LABEL] for e in read(ingest(path), "train")]
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    assert changes > 40  # of 139; sorted by class it would be 1


def test_same_bytes_for_every_container_order_and_number_of_workers(
    fakes, tmp_path, ingest
):
    folder = fakes.class_folders(tmp_path / "pets", per_class=150)
    first = tree(ingest(folder))
    moved = tmp_path / "elsewhere" / "pets"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)
    assert tree(ingest(moved)) == first
    assert tree(ingest(fakes.pack(folder, tmp_path / "pets.zip"))) == first
    assert tree(ingest(fakes.pack(folder, tmp_path / "pets.tar"))) == first
    assert tree(ingest(folder, workers=2)) == first


def test_equal_images_never_straddle_splits(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", per_class=30)
    for image in sorted((folder / "cat").iterdir())[:20]:
        shutil.copy(image, folder / "dog" / f"copy_{image.name}")
    examples = ingest(folder, eval_fraction=0.3, test_fraction=0.3)
    splits_of = collections.defaultdict(set)
    for split, found in read_all(examples).items():
        for example in found:
            splits_of[example[features.ENCODED]].add(split)
    assert all(len(found) == 1 for found in splits_of.values())
    summary = summary_of(examples)
    assert (summary["duplicates_kept"], summary["label_conflicts"]) == (20, 20)


def test_training_copies_of_test_images_are_dropped(fakes, tmp_path, ingest):
    for split in ("train", "test"):
        fakes.class_folders(tmp_path / "pets" / split, per_class=10)
    folder = tmp_path / "pets"
    shutil.copy(folder / "test/cat/image_0001.png", folder / "train/cat/copy.png")
    examples = ingest(folder)
    assert summary_of(examples)["duplicates_dropped"] == 1
    assert examples.get_int_custom_property("duplicates_dropped") == 1
    found = read_all(examples)
    assert len(found["test"]) == 20
    keys = {e[features.KEY] for e in [*found["train"], *found["eval"]]}
    assert b"train/cat/copy.png" not in keys
    assert len(keys) == 20


def test_unreadable_images_go_to_quarantine(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", per_class=30)
    (folder / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "cat" / "page.jpg").write_bytes(b"<html>")
    examples = ingest(folder, max_unreadable_share=0.1)
    lines = (pathlib.Path(examples.uri) / "quarantine.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["key"] for entry in entries] == ["cat/page.jpg", "dog/broken.png"]
    assert entries[0]["reason"].startswith("HTML is not accepted")
    assert summary_of(examples)["unreadable"] == 2


def test_too_many_unreadable_images_stop_the_run(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", per_class=10)
    for number in range(5):
        (folder / "cat" / f"bad{number}.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        ingest(folder, max_unreadable_share=0.1)
    assert caught.value.message == "5 of 25 images are unreadable"
    assert caught.value.found.startswith("cat/bad0.png: the file is empty; cat/bad1")
    assert caught.value.found.endswith("; and 2 more")
    assert caught.value.expected == "at most 10.0%"
    assert "data.max_unreadable_share=0.21" in caught.value.tip


def test_errors_of_workers_arrive_as_they_are(fakes, tmp_path, ingest):
    folder = fakes.cifar10_binary(tmp_path / "cifar", 20)
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-72])
    for source in (folder, fakes.pack(folder, tmp_path / "cifar.tar.gz")):
        with pytest.raises(DataError) as caught:
            ingest(source, CIFAR10)
        assert caught.value.message == "record 19 of 'data_batch_2.bin' has 3,001 bytes"
        assert "complete" in caught.value.tip


def test_a_file_that_changes_meanwhile_is_noticed(fakes, tmp_path, ingest, monkeypatch):
    folder = fakes.class_folders(tmp_path / "pets", per_class=10)
    original = beam_job._AssignSplits.process

    def process(self, parts):
        (folder / "cat" / "image_0003.png").write_bytes(b"other")
        return original(self, parts)

    monkeypatch.setattr(beam_job._AssignSplits, "process", process)
    with pytest.raises(
        DataError, match=r"cat/image_0003\.png changed while it was read"
    ):
        ingest(folder)


def test_refuses_one_class(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", ("cat",))
    with pytest.raises(DataError) as caught:
        ingest(folder)
    assert caught.value.message == "the data have one class only"
    assert caught.value.found == "cat"


def test_refuses_an_empty_split(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", per_class=1)
    with pytest.raises(DataError, match="no images are left for the split"):
        ingest(folder)
    fakes.class_folders(folder, per_class=5)
    with pytest.raises(DataError) as caught:
        ingest(folder, test_fraction=0.0)
    assert caught.value.message == "no images are left for the split 'test'"
    assert "data.test_fraction" in caught.value.tip


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"eval_fraction": 1.0}, "setting 'data.eval_fraction' is out of range"),
        ({"max_unreadable_share": -0.1}, "'data.max_unreadable_share' is out of range"),
        ({"eval_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"input_format": "zarr"}, "unknown input format 'zarr'"),
    ],
)
def test_refuses_impossible_settings(fakes, tmp_path, ingest, properties, message):
    folder = fakes.class_folders(tmp_path / "pets")
    with pytest.raises(ConfigError, match=message):
        ingest(folder, **properties)


def test_colour_is_not_lost_unasked(fakes, tmp_path, ingest):
    folder = fakes.cifar10_binary(tmp_path / "cifar-10-batches-bin", 20)
    with pytest.raises(ConfigError) as caught:
        ingest(folder, channels=1)
    assert "have 3 channels, the experiment asks for 1" in caught.value.message
    assert caught.value.tip == "--set preprocessing.channels=3"


def test_gray_is_read_as_colour(fakes, tmp_path, ingest):
    folder = fakes.idx(tmp_path / "mnist")
    examples = ingest(folder, "0123456789", channels=3)
    assert sum(len(found) for found in read_all(examples).values()) > 0


def test_shards_as_asked_for_even_empty_ones(fakes, tmp_path, ingest):
    folder = fakes.class_folders(tmp_path / "pets", per_class=6)
    examples = ingest(folder, output_shards=7)
    for split in features.SPLITS:
        folder = pathlib.Path(artifact_utils.get_split_uri([examples], split))
        assert len(os.listdir(folder)) == 7  # noqa: PTH208
    assert sum(len(found) for found in read_all(examples).values()) == 12


def test_large_splits_have_more_files_and_engines_write_the_same(
    fakes, tmp_path, ingest, monkeypatch
):
    folder = fakes.class_folders(tmp_path / "pets", per_class=150)
    monkeypatch.setattr(shards, "SHARD_BYTES", 1000)
    examples = ingest(folder)
    for split in features.SPLITS:
        split_folder = pathlib.Path(artifact_utils.get_split_uri([examples], split))
        files = sorted(split_folder.iterdir())
        sizes = []
        for file in files:
            images = [
                tf.train.Example.FromString(record)
                .features.feature[features.ENCODED]
                .bytes_list.value[0]
                for record in tf.data.TFRecordDataset(
                    str(file), "GZIP"
                ).as_numpy_iterator()
            ]
            sizes.append(sum(map(len, images)))
        assert len(sizes) == max(shards.MIN_SHARDS[split], -(-sum(sizes) // 1000)) > 1
        mean = sum(sizes) / len(sizes)
        assert max(abs(size - mean) for size in sizes) <= 300  # an image
    assert tree(ingest(fakes.pack(folder, tmp_path / "pets.tar"))) == tree(examples)
    assert tree(ingest(folder, workers=2)) == tree(examples)


@pytest.mark.parametrize("is_archive", [False, True])
def test_labels_lie_beside_the_examples(fakes, tmp_path, ingest, is_archive):
    path = fakes.class_folders(tmp_path / "pets", ("cat", "dog", "owl"), per_class=20)
    if is_archive:
        path = fakes.pack(path, tmp_path / "pets.tar")
    examples = ingest(path)  # owls are not in the contract
    for split in features.SPLITS:
        folder = pathlib.Path(artifact_utils.get_split_uri([examples], split))
        written = [
            example_labels.decode(
                pathlib.Path(example_labels.path_of(str(file))).read_bytes()
            ).tolist()
            for file in sorted(folder.iterdir())
        ]
        expected = [example[features.LABEL] for example in read(examples, split)]
        assert list(itertools.chain(*written)) == expected
        assert set(expected) == {0, 1, features.UNKNOWN_LABEL}


def test_unknown_and_missing_classes_reach_the_validation(
    fakes, tmp_path, ingest, caplog
):
    folder = fakes.class_folders(tmp_path / "pets", ("cat", "owl"))
    examples = ingest(folder)
    assert summary_of(examples)["missing_classes"]["train"] == ["dog"]
    assert "no images in train of: dog" in caplog.text
    labels = {e[features.TEXT]: e[features.LABEL] for e in read(examples, "train")}
    assert labels == {b"cat": 0, b"owl": features.UNKNOWN_LABEL}


def test_contract_of_the_packaged_data_sets_holds_for_what_ingest_writes(
    fakes, tmp_path, ingest
):
    folder = fakes.cifar10_binary(tmp_path / "cifar", 100)
    examples = ingest(folder, CIFAR10)
    schema = contract.parse_schema(
        contract.load(contract.find("cifar10")).schema_pbtxt, "cifar10"
    )
    statistics = tfdv.generate_statistics_from_tfrecord(
        f"{examples.uri}/Split-train/*",
        stats_options=tfdv.StatsOptions(schema=schema),
    )
    anomalies = tfdv.validate_statistics(statistics, schema)
    assert not anomalies.anomaly_info


def test_ignored_images_are_not_passed_over_in_silence(fakes, tmp_path, ingest, caplog):
    for split in ("train", "test"):
        fakes.class_folders(tmp_path / "pets" / split, per_class=4)
    fakes.class_folders(tmp_path / "pets", ("unlabelled",), per_class=8)
    examples = ingest(tmp_path / "pets")
    assert summary_of(examples)["ignored_images"] == 8
    assert "8 image files are no part of the layout" in caplog.text


def test_progress_is_told_while_reading(fakes, tmp_path, ingest, caplog, monkeypatch):
    monkeypatch.setattr(reading, "PROGRESS_SECONDS", 0)
    folder = fakes.class_folders(tmp_path / "pets", per_class=150)
    with caplog.at_level(logging.INFO, "slimline.progress"):
        ingest(folder)
    told = [r.fields["images"] for r in caplog.records if r.name == "slimline.progress"]
    assert told == sorted(told)
    assert told[-1] == 300


def test_the_newest_span_is_read_and_named(ingest, fakes, tmp_path) -> None:
    for span, per_class in ((1, 10), (2, 20)):
        fakes.class_folders(tmp_path / "spans" / str(span) / "v3", per_class=per_class)
    pattern = tmp_path / "spans" / "{SPAN}" / "v{VERSION}"
    examples = ingest(pattern)
    assert len([r for split in features.SPLITS for r in read(examples, split)]) == 40
    assert (examples.span, examples.version) == (2, 3)
    assert examples.get_int_custom_property("span") == 2
    assert examples.get_int_custom_property("version") == 3
    (told,) = summary_of(examples)["spans"]
    assert told == {
        "span": 2,
        "version": 3,
        "path": str(tmp_path / "spans" / "2" / "v3"),
    }


def test_the_span_that_was_found_before_the_run_is_read(
    ingest, fakes, tmp_path
) -> None:
    for span in (1, 2):
        fakes.class_folders(tmp_path / str(span), per_class=10 * span)
    examples = ingest(tmp_path / "{SPAN}", input_spans="1")
    assert examples.span == 1
    assert sum(summary_of(examples)["images"].values()) == 20


@pytest.mark.parametrize("packs", [False, True])
def test_a_window_never_splits_copies(ingest, fakes, tmp_path, packs) -> None:
    old = fakes.class_folders(tmp_path / "1", per_class=40)
    new = fakes.class_folders(tmp_path / "2", per_class=10)
    for text in ("cat", "dog"):  # half of the new images are old ones
        for number in range(1, 11):
            name = f"image_{number:04}.png"
            shutil.copy(old / text / name, new / text / f"copy_{number}.png")
    pattern = tmp_path / "{SPAN}"
    if packs:
        for folder in (old, new):
            fakes.pack(folder, tmp_path / f"{folder.name}.tar.gz")
        pattern = tmp_path / "{SPAN}.tar.gz"
    examples = ingest(pattern, window_spans=2, test_fraction=0.3)
    splits = collections.defaultdict(set)
    keys = set()
    for split in features.SPLITS:
        for record in read(examples, split):
            splits[hashlib.sha256(record[features.ENCODED]).digest()].add(split)
            keys.add(record[features.KEY])
    assert len(keys) == 120 and len(splits) == 100
    assert all(len(found) == 1 for found in splits.values())
    assert {b"1/cat/image_0001.png", b"2/cat/copy_1.png"} <= keys
    assert summary_of(examples)["duplicates_kept"] == 20
    assert [told["span"] for told in summary_of(examples)["spans"]] == [1, 2]


def test_a_window_of_two_layouts_is_refused(ingest, fakes, tmp_path) -> None:
    fakes.class_folders(tmp_path / "1")
    fakes.idx(tmp_path / "2")
    with pytest.raises(DataError, match="lie in different layouts") as caught:
        ingest(tmp_path / "{SPAN}", window_spans=2)
    assert caught.value.found == "span 1: folder, span 2: idx"
