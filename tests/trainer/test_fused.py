"""Activations that XLA compiles into one loop, held against TensorFlow's own operations."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as v1

from trainer import gradients
from trainer.config import TrainConfig
from trainer.nets import slim_layers

KINDS = ("gelu", "swish", "hard_swish")
# The bends of hard swish at -3 and 3, where a gradient is a matter of taste, left out.
INPUTS = np.concatenate([np.linspace(-9.1, 9.2, 64), [-90.0, 0.0, 90.0]])


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_operations(kind: str) -> None:
    plain, plain_kinds = _values(kind, is_training=False)
    compiled, compiled_kinds = _values(kind, is_training=True)

    assert _calls(compiled_kinds) == 2
    assert _calls(plain_kinds) == 0
    for ours, wanted in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def test_gpus_keep_the_operations_of_tensorflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients.devices, "gpu_details", lambda _: [{}])

    _, kinds = _values("gelu", is_training=True)

    assert _calls(kinds) == 0


def test_a_second_cpu_device_computes_them_too() -> None:
    compiled, _ = _values("gelu", is_training=True, device="/device:CPU:1")

    np.testing.assert_allclose(
        compiled[0], _values("gelu", is_training=False)[0][0], rtol=1e-5, atol=1e-6
    )


def _calls(kinds: list[str]) -> int:
    return sum("PartitionedCall" in kind for kind in kinds)


def _values(
    kind: str, *, is_training: bool, device: str = ""
) -> tuple[list[np.ndarray], list[str]]:
    """Outputs and gradients of an activation, and the kind of each operation."""
    config = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default() as graph, v1.Session(config=config) as session:
        with tf.device(device):
            inputs = tf.constant(INPUTS, tf.float32)
            activate = slim_layers.ACTIVATIONS[kind]
            assert activate is not None
            if is_training:
                with gradients.for_hardware(TrainConfig()):
                    outputs = activate(inputs)
            else:
                outputs = activate(inputs)
            slopes = tf.gradients(outputs, inputs, tf.sin(inputs))
        kinds = [operation.type for operation in graph.get_operations()]
        return session.run([outputs, *slopes]), kinds
