"""What the models said about each image of a split: one table, one row an image."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schema import durable, features

FILE = "predictions.parquet"
KEY = "key"
LABEL = "label"
PREDICTED = "predicted"
CONFIDENCE = "confidence"
LABEL_PROBABILITY = "label_probability"
LABEL_RANK = "label_rank"
PROBABILITIES = "probabilities"
# Of the columns, and features, that hold traits.
TRAIT_PREFIX = "trait_"
# Of the columns that a baseline adds.
BASELINE_PREFIX = "baseline_"
# Of the columns that test-time views add: what the candidate says of the image as it is.
PLAIN_PREFIX = "plain_"

_OF_A_MODEL = (
    (PREDICTED, pa.int32()),
    (CONFIDENCE, pa.float32()),
    (LABEL_PROBABILITY, pa.float32()),
    (LABEL_RANK, pa.int32()),
)


def schema(
    trait_names: Sequence[str], has_baseline: bool, has_views: bool = False
) -> pa.Schema:
    """Columns of the table.

    `key` string; `label` int32; of the candidate `predicted` int32, `confidence` float32
    (the largest probability), `label_probability` float32, `label_rank` int32 (1: no
    class is more probable than the true one), `probabilities` list of float32 [num_classes]; a string
    `trait_<name>` for each trait; and with a baseline the first four once more under the
    names `baseline_...`, under the candidate's label numbers; classes that only the
    baseline knows are numbered on from there (`classes.align`). Of a candidate with test-time
    views the same four, as `plain_...`, are what it says of the image as it is.
    """
    columns: list[tuple[str, pa.DataType]] = [(KEY, pa.string()), (LABEL, pa.int32())]
    columns += _OF_A_MODEL
    columns.append((PROBABILITIES, pa.list_(pa.float32())))
    columns += [(TRAIT_PREFIX + name, pa.string()) for name in trait_names]
    if has_baseline:
        columns += [(BASELINE_PREFIX + name, kind) for name, kind in _OF_A_MODEL]
    if has_views:
        columns += [(PLAIN_PREFIX + name, kind) for name, kind in _OF_A_MODEL]
    return pa.schema(columns)


def row(
    example: Mapping[str, Any],
    trait_names: Sequence[str],
    probabilities: np.ndarray,
    baseline: np.ndarray | None,
    plain: np.ndarray | None = None,
) -> dict[str, Any]:
    """A row of the table.

    Args:
      example: features of the image, name -> array of one value.
      trait_names: traits among them.
      probabilities: of the candidate, float32 [num_classes].
      baseline: of the baseline, as `classes.align` gives them, or None.
      plain: of the candidate without its test-time views, or None where it has none.
    """
    label = int(example[features.LABEL][0])
    values: dict[str, Any] = {
        KEY: bytes(example[features.KEY][0]).decode(errors="replace"),
        LABEL: label,
        **answer(probabilities, label),
        PROBABILITIES: np.asarray(probabilities, np.float32).tolist(),
    }
    for name in trait_names:
        values[TRAIT_PREFIX + name] = bytes(example[TRAIT_PREFIX + name][0]).decode(
            errors="replace"
        )
    for prefix, other in ((BASELINE_PREFIX, baseline), (PLAIN_PREFIX, plain)):
        if other is not None:
            values |= {
                prefix + name: each for name, each in answer(other, label).items()
            }
    return values


def answer(probabilities: np.ndarray, label: int) -> dict[str, Any]:
    """The columns that a model fills for one image.

    Args:
      probabilities: float32 [num_classes].
      label: of the true class.
    """
    predicted = int(np.argmax(probabilities))
    own = probabilities[label]
    return {
        PREDICTED: predicted,
        CONFIDENCE: float(probabilities[predicted]),
        LABEL_PROBABILITY: float(own),
        LABEL_RANK: int(np.count_nonzero(probabilities > own)) + 1,
    }


def hits(table: pd.DataFrame, k: int = 1, prefix: str = "") -> np.ndarray:
    """Which images are right, bool [n].

    Of equal probabilities argmax takes the first; among the k first both are. So TensorFlow
    counts, too.

    Args:
      table: as `read` gives it.
      k: the true class must be among so many.
      prefix: `BASELINE_PREFIX` for the baseline's, `PLAIN_PREFIX` without views.
    """
    if k == 1:
        return table[prefix + PREDICTED].to_numpy() == table[LABEL].to_numpy()
    return table[prefix + LABEL_RANK].to_numpy() <= k


def cross_entropy(table: pd.DataFrame, prefix: str = "") -> np.ndarray:
    """Of each image, in nats, float64 [n]; a probability of 0 is clipped as in Keras.

    Args:
      table, prefix: see `hits`.
    """
    own = table[prefix + LABEL_PROBABILITY].to_numpy(np.float64)
    return -np.log(np.maximum(own, 1e-7))


def gather(shards: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Makes one file, sorted by key, of the shards that Beam wrote; removes them.

    The order in which Beam hands out images is not the same in each run.
    """
    table = pa.concat_tables(pq.read_table(shard) for shard in shards)
    table = table.sort_by(KEY)
    pq.write_table(table, folder / FILE)
    durable.sync(folder / FILE)
    for shard in shards:
        shard.unlink()


def read(evaluation_uri: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The table in an evaluation artifact.

    Args:
      evaluation_uri: folder of the artifact.
      columns: those that are wanted; None for all.

    Raises:
      FileNotFoundError: there is none.
    """
    file = pathlib.Path(evaluation_uri) / FILE
    return pq.read_table(file, columns=columns).to_pandas()
