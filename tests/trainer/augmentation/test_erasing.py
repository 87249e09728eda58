import numpy as np


def test_salt_and_pepper_sets_whole_px(run, numbered):
    images = numbered(8, 40, channels=3)
    outputs = run(images, [("salt_and_pepper", {"share": 0.2})])
    highest = images.max(axis=(1, 2, 3))[:, None, None, None]
    lowest = images.min(axis=(1, 2, 3))[:, None, None, None]
    is_kept = (outputs == images).all(axis=3)
    is_salt = (outputs == highest).all(axis=3)
    is_pepper = (outputs == lowest).all(axis=3)
    assert (is_kept | is_salt | is_pepper).all()
    # 12,800 px: three deviations are 0.008.
    assert abs(is_salt.mean() - 0.1) < 0.01
    assert abs(is_pepper.mean() - 0.1) < 0.01


def test_cutout_erases_a_square_about_any_px(run):
    images = np.ones([3000, 5, 5, 2], np.float32)
    outputs = run(images, [("cutout", {"side_px": 3})])
    is_erased = outputs == 0
    assert (is_erased | (outputs == 1)).all()
    np.testing.assert_array_equal(is_erased[..., 0], is_erased[..., 1])
    seen = set()
    for erased in is_erased[..., 0]:
        rows, columns = (
            np.flatnonzero(erased.any(axis=1)),
            np.flatnonzero(erased.any(0)),
        )
        assert erased[np.ix_(rows, columns)].all()
        assert erased.sum() == len(rows) * len(columns)
        seen.add((tuple(rows), tuple(columns)))
    # Five centres a side; at the rim the square is cut off.
    spans = [(0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4)]
    assert seen == {(rows, columns) for rows in spans for columns in spans}


def test_cutout_of_an_even_side(run):
    outputs = run(np.ones([200, 8, 8, 1], np.float32), [("cutout", {"side_px": 2})])
    erased = (outputs == 0).sum(axis=(1, 2, 3))
    assert set(erased) == {1, 2, 4}
