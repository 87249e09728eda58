"""Trainings that kill themselves at a file event, each in a fork of one warm process.

Usage: kill_and_resume.py SETTINGS FOLDER POINT...; prints a JSON line a point. Point 0 is
the unbroken training; any other point counts the events in the training's folder (opens,
renames, removals) and dies by SIGKILL at that one, then a second process goes on. SETTINGS
names one of those below.
"""

import dataclasses
import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf

from trainer import history, training
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")
SIZE_PX = 9
# A net with every kind of random layer, a rate that moves, plateaus that cut it, and images
# that follow from the step, the epoch and their own places.
CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=SIZE_PX, crop_px=SIZE_PX, channels=1),
    ModelConfig(net="hw_net"),
    TrainConfig(
        batch_size=8,
        steps=12,
        learning_rate=0.01,
        ema_decay=0.9,
        eval_every_epochs=0.6,
        keep_checkpoints=2,
        min_gain=1.0,
        precision="float32",
        seed=3,
    ),
    ScheduleConfig(name="plateau", plateau_patience=2, warmup_epochs=0.4),
    AugmentationConfig(
        pad_crop_px=2,
        fill="edge",
        random_resized_crop=0.5,
        alternating_flip=True,
        rand_augment_layers=1,
        random_erasing=0.5,
        random_erasing_fill="noise",
        mixup_alpha=0.4,
        cutmix_alpha=1.0,
    ),
)

# Everything that follows an update and lies in a checkpoint, at other steps than eval is
# measured at, and every rule of the optimizer.
TOOLS = dataclasses.replace(
    CONFIG,
    train=dataclasses.replace(
        CONFIG.train,
        optimizer="muon",
        decoupled_decay=True,
        weight_decay=1e-3,
        norm_rate_factor=2.0,
        head_rate_factor=0.5,
        norm_decay_factor=0.5,
        accumulate_steps=2,
        ema_every_steps=2,
        lookahead_steps=2,
        lookahead_decay=0.7,
        lookahead_power=1.0,
        lookahead_start_epochs=0.6,
    ),
)
SETTINGS = {"plain": CONFIG, "tools": TOOLS}


def split() -> Split:
    random = np.random.default_rng(5)
    labels = np.arange(40, dtype=np.int64) % 2
    images = random.normal(0, 1, [40, SIZE_PX, SIZE_PX, 1])
    images += (labels * 2 - 1)[:, None, None, None] * 0.5
    return Split((), None, labels, images.astype(np.float32))


def die_at(folder: str, point: int) -> None:
    events = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal events
        if event in EVENTS and str(arguments[0]).startswith(folder):
            events += 1
            if events == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def train(config: TrainerConfig, folder: pathlib.Path, point: int) -> None:
    if point:
        die_at(str(folder), point)
    training.train(config, split(), split(), 2, folder)


def in_a_fork(config: TrainerConfig, folder: pathlib.Path, point: int) -> int:
    child = os.fork()
    if not child:
        try:
            train(config, folder, point)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(config: TrainerConfig, root: pathlib.Path, points: list[int]) -> None:
    for point in points:
        folder = root / str(point)
        folder.mkdir(parents=True)
        first = in_a_fork(config, folder, point)
        second = in_a_fork(config, folder, 0) if first else 0
        if second:
            print(json.dumps({"point": point, "ended_well": False}), flush=True)
            continue
        reader = tf.train.load_checkpoint(str(folder / "checkpoints/model.ckpt-12"))
        weights = {
            name: reader.get_tensor(name).astype(np.float64).sum().item()
            for name in sorted(reader.get_variable_to_shape_map())
        }
        told = {
            "point": point,
            "was_killed": os.WIFSIGNALED(first),
            "ended_well": True,
            "history": list(history.read(history.measurements(folder))),
            "losses": list(history.read(history.losses(folder))),
            "weights": weights,
            "leftovers": sorted(
                path.name
                for path in folder.rglob("*")
                if "temp" in path.name or "first" in path.name
            ),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(
        SETTINGS[sys.argv[1]],
        pathlib.Path(sys.argv[2]),
        [int(word) for word in sys.argv[3:]],
    )
