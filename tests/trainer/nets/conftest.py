"""Every net's graph at the size of its reference, built once for the tests of this folder."""

import functools
from dataclasses import dataclass
from math import prod

import pytest
import tensorflow as tf

from trainer.nets import builder, geometry, registry


def multiply_adds(graph):
    """Of the convolutions and matrix products of a graph, from the shapes of its tensors.

    The batch is one image.
    """
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
            weights = operation.inputs[1].shape.as_list()
            outputs = operation.outputs[0].shape.as_list()
            rows = prod(outputs[1:3]) if len(outputs) == 4 else outputs[0]
            total += prod(weights) * rows
    return total


@dataclass(frozen=True)
class Native:
    """A net built at its reference's size, channels and classes.

    Attributes:
      shapes: end point -> shape. rows: of the table, without the input.
      trainable: number of parameters. variables: with batch norm's statistics.
      names: of the variables.
    """

    name: str
    shapes: dict
    rows: list
    trainable: int
    variables: int
    multiply_adds: int
    names: set


@pytest.fixture(scope="session")
def native_net():
    """Function (name) -> Native."""

    @functools.cache
    def build(name: str) -> Native:
        spec = registry.find(name)
        side = spec.image_size_px
        with tf.Graph().as_default() as graph:
            images = tf.zeros([1, side, side, spec.channels])
            logits, end_points = builder.build(
                spec, images, spec.num_classes, is_training=True
            )
            assert logits.dtype == tf.float32
            variables = tf.compat.v1.global_variables()
            trainable = tf.compat.v1.trainable_variables()
            return Native(
                spec.name,
                {name: tuple(end.shape.as_list()) for name, end in end_points.items()},
                geometry.layer_rows(spec)[1:],
                sum(v.shape.num_elements() for v in trainable),
                sum(v.shape.num_elements() for v in variables),
                multiply_adds(graph),
                {v.op.name for v in variables},
            )

    return build
