"""What the models said about each image of a split: one table, one row an image."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from storage import durable

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


def of_batch(
    keys: Sequence[bytes],
    labels: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    traits: Mapping[str, Sequence[str]],
    columns: pa.Schema,
) -> pa.Table:
    """The rows of a batch of images.

    Args:
      keys: of the images, [n].
      labels: int [n].
      probabilities: float32 [n, num_classes] of the candidate, under ''; under
        `BASELINE_PREFIX` those of the baseline, as `classes.align` gives them; under
        `PLAIN_PREFIX` the candidate's without its test-time views.
      traits: name -> value of each image.
      columns: as `schema` gives them.
    """
    rows: dict[str, Any] = {
        KEY: [bytes(key).decode(errors="replace") for key in keys],
        LABEL: labels,
        PROBABILITIES: list(np.asarray(probabilities[""], np.float32)),
    }
    rows |= {TRAIT_PREFIX + name: values for name, values in traits.items()}
    for prefix, each in probabilities.items():
        places = np.arange(len(labels))
        own, predicted = each[places, labels], each.argmax(axis=1)
        rows |= {
            prefix + PREDICTED: predicted,
            prefix + CONFIDENCE: each[places, predicted],
            prefix + LABEL_PROBABILITY: own,
            prefix + LABEL_RANK: np.count_nonzero(each > own[:, None], axis=1) + 1,
        }
    return pa.Table.from_pydict(rows, schema=columns)


def hits(table: pd.DataFrame, k: int = 1, prefix: str = "") -> np.ndarray:
    """Which images are right, bool [n].

    Of equal probabilities argmax takes the first; among the k first both are. So TensorFlow
    counts, too.

    Args:
      table: as `read` gives it.
      k: the true class must be among the k most probable.
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
    pq.write_table(table.sort_by(KEY), folder / FILE)
    durable.sync(folder / FILE)
    for shard in shards:
        shard.unlink()


def numbers(evaluation_uri: str) -> pd.DataFrame:
    """The table without keys and probabilities: a few numbers an image, however many classes."""
    names = pq.read_schema(pathlib.Path(evaluation_uri) / FILE).names
    return read(
        evaluation_uri, [name for name in names if name not in (KEY, PROBABILITIES)]
    )


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
