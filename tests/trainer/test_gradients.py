"""The gradients that stand in for TensorFlow's own, compared with them."""

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as v1

from trainer import gradients
from trainer.config import TrainConfig

NUM_OUTPUTS = 5
Kernel = int | tuple[int, int]


@pytest.mark.parametrize(
    ("kernel_px", "stride", "padding", "is_product"),
    [
        (1, 1, "SAME", True),
        (1, 1, "VALID", True),
        (1, 2, "SAME", False),
        (3, 1, "SAME", False),
        (3, 2, "VALID", False),
        (3, 1, [[0, 0], [1, 0], [0, 2], [0, 0]], False),
        (1, 1, [[0, 0], [1, 1], [1, 1], [0, 0]], False),
    ],
)
def test_gradients_of_a_convolution_are_tensorflows(
    kernel_px: int, stride: int, padding: str | list[list[int]], is_product: bool
) -> None:
    expected, operations = _gradients(kernel_px, stride, padding, is_ours=False)
    assert "Conv2DBackpropFilter" in operations

    ours, operations = _gradients(kernel_px, stride, padding, is_ours=True)

    assert ("MatMul" in operations) is is_product
    assert ("Conv2DBackpropFilter" in operations) is not is_product
    for gradient, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel_px", "stride", "size_px", "channels", "products"),
    [
        (3, 1, [7, 6], 256, 9),
        ((1, 5), 1, [3, 7], 256, 5),
        (3, 2, [7, 7], 256, 0),
        (2, 1, [7, 7], 256, 0),
        (3, 1, [8, 7], 256, 0),
        (3, 1, [7, 7], 255, 0),
    ],
)
def test_small_maps_have_a_product_for_each_place_of_the_kernel(
    kernel_px: Kernel, stride: int, size_px: list[int], channels: int, products: int
) -> None:
    case = {"size_px": size_px, "channels": channels}
    expected, _ = _gradients(kernel_px, stride, "SAME", is_ours=False, **case)

    ours, operations = _gradients(
        kernel_px, stride, "SAME", is_ours=True, precision="bfloat16", **case
    )

    assert operations.count("MatMul") == products
    assert operations.count("Conv2DBackpropFilter") == (0 if products else 1)
    for gradient, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_gpus_keep_the_gradients_of_tensorflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients.devices, "gpu_details", lambda _: [{}])

    _, operations = _gradients(1, 1, "SAME", is_ours=True)

    assert "Conv2DBackpropFilter" in operations


def _gradients(
    kernel_px: Kernel,
    stride: int,
    padding: str | list[list[int]],
    *,
    is_ours: bool,
    size_px: Sequence[int] = (8, 6),
    channels: int = 4,
    precision: str = "float32",
) -> tuple[list[np.ndarray], list[str]]:
    """Gradients of a loss by images and weights, and the kind of each operation."""
    kernel = (kernel_px, kernel_px) if isinstance(kernel_px, int) else kernel_px
    random = np.random.default_rng(7)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        images = tf.constant(random.normal(size=[3, *size_px, channels]), tf.float32)
        weights = tf.constant(
            random.normal(size=[*kernel, channels, NUM_OUTPUTS]) / channels, tf.float32
        )

        def convolve() -> tf.Tensor:
            return tf.nn.conv2d(images, weights, stride, padding)

        if is_ours:
            with gradients.for_hardware(TrainConfig(precision=precision)):
                outputs = convolve()
        else:
            outputs = convolve()
        by = tf.gradients(tf.reduce_sum(tf.sin(outputs)), [images, weights])
        operations = [operation.type for operation in graph.get_operations()]
        return session.run(by), operations
