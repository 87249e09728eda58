"""Settings of preprocessing, model and training: frozen dataclasses, checked when read.

Transform and Trainer receive them as JSON in `custom_config`, by `as_json` and `from_json`.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import Field

from common.errors import ConfigError
from trainer import lookup

Config = TypeVar("Config")

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


def setting(default: Any, help: str) -> Any:
    """Field with a default and the sentence that `slimline experiments NAME` shows."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class PreprocessingConfig:
    """Preprocessing of an image, in Transform and in the served graph."""

    resize_px: PositiveInt = setting(
        32, "length of the shorter side after resizing, ratio kept"
    )
    crop_px: PositiveInt = setting(32, "side of the central square that is kept")
    channels: Literal[1, 3] = setting(3, "1 for gray, 3 for colour")
    standardise: Literal["per_image", "dataset", "minus_one_to_one", "fixed"] = setting(
        "per_image",
        "zero mean and unit variance of each image (per_image), by channel mean and"
        " variance of the train split (dataset), 0..255 to -1..1 (minus_one_to_one), or by"
        " preprocessing.mean and preprocessing.deviation (fixed)",
    )
    interpolation: Literal["bilinear", "bicubic"] = setting(
        "bilinear", "how pixels are resized, always with anti-aliasing"
    )
    mean: tuple[float, ...] = setting(
        (0.0,),
        "numbers that fixed subtracts from pixels of 0..255: one, or one a channel",
    )
    deviation: tuple[PositiveFloat, ...] = setting(
        (1.0,), "numbers that fixed then divides by: one, or one a channel"
    )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The net."""

    net: str = setting("resnet_20", "name of the net; slimline nets lists them")
    image_size_px: NonNegativeInt = setting(
        0,
        "side of the square that the net sees, cropped from the preprocessed image:"
        " at random in training, at its centre elsewhere; 0 means preprocessing.crop_px",
    )
    batch_norm: bool = setting(
        True, "false removes batch norm from the net, and layers have biases instead"
    )
    residual_scale: NonNegativeFloat = setting(
        0.0,
        "factor on the bodies of residual blocks before they are added; 0 takes the net's",
    )
    activation: Literal["", "relu", "leaky_relu", "swish", "gelu", "tanh"] = setting(
        "", "activation where the net's table names none; empty takes the net's"
    )
    weight_init: Literal[
        "", "he_normal", "xavier_uniform", "fan_in_uniform", "dirac"
    ] = setting(
        "",
        "initial weights where the net's table names none; dirac: filters that are the"
        " identity of one channel each; empty takes the net's",
    )
    logits_scale: NonNegativeFloat = setting(
        0.0,
        "factor on the input of the class layer, which without bias scales the logits;"
        " 0 takes the net's",
    )
    whitening: bool = setting(
        False,
        "the filters of the first convolution are eigenvectors of the patches of 5,000"
        " training images, scaled to unit variance, and not trained",
    )
    test_time_views: Literal["none", "mirror", "mirror_shift"] = setting(
        "none",
        "views whose logits the exported model averages: the image alone (none), with its"
        " mirror image (mirror), or also with both shifted by 1 px, at half of the weight"
        " (mirror_shift); training measures eval without them",
    )
    conv_impl: Literal["conv2d", "im2col"] = setting(
        "conv2d",
        "convolutions by TensorFlow's kernel, or by patches and a matrix product, with the"
        " same results but slower",
    )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Random changes to training images, after preprocessing; drawn for each image."""

    flip_left_right: bool = setting(False, "flip horizontally with probability 0.5")
    alternating_flip: bool = setting(
        False,
        "flip horizontally at random in the first epoch, then each image in every second"
        " epoch, so that two epochs in a row show both sides",
    )
    flip_up_down: bool = setting(False, "flip vertically with probability 0.5")
    rot90: bool = setting(False, "rotate by 0, 90, 180 or 270 degrees")
    pad_crop_px: NonNegativeInt = setting(
        0, "border in px, added before a random crop to the old size"
    )
    random_square_crop: Share = setting(
        0.0,
        "a square of at least this share of the side is cut out and enlarged to the old"
        " size; 0 cuts nothing",
    )
    random_resized_crop: Share = setting(
        0.0,
        "a rectangle of at least this share of the area, 3/4 to 4/3 as wide as high, is cut"
        " out and resized to the old size; 0 cuts nothing",
    )
    scale: Fraction = setting(
        0.0, "resize by a factor between 1 - scale and 1 + scale, about the centre"
    )
    shift: Fraction = setting(
        0.0, "largest move along each axis, as a share of the side"
    )
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = setting(
        0.0, "largest angle of rotation about the centre, either way"
    )
    fill: Literal["zero", "edge", "reflect"] = setting(
        "zero",
        "fill of borders and moves: zeros, the mean of standardised images; the nearest px"
        " (edge), for digits on a plain background; or the image mirrored at its edge px,"
        " which are not repeated (reflect)",
    )
    rand_augment_layers: NonNegativeInt = setting(
        0, "number of operations drawn for each image (RandAugment)"
    )
    rand_augment_magnitude: Annotated[int, Field(ge=0, le=30)] = setting(
        9, "strength of RandAugment's operations, up to 30"
    )
    trivial_augment: bool = setting(
        False, "draw one operation and its strength for each image (TrivialAugment)"
    )
    brightness: NonNegativeFloat = setting(
        0.0,
        "largest number added to all px, in the units of the preprocessed image"
        " (standard deviations, or halves of the range with minus_one_to_one)",
    )
    contrast: Share = setting(
        0.0,
        "px spread about their mean by a factor between 1 - contrast and 1 + contrast",
    )
    saturation: Share = setting(
        0.0,
        "colours spread about their gray by a factor between 1 - and 1 + saturation",
    )
    salt_and_pepper: Fraction = setting(
        0.0, "share of the px set to the image's highest or lowest value"
    )
    cutout_px: NonNegativeInt = setting(
        0, "side of a square at a random place that is set to zero"
    )
    random_erasing: Share = setting(
        0.0, "probability that a rectangle inside an image is overwritten"
    )
    random_erasing_share: Annotated[float, Field(gt=0.02, le=1)] = setting(
        0.33,
        "largest share of the area that random erasing overwrites; the smallest is 0.02",
    )
    random_erasing_fill: Literal["zero", "noise"] = setting(
        "zero",
        "fill of random erasing: zeros, or random values between the lowest and the highest"
        " of the image",
    )
    mixup_alpha: NonNegativeFloat = setting(
        0.0,
        "blend pairs of images, with a share from Beta(alpha, alpha); 0 never; with"
        " cutmix_alpha one of the two is drawn for each batch",
    )
    cutmix_alpha: NonNegativeFloat = setting(
        0.0,
        "exchange a box between pairs, with an area from Beta(alpha, alpha); 0 never",
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training loop."""

    batch_size: PositiveInt = setting(128, "images per step")
    accumulate_steps: PositiveInt = setting(
        1,
        "number of parts in which a step computes its batch, one after another: less memory"
        " for the same mean gradient, but batch norm sees each part alone",
    )
    epochs: NonNegativeFloat = setting(
        30.0,
        "passes over the train split; 0, with train.fit_head, trains the class layer only",
    )
    steps: NonNegativeInt = setting(0, "updates; 0 means by epochs")
    min_steps: NonNegativeInt = setting(
        0, "least number of updates where epochs decide: few images make short epochs"
    )
    optimizer: Literal[
        "momentum", "nesterov", "adam", "adamw", "rmsprop", "gradient_descent", "muon"
    ] = setting("momentum", "rule that turns gradients into updates")
    momentum: Fraction = setting(
        0.9, "momentum; only for momentum, nesterov, rmsprop and, except kernels, muon"
    )
    muon_momentum: Fraction = setting(0.6, "momentum of kernels; only for muon")
    muon_steps: Annotated[int, Field(ge=3, le=5)] = setting(
        3, "Newton-Schulz steps that make the momentum of a kernel orthogonal"
    )
    clip_norm: NonNegativeFloat = setting(
        0.0, "gradients are scaled down to this global norm; 0 leaves them alone"
    )
    learning_rate: PositiveFloat = setting(
        0.1, "peak rate; about 0.1 for a batch of 256 with momentum"
    )
    weight_decay: NonNegativeFloat = setting(
        1e-4,
        "L2 factor on weights, not on biases and batch norm; with adamw or"
        " train.decoupled_decay the decay of the weights themselves",
    )
    decoupled_decay: bool = setting(
        False,
        "each update decays the weights by rate times train.weight_decay, apart from the"
        " gradients, with any optimizer; adamw always does",
    )
    ema_decay: Fraction = setting(
        0.99, "decay of the moving average of the weights; 0 keeps the raw weights"
    )
    ema_every_steps: PositiveInt = setting(
        1, "update the moving average every so many steps, with the same total effect"
    )
    lookahead_steps: NonNegativeInt = setting(
        0,
        "every so many steps slow weights take a share of the weights, and the weights"
        " become the slow ones (Lookahead); 0 keeps none",
    )
    lookahead_decay: Annotated[float, Field(gt=0, lt=1)] = setting(
        0.95,
        "share that the slow weights keep in a step, at the end of the training; its k-th"
        " power over k steps",
    )
    lookahead_power: NonNegativeFloat = setting(
        3.0,
        "that share grows with this power of the progress of the training; 0: constant",
    )
    lookahead_start_epochs: NonNegativeFloat = setting(
        3.0, "epochs before Lookahead starts"
    )
    eval_every_epochs: PositiveFloat = setting(
        1.0, "epochs between measurements of eval, each with a checkpoint"
    )
    patience: NonNegativeInt = setting(
        0, "stop after so many measurements of eval without gain; 0 never"
    )
    min_gain: NonNegativeFloat = setting(
        1e-5, "rise of eval top-1 that counts as a gain"
    )
    keep_checkpoints: PositiveInt = setting(3, "checkpoints kept beside the best one")
    device: Literal["auto", "cpu", "gpu"] = setting(
        "auto", "device to train on; auto takes GPUs where there are any"
    )
    devices: PositiveInt = setting(1, "GPUs (or CPU devices) that share each batch")
    weights: str = setting(
        "",
        "weights to start from: a name of slimline weights list, a pushed version, a"
        " checkpoint, or 'blessed' for the live version of this model",
    )
    weights_exclude: tuple[str, ...] = setting(
        (), "layers to initialise from scratch all the same, as [logits]"
    )
    weights_partial: bool = setting(
        False,
        "restore what fits of train.weights and initialise the rest from scratch; false"
        " refuses weights that do not fit all layers",
    )
    freeze: tuple[str, ...] = setting(
        (), "layers that are not trained, as [conv1, group1]"
    )
    fit_head: bool = setting(
        False,
        "first run the frozen net once over all images and fit the class layer on its"
        " features; train.epochs then fine-tunes",
    )
    head_weight_decays: tuple[PositiveFloat, ...] = setting(
        (1.0, 0.1, 0.01, 0.001, 0.0001),
        "L2 factors tried on the fitted class layer; the best on eval is kept",
    )
    head_views: NonNegativeInt = setting(
        0,
        "augmented views of each training image to fit the class layer on, besides the"
        " image itself",
    )
    layer_rate_decay: Annotated[float, Field(gt=0, le=1)] = setting(
        1.0,
        "factor on the rate of each row of the net against the row after it; the class"
        " layer learns at the full rate",
    )
    norm_rate_factor: PositiveFloat = setting(
        1.0, "factor on the rate of batch norm's offsets and factors"
    )
    head_rate_factor: PositiveFloat = setting(
        1.0, "factor on the rate of the class layer"
    )
    first_rate_factor: PositiveFloat = setting(
        1.0, "factor on the rate of the first row of the net, except its batch norm"
    )
    norm_decay_factor: NonNegativeFloat = setting(
        0.0,
        "factor on train.weight_decay for batch norm's offsets and factors; 0: no decay",
    )
    head_decay_factor: NonNegativeFloat = setting(
        1.0, "factor on train.weight_decay for the class layer"
    )
    first_decay_factor: NonNegativeFloat = setting(
        1.0, "factor on train.weight_decay for the first row of the net"
    )
    bias_decay_factor: NonNegativeFloat = setting(
        0.0,
        "factor on train.weight_decay for biases, times that of their group; 0: no decay",
    )
    freeze_batch_norm: bool = setting(
        False, "batch norm keeps the statistics of the weights it starts from"
    )
    label_smoothing: Fraction = setting(
        0.0, "share of each target that is spread evenly over all classes"
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "weight of each image in the loss; balanced: larger for rarer classes, 1 on average",
    )
    balanced_sampling: bool = setting(
        False, "draw each class equally often, images of rare ones repeatedly"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "number format of convolutions and matrix products in training; auto takes float16"
        " on GPUs and bfloat16 on processors that have it, and logs its choice",
    )
    histograms: bool = setting(
        False, "write histograms of weights and gradients for TensorBoard"
    )
    image_summaries: NonNegativeInt = setting(
        0, "training images to show in TensorBoard after each step of augmentation"
    )
    cache_bytes: NonNegativeInt = setting(
        2 * 2**30,
        "keep preprocessed train images in memory up to this size; larger sets are decoded"
        " again in each epoch",
    )
    seed: NonNegativeInt = setting(20260101, "seed of weights, order and augmentation")


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Schedule of the learning rate; `train.learning_rate` is its peak."""

    name: Literal[
        "constant",
        "cosine",
        "exponential",
        "piecewise",
        "polynomial",
        "one_cycle",
        "triangular",
        "triangular2",
        "exp_range",
        "sawtooth",
        "plateau",
    ] = setting("cosine", "shape of the rate; slimline plot-rate draws it")
    warmup_epochs: NonNegativeFloat = setting(
        1.0,
        "length of the linear ramp from zero before the schedule, at most half of the"
        " training; one_cycle and the cyclical ones have none",
    )
    end_share: Fraction = setting(
        0.0, "last rate as a share of the peak; only for cosine and polynomial"
    )
    power: PositiveFloat = setting(1.0, "power of polynomial; 1 is a straight line")
    decay_factor: Annotated[float, Field(gt=0, le=1)] = setting(
        0.1, "factor on the rate at each step of exponential and piecewise"
    )
    decay_epochs: PositiveFloat = setting(30.0, "epochs between steps of exponential")
    staircase: bool = setting(True, "exponential falls in steps; false: smoothly")
    boundaries_epochs: tuple[NonNegativeFloat, ...] = setting(
        (), "epochs at which piecewise steps down, in rising order"
    )
    min_rate: NonNegativeFloat = setting(
        0.001, "lower rate of triangular, triangular2, exp_range and sawtooth"
    )
    half_cycle_epochs: PositiveFloat = setting(
        4.0, "epochs from lower to upper rate of triangular, triangular2, exp_range"
    )
    gamma: Annotated[float, Field(gt=0, le=1)] = setting(
        0.9998, "factor on the height of exp_range and sawtooth in every update"
    )
    plateau_patience: NonNegativeInt = setting(
        5, "plateau halves the rate after so many measurements of eval without gain"
    )
    plateau_preset: Literal["none", "report", "code"] = setting(
        "none",
        "plateau with the patience of the ten-layer system: halves and stops after 7 and"
        " 15 measurements (report) or 5 and 10 (code)",
    )


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """The part of the configuration that the Trainer reads."""

    preprocessing: PreprocessingConfig = dataclasses.field(
        default_factory=PreprocessingConfig
    )
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    augmentation: AugmentationConfig = dataclasses.field(
        default_factory=AugmentationConfig
    )

    @property
    def image_size_px(self) -> int:
        """Side of the square that the net sees."""
        return self.model.image_size_px or self.preprocessing.crop_px


def as_json(config: Any) -> dict[str, Any]:
    """Nested dict of a configuration, ready for JSON."""
    return dataclasses.asdict(config)


def from_json(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Configuration of `kind` from a nested dict; JSON's lists become tuples again.

    Raises:
      ConfigError: an unknown key (the nearest known one is named), or a value that
        does not fit its field.
    """
    known = known_keys(kind)
    for key, value in flatten(values).items():
        if key not in known:
            raise unknown_key(key, known)
        _check_number(key, value, known[key])
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        expected = first["msg"].removeprefix("Input should be ")
        if first["type"] != "literal_error":
            # 'a valid integer, unable to parse ...' -> 'a valid integer'.
            expected = expected.partition(", ")[0]
        raise _misfit(key, first["input"], expected, known.get(key)) from error


def _check_number(key: str, value: Any, field: dataclasses.Field) -> None:
    """Refuses numbers that pydantic accepts: true as 1, and infinity."""
    if isinstance(value, (list, tuple)):
        for one in value:
            _check_number(key, one, field)
        return
    if isinstance(value, bool) and field.type is not bool:
        raise _misfit(key, value, "not true or false", field)
    try:
        is_endless = field.type is not str and math.isinf(float(value))
    except (TypeError, ValueError):
        return
    if is_endless:
        raise _misfit(key, value, "a finite number", field)


def _misfit(
    key: str, value: Any, expected: str, field: dataclasses.Field | None
) -> ConfigError:
    help = field.metadata.get("help", "") if field else ""
    return ConfigError(
        f"setting '{key}' does not fit",
        found=repr(value),
        expected=expected,
        tip=f"{key}: {help}" if help else "",
    )


def known_keys(kind: type, prefix: str = "") -> dict[str, dataclasses.Field]:
    """Dotted key -> field, for every leaf of a tree of dataclasses."""
    keys: dict[str, dataclasses.Field] = {}
    for field in dataclasses.fields(kind):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            keys |= known_keys(field.type, f"{prefix}{field.name}.")
        else:
            keys[prefix + field.name] = field
    return keys


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dict -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def unknown_key(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that no setting has, naming the nearest one."""
    near = lookup.nearest(key, known)
    tip = f"did you mean '{near}'? " if near else ""
    return ConfigError(
        f"unknown setting '{key}'", tip=f"{tip}all settings: slimline experiments NAME"
    )
