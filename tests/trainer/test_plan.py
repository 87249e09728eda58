"""How long a training is, and with which batch."""

import pytest

from trainer import plan
from trainer.config import TrainConfig


def test_few_images_are_trained_for_so_many_steps_and_measured_as_often() -> None:
    train = TrainConfig(batch_size=64, epochs=40, eval_every_epochs=2, min_steps=800)
    long = plan.make_plan(train, 1299)
    assert (long.steps_per_epoch, long.total_steps, long.measure_steps) == (20, 800, 40)
    short = plan.make_plan(train, 366)
    assert (short.steps_per_epoch, short.total_steps) == (5, 800)
    assert short.total_steps // short.measure_steps == 20


def test_steps_that_are_given_count_as_they_are() -> None:
    train = TrainConfig(batch_size=4, steps=2, min_steps=800)
    assert plan.make_plan(train, 100).total_steps == 2


@pytest.mark.parametrize(
    ("images", "devices", "batch_size"),
    [(64, 1, 64), (63, 1, 15), (3, 1, 1), (40, 2, 10), (5, 2, 2)],
)
def test_a_batch_fits_the_train_split(
    images: int, devices: int, batch_size: int
) -> None:
    train = TrainConfig(batch_size=64, devices=devices)
    fitted, told = plan.fit_batch(train, images)
    assert fitted.batch_size == batch_size
    assert plan.make_plan(fitted, images).steps_per_epoch >= 1
    if images < 64:
        assert told == (
            f"train has {images} images, fewer than a batch of 64: trained with batches"
            f" of {batch_size}"
        )
    else:
        assert not told
