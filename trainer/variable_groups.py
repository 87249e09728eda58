"""Groups of a net's variables, each with its own learning rate and weight decay.

Batch norm's offsets and factors are `norm`, in any row; the class layer is `head`, the net's
first row `first`, all else `body`. No TensorFlow.
"""

from collections.abc import Collection, Sequence
from typing import Literal

from common.errors import ConfigError
from trainer.config import TrainConfig, TrainerConfig
from trainer.nets import geometry, variants
from trainer.nets.blocks import CLASS_LAYER

Group = Literal["norm", "head", "first", "body"]

# Last parts of the names that `layers.batch_norm` and tf-slim give.
NORM_VARIABLES = ("beta", "gamma")
BIASES = "biases"


def group_of(name: str, first_row: str) -> Group:
    """Group of the variable '<net>/<row>/...'."""
    if name.rpartition("/")[2] in NORM_VARIABLES:
        return "norm"
    row = row_of(name)
    if row == CLASS_LAYER:
        return "head"
    return "first" if row == first_row else "body"


def row_of(name: str) -> str:
    """Row, or group of rows, of the variable '<net>/<row>/...'; '' outside a net."""
    return name.partition("/")[2].partition("/")[0]


def rate_factors(
    names: Sequence[str], first_row: str, train: TrainConfig
) -> dict[str, float]:
    """Factor on the learning rate of each trained variable of a net, by its name.

    It is that of its group times that of its row. The class layer learns at the full rate,
    the row in front of it at `layer_rate_decay` times that, the one before at its square, and
    so on. Rows without variables do not count; rows with one name before the slash, as
    'group3/unit1' and 'group3/unit2', count as one.

    Args:
      names: of trained variables, '<net>/<row>/...', in the order of their rows.
      first_row: of the net, trained or not.
      train: `layer_rate_decay` and the rate factors of the groups.

    Reference: Howard and Ruder, arXiv:1801.06146, section 3.2 (discriminative fine-tuning).
    """
    by_group = {
        "norm": train.norm_rate_factor,
        "head": train.head_rate_factor,
        "first": train.first_rate_factor,
        "body": 1.0,
    }
    rows = list(dict.fromkeys(map(row_of, names)))
    return {
        name: by_group[group_of(name, first_row)]
        * train.layer_rate_decay ** (len(rows) - 1 - rows.index(row_of(name)))
        for name in names
    }


def decay_factors(
    names: Sequence[str],
    regularised: Collection[str],
    first_row: str,
    train: TrainConfig,
) -> dict[str, float]:
    """Factor on the weight decay of each variable that decays, by its name.

    Args:
      names: of trained variables, '<net>/<row>/...'.
      regularised: the weights among them that the net's table lets decay.
      first_row: of the net.
      train: the decay factors of the groups and that of biases.
    """
    by_group = {
        "norm": train.norm_decay_factor,
        "head": train.head_decay_factor,
        "first": train.first_decay_factor,
        "body": 1.0,
    }
    factors: dict[str, float] = {}
    for name in names:
        group = group_of(name, first_row)
        factor = by_group[group]
        if name.rpartition("/")[2] == BIASES:
            factor *= train.bias_decay_factor
        elif group != "norm" and name not in regularised:
            factor = 0.0
        if factor:
            factors[name] = factor
    return factors


def is_kernel(name: str, rank: int) -> bool:
    """Whether Muon may train a variable: weights of dense layers and convolutions.

    Of separable convolutions only the 1 x 1 part, and not the class layer.
    """
    is_weights = name.rpartition("/")[2] in ("weights", "pointwise_weights")
    return is_weights and rank in (2, 4) and row_of(name) != CLASS_LAYER


def check(config: TrainerConfig) -> None:
    """Raises ConfigError for Muon where every layer that it could train is frozen."""
    train = config.train
    if train.optimizer != "muon":
        return
    _, *rows, _ = geometry.layer_rows(
        variants.spec_of(config.model),
        image_size_px=config.image_size_px,
        channels=config.preprocessing.channels,
    )
    kernels = [row.name for row in rows if row.cost.multiply_adds]
    if all(geometry.is_row_of(name, train.freeze) for name in kernels):
        raise ConfigError(
            "setting 'train.optimizer' is muon, which is for layers in front of the class"
            " layer, and none of them is trained",
            found="train.freeze " + ", ".join(train.freeze),
            tip="--set train.optimizer=nesterov",
        )
