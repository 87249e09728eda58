"""The class layer on features of a net that stays as it is, then fine-tuning."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from pushed_models import signatures
from trainer import (
    averages,
    checkpoints,
    evaluation,
    features,
    graphs,
    head_settings,
    history,
    input_pipeline,
    training,
    transfer,
    warm_start,
)
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    # The classes of the fake differ in brightness.
    PreprocessingConfig(
        resize_px=8, crop_px=8, channels=1, standardise="minus_one_to_one"
    ),
    ModelConfig(net="resnet_8"),
    TrainConfig(
        batch_size=8,
        epochs=0,
        fit_head=True,
        weights="given/path",
        ema_decay=0.9,
        learning_rate=0.001,
    ),
    augmentation=AugmentationConfig(flip_left_right=True),
)


def with_train(**changes):
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


@pytest.fixture(scope="module")
def split(make_fake):
    fake = make_fake(CONFIG.preprocessing, count=40)
    return input_pipeline.load_split([fake.pattern], fake.transform, cache_bytes=0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Checkpoint of a net for three classes that has learned nothing."""
    return start_of(CONFIG, tmp_path_factory.mktemp("start"))


def start_of(config, folder):
    path = str(folder / "model.ckpt")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(3)
        graphs.build_inference(tf.zeros([1, 8, 8, 1]), 3, config)
        session.run(v1.global_variables_initializer())
        variables = averages.averaged_variables()
        # Statistics and factors away from 0 and 1, so that what is lost shows.
        generator = np.random.default_rng(5)
        for variable in variables:
            if "BatchNorm" in variable.op.name:
                shape = variable.shape.as_list()
                variable.load(generator.uniform(0.5, 1.5, shape), session)
        v1.train.Saver(variables).save(session, path)
    return warm_start.Start(path, fingerprint="abc")


def trained(config, split, start, folder, cache=None):
    folder.mkdir(exist_ok=True)
    return training.train(config, split, split, 2, folder, start, cache)


@pytest.fixture(scope="module")
def head_run(split, start, tmp_path_factory):
    """Folder and result of a training of the class layer."""
    folder = tmp_path_factory.mktemp("head") / "run"
    return folder, trained(CONFIG, split, start, folder)


def test_the_head_alone_learns_and_the_body_stays(start, head_run):
    _, result = head_run
    assert (result.steps, result.best.step, result.best.weights) == (0, 0, "raw")
    assert result.best.top_1 == 1.0
    before = tf.train.load_checkpoint(start.checkpoint)
    after = tf.train.load_checkpoint(result.checkpoint)
    names = set(before.get_variable_to_shape_map())
    assert names == set(after.get_variable_to_shape_map())
    for name in names - {"resnet_8/logits/weights", "resnet_8/logits/biases"}:
        np.testing.assert_array_equal(before.get_tensor(name), after.get_tensor(name))
    assert after.get_tensor("resnet_8/logits/weights").shape == (64, 2)


def test_what_the_graph_measures_is_what_was_said_of_the_features(split, head_run):
    _, result = head_run
    with evaluation.EvalSession(CONFIG, split, 2) as session:
        measured = session.measure_one(result.checkpoint, 0, "raw")
    assert measured.top_1 == result.best.top_1
    assert measured.cross_entropy == pytest.approx(result.best.cross_entropy, rel=1e-4)


def test_all_weight_decays_are_written_down_and_the_best_is_taken(
    split, start, tmp_path, caplog
):
    with caplog.at_level(logging.INFO, "slimline.train"):
        result = trained(CONFIG, split, start, tmp_path / "run")
    rows = list(history.read(history.heads(tmp_path / "run")))
    assert [row["weight_decay"] for row in rows] == [1.0, 0.1, 0.01, 0.001, 0.0001]
    best = max(rows, key=lambda row: (row["eval_top_1"], -row["eval_cross_entropy"]))
    assert result.best.cross_entropy == pytest.approx(best["eval_cross_entropy"])
    assert (
        sum("class layer with weight decay" in r.message for r in caplog.records) == 5
    )
    assert history.head_top_1(tmp_path / "run") == result.best.top_1


def test_features_are_computed_once(split, start, tmp_path, monkeypatch):
    cache = features.Cache(tmp_path / "features", {"weights": "abc"})
    trained(CONFIG, split, start, tmp_path / "first", cache)
    computed = []
    monkeypatch.setattr(
        features.Extractor, "_compute", lambda *_: computed.append(1) or 1 / 0
    )
    trained(CONFIG, split, start, tmp_path / "second", cache)
    assert not computed
    for changed in (
        features.Cache(cache.root, {"weights": "another"}),
        None,
    ):
        with pytest.raises(ZeroDivisionError):
            trained(CONFIG, split, start, tmp_path / "third", changed)
    with pytest.raises(ZeroDivisionError):
        trained(with_train(head_views=1), split, start, tmp_path / "third", cache)


