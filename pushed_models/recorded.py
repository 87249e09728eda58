"""Images with the answers that the Trainer recorded for them (`signatures.RECORDED_FILE`)."""

import dataclasses
import pathlib

import numpy as np

from pushed_models import signatures
from schema import features


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What a served model is compared with.

    Attributes:
      encoded: JPEG or PNG of each image.
      probabilities: float32 [images, num_classes] of the Trainer's own graph.
    """

    encoded: list[bytes]
    probabilities: np.ndarray


def read(file: pathlib.Path) -> Recorded:
    """Reads what `trainer.recording` wrote.

    Raises:
      tf.errors.OpError: there is no such file, or it is damaged.
    """
    import tensorflow as tf

    encoded, probabilities = [], []
    for serialised in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialised).features.feature
        encoded.append(feature[features.ENCODED].bytes_list.value[0])
        probabilities.append(feature[signatures.PROBABILITIES].float_list.value)
    return Recorded(encoded, np.asarray(probabilities, np.float32))
