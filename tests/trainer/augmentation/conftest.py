"""Images to change, and the two ways in which augmentation is run."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import recipe


@pytest.fixture(scope="session")
def numbered() -> Callable[..., np.ndarray]:
    """Function (batch, side, channels=1) -> images whose px all differ and are never 0."""

    def make(batch: int, side: int, channels: int = 1) -> np.ndarray:
        count = batch * side * side * channels
        return np.arange(1, count + 1, dtype=np.float32).reshape(
            batch, side, side, channels
        )

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., np.ndarray]:
    """Function (images, steps, seed) -> result in a TF1 graph.

    It is checked to be that of a `tf.data` map, as training runs it.
    """

    def run_steps(
        images: np.ndarray, steps: list, seed: tuple[int, int] = (1, 2)
    ) -> np.ndarray:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            in_graph = session.run(recipe.apply(tf.constant(images), steps, seed))
        # As in training, AutoGraph leaves the code alone.
        dataset = tf.data.Dataset.from_tensors(images).map(
            tf.autograph.experimental.do_not_convert(
                lambda batch: recipe.apply(batch, steps, seed)
            )
        )
        np.testing.assert_array_equal(in_graph, next(dataset.as_numpy_iterator()))
        return in_graph

    return run_steps