def test_a_killed_computation_keeps_its_finished_parts(
    split, start, tmp_path, monkeypatch
):
    monkeypatch.setattr(features, "BATCH_SIZE", 4)
    monkeypatch.setattr(features, "PART_BATCHES", 3)
    cache = features.Cache(tmp_path / "features", {})
    whole = trained(CONFIG, split, start, tmp_path / "whole")
    compute, calls = features.Extractor._compute, []

    def killed(self, images, view, place):
        if len(calls) == 8:
            raise KeyboardInterrupt
        calls.append(place)
        return compute(self, images, view, place)

    monkeypatch.setattr(features.Extractor, "_compute", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(CONFIG, split, start, tmp_path / "run", cache)
    calls.clear()
    monkeypatch.setattr(
        features.Extractor,
        "_compute",
        lambda self, *rest: calls.append(rest[-1]) or compute(self, *rest),
    )
    result = trained(CONFIG, split, start, tmp_path / "run", cache)
    # Two parts of three batches were done; then all of the second split.
    assert calls == [6, 7, 8, 9, *range(10)]
    assert result.best == whole.best


def test_views_are_changed_at_random_and_repeatably(split, start, tmp_path):
    views = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        with features.Extractor(CONFIG, start.checkpoint, folder) as extractor:
            views.append(
                [extractor.examples(split, "train", view) for view in range(3)]
            )
    for first, second in zip(*views, strict=True):
        np.testing.assert_array_equal(first.features, second.features)
        np.testing.assert_array_equal(first.labels, split.labels)
    plain, one, two = (view.features for view in views[0])
    assert np.abs(one - plain).max() > 1e-3
    assert np.abs(one - two).max() > 1e-3


def test_fine_tuning_goes_on_from_the_head(split, start, tmp_path):
    config = with_train(steps=4, eval_every_epochs=0.4, freeze_batch_norm=True)
    result = trained(config, split, start, tmp_path / "run")
    rows = list(history.read(history.measurements(tmp_path / "run")))
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert rows[0]["eval_top_1_raw"] == rows[0]["eval_top_1_ema"] == 1.0
    assert history.head_top_1(tmp_path / "run") == 1.0
    assert rows[1]["loss"] < 0.5  # from scratch it is about log(2)
    best = min(
        min(row["eval_cross_entropy_raw"], row["eval_cross_entropy_ema"])
        for row in rows
    )
    assert result.best.cross_entropy == pytest.approx(best)


def test_the_head_is_exported_where_fine_tuning_makes_it_worse(split, tmp_path):
    """At a rate that only a deep net cannot bear."""
    config = with_train(
        steps=6,
        eval_every_epochs=0.6,
        learning_rate=30.0,
        keep_checkpoints=1,
        clip_norm=100.0,
    )
    config = dataclasses.replace(config, model=ModelConfig(net="resnet_20"))
    result = trained(config, split, start_of(config, tmp_path), tmp_path / "run")
    assert result.steps == 6
    assert result.best.step == 0
    with evaluation.EvalSession(config, split, 2) as session:
        measured = session.measure_one(result.checkpoint, 0, "raw")
    assert measured.top_1 == 1.0


def test_frozen_batch_norm_keeps_its_statistics(split, start, tmp_path):
    config = with_train(steps=2, freeze_batch_norm=True)
    trained(config, split, start, tmp_path / "run")
    before = tf.train.load_checkpoint(start.checkpoint)
    after = tf.train.load_checkpoint(
        checkpoints.CheckpointStore(tmp_path / "run" / "checkpoints").path(2)
    )
    moved = 0
    for name in before.get_variable_to_shape_map():
        if "/moving_" in name:
            np.testing.assert_array_equal(
                before.get_tensor(name), after.get_tensor(name)
            )
        elif name.endswith("/gamma"):
            moved += np.abs(before.get_tensor(name) - after.get_tensor(name)).max() > 0
    assert moved


def test_few_images_are_cross_validated(head_run, tmp_path):
    folder, _ = head_run
    facts = json.loads((folder / signatures.CROSS_VALIDATION_FILE).read_text())
    assert facts == {"hits": 80, "images": 80, "folds": 5}
    model = tmp_path / "model"
    model.mkdir()
    transfer.add_cross_validation(folder, model)
    (copy,) = model.rglob(signatures.CROSS_VALIDATION_FILE)
    assert json.loads(copy.read_text()) == facts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": ""}, "'train.fit_head' needs weights"),
        ({"fit_head": False}, "'train.epochs' is 0"),
        ({"head_weight_decays": ()}, "'train.head_weight_decays' is empty"),
        ({"weights_exclude": ("group3",)}, "with all of the weights"),
        ({"weights_partial": True}, "with all of the weights"),
    ],
)
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(ConfigError, match=message):
        head_settings.check(with_train(**changes))


def test_views_need_an_augmentation():
    head_settings.check(with_train(head_views=2))
    plain = dataclasses.replace(CONFIG, augmentation=AugmentationConfig())
    head_settings.check(plain)
    with pytest.raises(ConfigError, match="nothing augments"):
        head_settings.check(
            dataclasses.replace(
                with_train(head_views=2), augmentation=AugmentationConfig()
            )
        )


def test_more_devices_than_images_are_refused_before_features_are_computed(
    split, start, tmp_path, monkeypatch
):
    monkeypatch.setattr(features.Extractor, "_compute", lambda *_: 1 / 0)
    with pytest.raises(ConfigError, match=r"'train\.batch_size' is larger"):
        trained(
            with_train(steps=2, batch_size=64, devices=64),
            split,
            start,
            tmp_path / "run",
        )
