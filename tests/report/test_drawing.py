import re

import pytest

from report import drawing


@pytest.mark.parametrize(
    ("highest", "marks"),
    (
        (1, [0, 0.25, 0.5, 0.75, 1]),
        (0.1, [0, 0.025, 0.05, 0.075, 0.1]),
        (2.3, [0, 1, 2, 3]),
        (840, [0, 250, 500, 750, 1000]),
        (3, [0, 1, 2, 3]),
        (0, [0, 1]),
        (float("nan"), [0, 1]),
    ),
)
def test_ticks_are_round_and_reach_the_highest(highest, marks):
    assert drawing.ticks(highest) == pytest.approx(marks)


def test_a_curve_goes_from_corner_to_corner():
    line = drawing.Line("train", "first", [(0, 0.0), (100, 4.0)])
    drawn = drawing.curves("Loss", "loss", [line])
    (points,) = re.findall(r'polyline class="line first" points="(.*?)"', drawn)
    bottom, right = drawing.HEIGHT - drawing.BOTTOM, drawing.WIDTH - drawing.RIGHT
    assert points == f"{drawing.LEFT}.0,{bottom}.0 {right}.0,{drawing.TOP}.0"
    assert "<title>Loss</title>" in drawn


def test_what_is_no_number_is_not_drawn():
    points = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 2.0)]
    assert drawing.thin(points) == [(0, 1.0), (3, 2.0)]
    assert drawing.curves("Loss", "loss", [drawing.Line("", "first", [])]) == ""


def test_many_points_are_thinned_to_the_last():
    points = [(step, step / 2) for step in range(10_000)]
    thin = drawing.thin(points, 101)
    assert len(thin) == 101
    assert (thin[0], thin[50], thin[-1]) == (points[0], points[5000], points[-1])


def test_bars_are_as_long_as_their_figures():
    assert 'class="fill" width="25.0"' in drawing.bar(0.25)
    assert 'class="fill" width="50.0"' in drawing.bar(30, 60)
    assert 'class="fill" width="0.0"' in drawing.bar(0, 0)
    stack = drawing.stack([10, 5], 20)
    assert 'class="part-0" x="0.00" width="50.00"' in stack
    assert 'class="part-1" x="50.00" width="25.00"' in stack


def test_titles_are_escaped():
    line = drawing.Line("", "first", [(0, 1.0)])
    assert "&lt;b&gt; &amp;" in drawing.curves("<b> &", "y", [line])
