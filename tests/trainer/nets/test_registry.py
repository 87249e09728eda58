"""Properties that every registered net must have; a new net costs a line in `COUNTS`."""

import inspect
import pathlib
import re
import shutil
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import tensorflow as tf

from common import errors
from serving.local_server import ops
from trainer import evaluation, export, input_pipeline
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.nets import builder, geometry, registry
from trainer.nets.blocks import Block, Pool, fold
from trainer.nets.geometry import Sizes

KEYS = tf.compat.v1.GraphKeys

# Trainable parameters at the reference's size, channels and classes.
COUNTS = {
    "airbench94": 1_971_640,
    "airbench95": 4_604_728,
    "alexnet": 58_346_896,
    "alexnet_slim": 50_303_912,
    "cnn_3x3": 89_129_296,
    "cnn_all_tricks": 8_392_464,
    "cnn_bn": 95_033_872,
    "cnn_concat": 85_040_272,
    "cnn_dropout": 95_033_872,
    "cnn_gap": 43_652_624,
    "cnn_leaky": 95_033_872,
    "cnn_sigmoid": 95_027_856,
    "efficientnet_b0": 5_288_548,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
    "googlenet": 5_989_952,
    "googlenet_bn": 5_993_088,
    "hw_net": 2_959_201,
    "inception_resnet_v1": 21_033_178,
    "inception_resnet_v2": 30_375_130,
    "inception_resnet_v2_slim": 55_813_192,
    "inception_v1_slim": 6_618_649,
    "inception_v2": 10_253_762,
    "inception_v2_slim": 10_163_586,
    "inception_v3": 23_817_352,
    "inception_v4": 41_189_770,
    "inception_v4_slim": 42_649_769,
    "lenet": 25_235_156,
    "lenet_5": 61_706,
    "mlp_bn": 784 * 100 + 2 * 100 * 100 + 3 * (100 + 100) + 100 * 10 + 10,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_025": 470_072,
    "mobilenet_v1_050": 1_331_592,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_035": 1_677_128,
    "mobilenet_v2_050": 1_968_680,
    "mobilenet_v2_140": 6_108_776,
    "mobilenet_v3_large": 5_483_032,
    "resnet_18": 11_689_512,
    "resnet_20": 269_722,
    "resnet_32": 464_154,
    "resnet_34": 21_797_672,
    "resnet_34_mnist": 20_371_178,
    "resnet_50": 25_557_032,
    "resnet_50_keras": 25_583_592,
    "resnet_56": 853_018,
    "resnet_v1_50": 25_557_032,
    "resnet_v1_101": 44_549_160,
    "resnet_v2_50": 25_570_409,
    "vgg_13": 129_016_400,
    "vgg_13_bn": 129_017_680,
    "vgg_16": 134_326_096,
    "vgg_19": 139_635_792,
}
# Where the reference counts batch norm's moving statistics too.
COUNTS_WITH_STATISTICS = {
    "inception_resnet_v1": 21_098_618,
    "inception_resnet_v2": 30_456_314,
    "inception_v4": 41_252_938,
}
# Published at another number of classes.
COUNTS_AT_1000_CLASSES = {
    "alexnet": 62_378_344,
    "googlenet": 6_998_552,
    "vgg_16": 138_357_544,
}
# Saturated sigmoids without batch norm pass no gradient worth the name from a random
# start: the system reproduced reports the same, and shows what cures it.
DO_NOT_LEARN = {"cnn_sigmoid", "lenet"}
# Where the step of the others is too long: wide dense layers without batch norm, and a
# deep net whose loss jumps about with it.
RATES = {"alexnet": 0.001, "inception_v4": 0.002}
RATE = 0.01
# Where rounding shows more than elsewhere: few channels, and after a handful of steps moving
# averages that are still far from the batch's statistics.
ROUNDING = {"mobilenet_v2_035": 3e-5}
# Nets made of the same kinds of blocks, but for pools, as another one, which is trained and exported in
# their place.
SIBLINGS = {
    "airbench95": "airbench94",
    "inception_resnet_v2_slim": "inception_resnet_v2",
    "inception_v4_slim": "inception_v3",
    **{f"efficientnet_lite{n}": "efficientnet_lite0" for n in range(1, 5)},
    "mobilenet_v1": "mobilenet_v1_025",
    "mobilenet_v1_050": "mobilenet_v1_025",
    "mobilenet_v2": "mobilenet_v2_035",
    "mobilenet_v2_050": "mobilenet_v2_035",
    "mobilenet_v2_140": "mobilenet_v2_035",
    "resnet_v1_101": "resnet_v1_50",
}
# Nets that are trained and exported by the quick suite; together they have every kind of
# block. The nightly one trains all.
QUICK = {
    "airbench94",
    "cnn_all_tricks",
    "hw_net",
    "inception_v2",
    "lenet_5",
    "mlp_bn",
    "mobilenet_v1_025",
    "mobilenet_v3_large",
    "resnet_20",
}

