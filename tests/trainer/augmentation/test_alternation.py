import numpy as np
import tensorflow as tf

from trainer.augmentation import alternation


def test_the_first_epoch_is_drawn_and_the_others_take_turns():
    first = alternation.first_sides(1000, seed=3)
    assert 430 < first.sum() < 570
    np.testing.assert_array_equal(first, alternation.first_sides(1000, seed=3))
    assert (first != alternation.first_sides(1000, seed=4)).any()
    for epoch in range(4):
        sides = alternation.is_mirrored(tf.constant(first), epoch)
        np.testing.assert_array_equal(sides, first ^ (epoch % 2 == 1))


def test_the_passes_of_an_epoch_take_turns():
    first = tf.constant([False, False, False, True])
    sides = alternation.is_mirrored(
        first, epoch=1, repetition=tf.constant([0, 1, 2, 0])
    )
    assert sides.numpy().tolist() == [True, False, True, False]
