import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from trainer.augmentation import mixing

BATCH = 600


@pytest.fixture
def batch():
    """Images that hold their number in every px, and one class an image."""
    numbers = np.arange(BATCH, dtype=np.float32)
    images = np.tile(numbers[:, None, None, None], [1, 8, 6, 2])
    return images, np.eye(BATCH, dtype=np.float32)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_blends_image_and_target_alike(batch, alpha):
    images, targets = batch
    mixed, mixed_targets = mixing.mixup(images, targets, (3, 4), alpha)
    share = np.diag(mixed_targets)
    partner = np.arange(BATCH)[::-1]
    np.testing.assert_allclose(
        np.asarray(mixed_targets)[np.arange(BATCH), partner], 1 - share, atol=1e-6
    )
    expected = share * np.arange(BATCH) + (1 - share) * partner
    np.testing.assert_allclose(
        mixed, np.broadcast_to(expected[:, None, None, None], images.shape), rtol=1e-4
    )
    assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_cutmix_takes_a_box_and_its_share(batch):
    images, targets = batch
    mixed, mixed_targets = map(np.asarray, mixing.cutmix(images, targets, (3, 4), 1.0))
    partner = np.arange(BATCH)[::-1]
    is_partner = mixed[..., 0] == partner[:, None, None]
    is_own = mixed[..., 0] == np.arange(BATCH)[:, None, None]
    assert (is_partner | is_own).all()
    np.testing.assert_array_equal(mixed[..., 0], mixed[..., 1])
    np.testing.assert_allclose(
        np.diag(mixed_targets), is_own.mean(axis=(1, 2)), atol=1e-6
    )
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, atol=1e-5)
    for box in is_partner:
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        assert box.sum() == len(rows) * len(columns)
        assert (np.diff(rows) == 1).all()
        assert (np.diff(columns) == 1).all()
    assert 0.5 < is_own.mean() < 0.8  # half of each image, less what lies outside


def test_a_small_alpha_gives_shares_in_their_range():
    share = mixing._beta(10_000, (1, 2), 0.01)
    assert np.isfinite(share).all()
    assert share.numpy().min() >= 0
    assert share.numpy().max() <= 1


def test_equal_seeds_mix_alike(batch):
    for mix in (mixing.mixup, mixing.cutmix):
        first = mix(*batch, (3, 4), 1.0)
        again = mix(*batch, (3, 4), 1.0)
        other = mix(*batch, (3, 5), 1.0)
        tf.debugging.assert_equal(first[0], again[0])
        assert not np.array_equal(first[1], other[1])
