"""What imported weights say of real photographs."""

import tarfile

import numpy as np
import pytest
import tensorflow as tf

from trainer import checkpoints, graphs, preprocessing
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
    from_json,
)
from trainer.weights import store

v1 = tf.compat.v1

DALMATIAN = 251  # of ImageNet's 1000 classes
PHOTOS, AT_LEAST = 63, 55


@pytest.mark.slow
def test_dalmatians_are_dalmatians(test_data, tmp_path):
    """By the class layer that EfficientNet-Lite0 was published with."""
    with tarfile.open(test_data / "custom" / "caltech101-16.tar.gz") as archive:
        photos = [
            archive.extractfile(member).read()
            for member in archive
            if "/dalmatian/" in member.name and member.name.endswith(".jpg")
        ]
    assert len(photos) == PHOTOS
    weights = store.load("efficientnet_lite0")
    images = from_json(PreprocessingConfig, weights.manifest.preprocessing)
    config = TrainerConfig(
        images, ModelConfig(net=weights.manifest.net), TrainConfig(ema_decay=0.0)
    )
    checkpoint = str(tmp_path / "weights")
    checkpoints.write_values(checkpoint, weights.arrays)
    with tf.Graph().as_default(), v1.Session() as session:
        encoded = v1.placeholder(tf.string, [None])
        cropped = preprocessing.decode_and_crop(encoded, images)
        graph = graphs.build_inference(
            preprocessing.standardise(cropped, images),
            weights.manifest.num_classes,
            config,
        )
        graph.savers["raw"].restore(session, checkpoint)
        found = session.run(graph.logits, {encoded: photos}).argmax(axis=1)
    right = int(np.count_nonzero(found == DALMATIAN))
    print(f"{right} of {PHOTOS} photos are dalmatians")
    assert right >= AT_LEAST
