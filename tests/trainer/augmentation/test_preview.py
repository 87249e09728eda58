import io

import numpy as np
import pytest
from PIL import Image

from trainer.augmentation import preview
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    TrainerConfig,
)


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
        file, "PNG"
    )
    return file.getvalue()


@pytest.fixture(params=[1, 3])
def pixels(request):
    random = np.random.default_rng(3)
    return random.integers(0, 256, [4, 8, 8, request.param], np.uint8)


@pytest.mark.parametrize("standardise", ["per_image", "dataset", "minus_one_to_one"])
def test_the_first_column_is_the_image_itself(pixels, standardise):
    config = TrainerConfig(
        PreprocessingConfig(
            resize_px=8, crop_px=8, channels=pixels.shape[-1], standardise=standardise
        ),
        augmentation=AugmentationConfig(flip_up_down=True),
    )
    grid = preview.preview([encode(image) for image in pixels], config, 5)
    assert grid.shape == (4, 6, *pixels.shape[1:])
    np.testing.assert_allclose(grid[:, 0].astype(int), pixels, atol=1)
    is_kept = (abs(grid[:, 1:] - pixels[:, None].astype(int)) <= 1).all(axis=(2, 3, 4))
    flipped = pixels[:, None, ::-1].astype(int)
    is_flipped = (abs(grid[:, 1:] - flipped) <= 1).all(axis=(2, 3, 4))
    assert (is_kept ^ is_flipped).all()
    assert is_kept.any()
    assert is_flipped.any()


def test_smaller_images_show_the_centre_first(pixels):
    config = TrainerConfig(
        PreprocessingConfig(resize_px=8, crop_px=8, channels=pixels.shape[-1]),
        ModelConfig(image_size_px=4),
    )
    grid = preview.preview([encode(image) for image in pixels], config, 1)
    np.testing.assert_allclose(grid[:, 0].astype(int), pixels[:, 2:6, 2:6], atol=1)
    assert grid.shape == (4, 2, 4, 4, pixels.shape[-1])


def test_an_alternating_flip_shows_both_sides_in_turn(pixels):
    config = TrainerConfig(
        PreprocessingConfig(resize_px=8, crop_px=8, channels=pixels.shape[-1]),
        augmentation=AugmentationConfig(alternating_flip=True),
    )
    grid = preview.preview([encode(image) for image in pixels], config, 4).astype(int)
    for first, second in zip((1, 2, 3), (2, 3, 4), strict=True):
        mirrored = grid[:, first, :, ::-1]
        np.testing.assert_allclose(grid[:, second], mirrored, atol=1)
    is_kept = (abs(grid[:, 1] - grid[:, 0]) <= 1).all(axis=(1, 2, 3))
    is_mirrored = (abs(grid[:, 1] - grid[:, 0, :, ::-1]) <= 1).all(axis=(1, 2, 3))
    assert (is_kept ^ is_mirrored).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"rand_augment_layers": 2},
        {"trivial_augment": True},
        {"random_resized_crop": 0.3},
        {"random_erasing": 1.0, "random_erasing_fill": "noise"},
        {"mixup_alpha": 0.4, "cutmix_alpha": 1.0},
        {"pad_crop_px": 3, "fill": "reflect"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_way_of_changing_can_be_looked_at(pixels, changes):
    config = TrainerConfig(
        PreprocessingConfig(
            resize_px=8,
            crop_px=8,
            channels=pixels.shape[-1],
            standardise="minus_one_to_one",
        ),
        augmentation=AugmentationConfig(**changes),
    )
    grid = preview.preview([encode(image) for image in pixels], config, 4)
    np.testing.assert_allclose(grid[:, 0].astype(int), pixels, atol=1)
    assert (grid[:, 1:] != grid[:, :1]).any()
