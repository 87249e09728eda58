"""An untrained net as a pushed version, and images for it, for the serving benchmark.

As a program it writes what one JSON argument asks for, so that whoever measures need not
load Beam.
"""

import json
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np
import synthetic
import tensorflow as tf
import tensorflow.compat.v1 as v1

from storage import manifest
from trainer import export, graphs, input_pipeline, warm_up
from trainer.config import ModelConfig, PreprocessingConfig, TrainConfig, TrainerConfig
from trainer.nets import registry
from trainer.recording import record

ANALYSED = 16


def write(task: dict[str, Any]) -> None:
    """Writes a version with a manifest, and images beside it.

    Args:
      task: `net`, `num_classes`; `folder` of the version, which must not exist;
        `images_folder`, `images` to write there and their `kind`, 'png' or 'jpeg'.
    """
    spec = registry.find(task["net"])
    size_px, folder = spec.image_size_px, pathlib.Path(task["folder"])
    config = TrainerConfig(
        preprocessing=PreprocessingConfig(
            resize_px=size_px, crop_px=size_px, channels=spec.channels
        ),
        model=ModelConfig(net=task["net"]),
        train=TrainConfig(ema_decay=0, seed=task.get("seed", 0)),
    )
    labels = [f"class_{number}" for number in range(task["num_classes"])]
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        synthetic.write_examples(
            scratch / "examples",
            count=ANALYSED,
            height_px=size_px,
            width_px=size_px,
            kind=task["kind"],
            num_classes=task["num_classes"],
        )
        pattern = str(scratch / "examples" / "data_tfrecord-*.gz")
        synthetic.transform_output(pattern, config.preprocessing, scratch)
        checkpoint = _checkpoint(config, len(labels), scratch)
        transform = synthetic.open_transform(scratch)
        export.export(str(folder), config, transform, labels, checkpoint, "raw")
        split = input_pipeline.load_split([pattern], transform, 2**30)
        recording = record(scratch, config, split, len(labels), checkpoint, "raw")
        warm_up.add(folder, recording)
    manifest.write(folder)
    random = np.random.default_rng(1)
    images_folder = pathlib.Path(task["images_folder"])
    images_folder.mkdir()
    for number in range(task["images"]):
        image = synthetic.smooth_image(random, size_px, size_px)
        encoded = synthetic.encode(image, task["kind"])
        (images_folder / f"{number:04}").write_bytes(encoded)


def _checkpoint(config: TrainerConfig, num_classes: int, folder: pathlib.Path) -> str:
    """Checkpoint of the initial weights; answers are noise, but take as long."""
    size_px, channels = config.image_size_px, config.preprocessing.channels
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(config.train.seed)
        images = tf.zeros([1, size_px, size_px, channels])
        inference = graphs.build_inference(images, num_classes, config)
        session.run(v1.global_variables_initializer())
        return inference.savers["raw"].save(session, str(folder / "model.ckpt"))


if __name__ == "__main__":
    write(json.loads(sys.argv.pop()))  # Beam would take it for a flag of its own