# Rows that repeat what other rows of the net show; the quick suite trains it without them.
REPEATED = {
    "inception_v2": "3b|4[a-e]|5a",
    "mobilenet_v1_025": r"block([3-9]|1\d)/.*",
    "mobilenet_v3_large": r"block([24578-9]|1\d)",
}
SHORT = "_short"

BATCH = 8
STEPS = 40

NETS = sorted(registry.NETS)
# Built in the quick suite: the rows of all are held against their papers without a graph.
BUILT = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.nightly)
    for name in NETS
]
FORMS = [name for name in NETS if name not in SIBLINGS]
FORMS += [name + SHORT for name in REPEATED]
QUICK_FORMS = QUICK - {*REPEATED} | {name + SHORT for name in REPEATED}
# Each needs a Transform graph for images of its size: by day one of each way to the logits.
QUICK_EXPORTED = {"airbench94", "hw_net", "mlp_bn", "mobilenet_v3_large_short"}


def at_night_but_for(quick):
    """All forms in one order, by which pytest shares what was trained."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.nightly)
        for name in FORMS
    ]


def trained_form(name):
    """The spec of a net, without its repeated rows where the name says so."""
    spec = registry.find(name.removesuffix(SHORT))
    if not name.endswith(SHORT):
        return spec
    dropped = re.compile(REPEATED[spec.name])
    rows = tuple(row for row in spec.blocks if not dropped.fullmatch(row.name))
    assert len(rows) < len(spec.blocks)
    return replace(spec, name=name, blocks=rows)


def two_colours(spec, seed, size_px):
    """A batch of dark images, class 0, and bright ones, class 1."""
    generator = np.random.default_rng(seed)
    labels = np.arange(BATCH) % 2
    noise = generator.normal(0, 0.1, (BATCH, size_px, size_px, spec.channels))
    images = np.where(labels[:, None, None, None] == 1, 1.0, -1.0) + noise
    return images.astype(np.float32), labels


def has_norm(spec):
    """Whether a batch norm stands anywhere in the table."""
    found = []

    class Norms(Sizes):
        def batch_norm(self, inputs, gamma_init, name):
            found.append(name)
            return inputs

    side = spec.image_size_px
    fold(spec.blocks, Norms(spec.defaults), (side, side, spec.channels))
    return bool(found)


@pytest.fixture(params=BUILT)
def native(request, native_net):
    return native_net(request.param)


@dataclass
class Trained:
    """What a short training at the smallest size leaves behind."""

    spec: object
    checkpoint: str
    size_px: int
    losses: list = field(default_factory=list)
    variables: dict = field(default_factory=dict)
    trainable: set = field(default_factory=set)
    update_targets: list = field(default_factory=list)
    moving_before: dict = field(default_factory=dict)
    gradient_sizes: dict = field(default_factory=dict)

    @property
    def has_learned(self):
        return np.mean(self.losses[-3:]) < 0.25 * self.losses[0]


@pytest.fixture(scope="module", params=at_night_but_for(QUICK_FORMS))
def trained(request, tmp_path_factory):
    spec = trained_form(request.param)
    folder = tmp_path_factory.mktemp(spec.name)
    side = geometry.smallest_input_px(spec)
    result = Trained(spec, str(folder / "model.ckpt"), side)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(3)
        images = tf.compat.v1.placeholder(tf.float32, [None, side, side, spec.channels])
        labels = tf.compat.v1.placeholder(tf.int64, [None])
        # Dropout follows from the step, so that a run can be repeated.
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        logits, _ = builder.build(spec, images, 2, is_training=True, seed=seed)
        loss = tf.compat.v1.losses.sparse_softmax_cross_entropy(labels, logits)
        updates = graph.get_collection(KEYS.UPDATE_OPS)
        rate = RATES.get(spec.name, RATE)
        optimizer = tf.compat.v1.train.MomentumOptimizer(rate, 0.9)
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
            ) | {seed: [3, step]}
            if step == 0:
                result.gradient_sizes = session.run(sizes, batch)
            result.losses.append(session.run([loss, train_op], batch)[0])
            if step > 3 and result.has_learned:
                break
        result.variables = session.run({v.op.name: v for v in model})
        tf.compat.v1.train.Saver(model).save(session, result.checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.NETS, spec.name, spec)
        yield result
    shutil.rmtree(folder)  # a net of wide dense layers leaves hundreds of megabytes


@dataclass(frozen=True)
class Restored:
    """The inference graph with the trained checkpoint in it."""

    session: object
    images: object
    logits: object

    def run(self, images):
        return self.session.run(self.logits, {self.images: images})

    def variables(self):
        """Values by name."""
        with self.session.graph.as_default():
            found = tf.compat.v1.global_variables()
        return self.session.run({variable.op.name: variable for variable in found})


@pytest.fixture(scope="module")
def restored(trained):
    spec, side = trained.spec, trained.size_px
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [None, side, side, spec.channels])
        logits, _ = builder.build(spec, images, 2, is_training=False)
        session = tf.compat.v1.Session(graph=graph)
        tf.compat.v1.train.Saver().restore(session, trained.checkpoint)
    yield Restored(session, images, logits)
    session.close()


@pytest.fixture(scope="module")
def fake_of(make_fake):
    """Function (size_px, channels) -> two-coloured images and their Transform output."""
    made = {}

    def find(size_px, channels):
        if (size_px, channels) not in made:
            made[size_px, channels] = make_fake(
                PreprocessingConfig(
                    size_px, size_px, channels, standardise="minus_one_to_one"
                ),
                count=6,
            )
        return made[size_px, channels]

    return find


@pytest.mark.parametrize(("name", "other"), SIBLINGS.items())
def test_siblings_have_the_same_kinds_of_blocks(name, other):
    def kinds(name):
        return {type(block) for block in registry.find(name).blocks} - {Pool}

    assert other not in SIBLINGS
    assert kinds(name) == kinds(other)


def kinds_of_blocks(value):
    """Names of the blocks in a table, at any depth."""
    if isinstance(value, tuple):
        return set().union(*map(kinds_of_blocks, value))
    if not isinstance(value, Block):
        return set()
    inside = (kinds_of_blocks(getattr(value, each.name)) for each in fields(value))
    return {type(value).__name__}.union(*inside)


def test_the_quick_nets_have_every_kind_of_block():
    assert QUICK.isdisjoint(SIBLINGS)
    quick, all_nets = (
        set().union(*(kinds_of_blocks(trained_form(name).blocks) for name in names))
        for names in (QUICK_FORMS, NETS)
    )
    assert len(all_nets) > 10
    assert quick == all_nets


def test_every_net_is_in_the_table():
    assert set(COUNTS) == set(NETS)


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_facts(name):
    spec = registry.NETS[name]
    assert spec.name == name
    assert spec.family
    assert spec.reference
    assert spec.parameters == COUNTS[name]
    rows = geometry.layer_rows(spec)
    assert len({row.name for row in rows}) == len(rows)
    assert sum(row.cost.parameters for row in rows) == COUNTS[name]
    assert geometry.smallest_input_px(spec) <= spec.image_size_px


def test_files_of_nets_stay_short():
    modules = {
        inspect.getfile(module)
        for module in vars(registry).values()
        if inspect.ismodule(module) and module.__name__.startswith("trainer.nets.")
    }
    assert len(modules) > 10
    for file in modules:
        assert len(pathlib.Path(file).read_text().splitlines()) <= 150, file


def test_parameters_counted_in_the_graph(native):
    assert native.trainable == COUNTS[native.name]
    expected = COUNTS_WITH_STATISTICS.get(native.name)
    assert expected in (None, native.variables)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COUNTS_AT_1000_CLASSES))
def test_parameters_at_1000_classes(name):
    count = builder.count_parameters(registry.find(name), 1000)
    assert count == COUNTS_AT_1000_CLASSES[name]


@pytest.mark.nightly
def test_inception_v4_without_the_needless_biases():
    spec = registry.find("inception_v4")
    plain = replace(spec, defaults=replace(spec.defaults, bias=None))
    assert builder.count_parameters(plain, 1000) == 42_679_816


def test_multiply_adds_counted_in_the_graph(native):
    told = sum(row.cost.multiply_adds for row in native.rows)
    assert told == native.multiply_adds > 0


def test_end_points_have_the_shapes_of_the_table(native):
    assert native.shapes == {row.name: (1, *row.shape) for row in native.rows}
    assert {name.partition("/")[0] for name in native.names} == {native.name}


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_a_smaller_image_than_the_smallest_is_refused(name):
    spec = registry.find(name)
    side = geometry.smallest_input_px(spec)
    small = tf.ones([2, side - 1, side, spec.channels])
    with pytest.raises(errors.ConfigError, match="too small") as info:
        builder.build(spec, small, 3, is_training=False)
    assert repr(name) in info.value.message
    assert info.value.found == f"{side - 1} x {side} px"
    assert info.value.expected == f"at least {side} x {side} px"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_the_table_takes_gray_and_colour_and_any_classes(name, channels):
    spec = registry.find(name)
    rows = geometry.layer_rows(spec, channels=channels, num_classes=2)
    assert rows[0].shape[2] == channels
    assert rows[-1].shape == (2,)


def test_loss_falls(trained):
    assert np.isfinite(trained.losses).all()
    assert trained.losses[0] > 0.1
    assert trained.has_learned != (trained.spec.name in DO_NOT_LEARN)


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
    assert bool(layers) == has_norm(trained.spec)


def test_moving_averages_move_in_training(trained):
    for name, before in trained.moving_before.items():
        assert not np.array_equal(before, trained.variables[name]), name


def test_train_and_inference_graphs_share_variables(trained, restored):
    values = restored.variables()
    assert set(values) == set(trained.variables)
    for name, value in values.items():
        np.testing.assert_array_equal(value, trained.variables[name], err_msg=name)
    graph = restored.session.graph
    trainable = {v.op.name for v in graph.get_collection(KEYS.TRAINABLE_VARIABLES)}
    assert trainable == trained.trainable


def test_moving_averages_stand_still_in_inference(trained, restored):
    assert restored.session.graph.get_collection(KEYS.UPDATE_OPS) == []
    restored.run(two_colours(trained.spec, 99, trained.size_px)[0])
    for name, value in restored.variables().items():
        np.testing.assert_array_equal(value, trained.variables[name], err_msg=name)


def test_an_image_does_not_depend_on_its_batch(trained, restored):
    batch, _ = two_colours(trained.spec, 99, trained.size_px)
    together = restored.run(batch)
    alone = [restored.run(image[None])[0] for image in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trained", at_night_but_for(QUICK_EXPORTED), indirect=True)
def test_the_saved_model_agrees_with_the_evaluation_graph(trained, fake_of, tmp_path):
    spec, side = trained.spec, trained.size_px
    fake = fake_of(side, spec.channels)
    config = TrainerConfig(
        PreprocessingConfig(side, side, spec.channels, standardise="minus_one_to_one"),
        ModelConfig(net=spec.name),
        TrainConfig(ema_decay=0),
    )
    split = input_pipeline.load_split([fake.pattern], fake.transform, 2**30)
    with evaluation.EvalSession(config, split, 2) as session:
        expected = session.probabilities(trained.checkpoint, "raw", split.images)
    folder = tmp_path / "model"
    labels = ("dark", "bright")
    export.export(
        str(folder), config, fake.transform, labels, trained.checkpoint, "raw"
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        assert ops.problems(model) == [], "see serving/local_server/operations.txt"
        signature = model.signature_def[export.PREDICT_IMAGES]
        answers = session.run(
            signature.outputs["probabilities"].name,
            {signature.inputs["images"].name: fake.encoded},
        )
    shutil.rmtree(folder)
    tolerance = ROUNDING.get(spec.name, 1e-5)
    np.testing.assert_allclose(answers, expected, atol=tolerance)
    # Near 0 and 1 the logarithm still tells logits apart.
    logs = (np.log(np.maximum(values, 1e-37)) for values in (answers, expected))
    np.testing.assert_allclose(*logs, rtol=1e-3, atol=1e-4)


def test_unknown_net_names_the_nearest_and_all():
    with pytest.raises(errors.ConfigError, match="unknown net 'resnet_2O'") as info:
        registry.find("resnet_2O")
    assert info.value.tip == "did you mean 'resnet_20'?"
    assert info.value.expected == "one of " + ", ".join(sorted(registry.NETS))
    with pytest.raises(errors.ConfigError) as info:
        registry.find("zzz")
    assert info.value.tip == ""
