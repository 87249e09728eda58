"""Properties that every registered net must have; a new net costs a line in `COUNTS`."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import tensorflow as tf

from schema import errors
from trainer.nets import builder, registry

KEYS = tf.compat.v1.GraphKeys

# Trainable parameters at the reference's size, channels and classes.
COUNTS = {
    "inception_v2": 10_253_762,
    "resnet_20": 269_722,
    "resnet_32": 464_154,
    "resnet_34_mnist": 20_371_178,
    "resnet_56": 853_018,
}
# Nets quick enough to build and train whenever a file is saved.
QUICK = {"resnet_20"}

BATCH = 16
STEPS = 36

NETS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in sorted(registry.NETS)
]


def two_colours(spec, seed, size_px):
    """A batch of dark images, class 0, and bright ones, class 1."""
    generator = np.random.default_rng(seed)
    labels = np.arange(BATCH) % 2
    noise = generator.normal(0, 0.1, (BATCH, size_px, size_px, spec.channels))
    images = np.where(labels[:, None, None, None] == 1, 1.0, -1.0) + noise
    return images.astype(np.float32), labels


def small_px(spec):
    return max(8, builder.smallest_input_px(spec))


@dataclass
class Trained:
    """What a short training leaves behind."""

    spec: object
    checkpoint: str
    size_px: int
    losses: list = field(default_factory=list)
    variables: dict = field(default_factory=dict)
    trainable: set = field(default_factory=set)
    update_targets: list = field(default_factory=list)
    moving_before: dict = field(default_factory=dict)
    gradient_sizes: dict = field(default_factory=dict)


@pytest.fixture(scope="module", params=NETS)
def trained(request, tmp_path_factory):
    spec = registry.find(request.param)
    result = Trained(
        spec, str(tmp_path_factory.mktemp(spec.name) / "model.ckpt"), small_px(spec)
    )
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(3)
        side = result.size_px
        images = tf.compat.v1.placeholder(tf.float32, [None, side, side, spec.channels])
        labels = tf.compat.v1.placeholder(tf.int64, [None])
        logits, _ = builder.build(spec, images, 2, is_training=True)
        loss = tf.compat.v1.losses.sparse_softmax_cross_entropy(labels, logits)
        updates = graph.get_collection(KEYS.UPDATE_OPS)
        optimizer = tf.compat.v1.train.MomentumOptimizer(0.01, 0.9)
        gradients = optimizer.compute_gradients(loss)
        with tf.control_dependencies(updates):
            train_op = optimizer.apply_gradients(gradients)
        model = tf.compat.v1.get_collection(KEYS.MODEL_VARIABLES)
        names = {variable.handle.name: variable.op.name for variable in model}
        result.update_targets = [names[update.inputs[0].name] for update in updates]
        result.trainable = {v.op.name for v in tf.compat.v1.trainable_variables()}
        sizes = {
            variable.op.name: tf.norm(gradient)
            for gradient, variable in gradients
            if gradient is not None
        }
        session.run(tf.compat.v1.global_variables_initializer())
        moving = {v.op.name: v for v in model if "/moving_" in v.op.name}
        result.moving_before = session.run(moving)
        for step in range(STEPS):
            batch = dict(
                zip((images, labels), two_colours(spec, step, side), strict=True)
            )
            if step == 0:
                result.gradient_sizes = session.run(sizes, batch)
            result.losses.append(session.run([loss, train_op], batch)[0])
        result.variables = session.run({v.op.name: v for v in model})
        tf.compat.v1.train.Saver(model).save(session, result.checkpoint)
    return result


@pytest.fixture
def restored(trained):
    """Session, images and logits of the inference graph, from the checkpoint."""
    spec, side = trained.spec, trained.size_px
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, [None, side, side, spec.channels])
        logits, _ = builder.build(spec, images, 2, is_training=False)
        tf.compat.v1.train.Saver().restore(session, trained.checkpoint)
        yield session, images, logits


def test_every_net_is_in_the_table():
    assert set(COUNTS) == set(registry.NETS)


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_facts(name):
    spec = registry.NETS[name]
    assert spec.name == name
    assert spec.reference
    assert spec.parameters == COUNTS[name]
    names = [row.name for row in builder.layer_rows(spec)]
    assert len(set(names)) == len(names)
    assert builder.smallest_input_px(spec) <= spec.image_size_px


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_parameter_count(name):
    assert builder.count_parameters(registry.find(name)) == COUNTS[name]


@pytest.mark.parametrize("name", NETS)
def test_builds_at_its_size_with_the_shapes_of_its_table(name):
    spec = registry.find(name)
    with tf.Graph().as_default():
        images = tf.zeros([2, spec.image_size_px, spec.image_size_px, spec.channels])
        logits, end_points = builder.build(spec, images, 7, is_training=True)
        assert logits.shape.as_list() == [2, 7]
        assert logits.dtype == tf.float32
        rows = builder.layer_rows(spec, num_classes=7)[1:]
        assert [row.name for row in rows] == list(end_points)
        for row in rows:
            assert end_points[row.name].shape.as_list() == [2, *row.shape], row.name
        names = [v.op.name for v in tf.compat.v1.global_variables()]
        assert all(variable.startswith(f"{name}/") for variable in names)


@pytest.mark.parametrize("name", NETS)
def test_runs_at_the_smallest_size_and_refuses_less(name):
    spec = registry.find(name)
    side = builder.smallest_input_px(spec)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        logits, _ = builder.build(
            spec, tf.ones([2, side, side, spec.channels]), 3, is_training=False
        )
        session.run(tf.compat.v1.global_variables_initializer())
        assert np.isfinite(session.run(logits)).all()
    small = tf.ones([2, side - 1, side, spec.channels])
    with pytest.raises(errors.ConfigError, match="too small") as info:
        builder.build(spec, small, 3, is_training=False)
    assert repr(name) in info.value.message
    assert info.value.found == f"{side - 1} x {side} px"
    assert info.value.expected == f"at least {side} x {side} px"


def test_loss_falls(trained):
    assert trained.losses[0] > 0.3
    assert np.mean(trained.losses[-4:]) < 0.25 * trained.losses[0]


def test_gradients_reach_every_trainable_variable(trained):
    assert set(trained.gradient_sizes) == trained.trainable
    silent = [name for name, size in trained.gradient_sizes.items() if not size > 0]
    assert silent == []


def test_every_batch_norm_has_two_update_ops(trained):
    moving = {name for name in trained.variables if "/moving_" in name}
    assert len(trained.update_targets) == len(moving)
    assert set(trained.update_targets) == moving
    layers = {name.rsplit("/", 1)[0] for name in moving}
    assert len(moving) == 2 * len(layers)
    assert bool(layers) == trained.spec.defaults.norm


def test_moving_averages_move_in_training(trained):
    for name, before in trained.moving_before.items():
        assert not np.array_equal(before, trained.variables[name]), name


def test_train_and_inference_graphs_share_variables(trained, restored):
    inference = {v.op.name: v for v in tf.compat.v1.global_variables()}
    assert set(inference) == set(trained.variables)
    assert {v.op.name for v in tf.compat.v1.trainable_variables()} == trained.trainable
    session, _, _ = restored
    for name, value in session.run(inference).items():
        np.testing.assert_array_equal(value, trained.variables[name], err_msg=name)


def test_moving_averages_stand_still_in_inference(trained, restored):
    session, images, logits = restored
    assert tf.compat.v1.get_collection(KEYS.UPDATE_OPS) == []
    session.run(logits, {images: two_colours(trained.spec, 99, trained.size_px)[0]})
    moving = {
        v.op.name: v for v in tf.compat.v1.global_variables() if "/moving_" in v.op.name
    }
    for name, value in session.run(moving).items():
        np.testing.assert_array_equal(value, trained.variables[name], err_msg=name)


def test_an_image_does_not_depend_on_its_batch(trained, restored):
    session, images, logits = restored
    batch, _ = two_colours(trained.spec, 99, trained.size_px)
    together = session.run(logits, {images: batch})
    alone = [session.run(logits, {images: image[None]})[0] for image in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_unknown_net_names_the_nearest_and_all():
    with pytest.raises(errors.ConfigError, match="unknown net 'resnet_2O'") as info:
        registry.find("resnet_2O")
    assert info.value.tip == "did you mean 'resnet_20'?"
    assert info.value.expected == "one of " + ", ".join(sorted(registry.NETS))
    with pytest.raises(errors.ConfigError) as info:
        registry.find("zzz")
    assert info.value.tip == ""
