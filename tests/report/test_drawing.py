import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from report import drawing

BINS = [
    {"low": 0.0, "high": 0.5, "count": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 1.0, "count": 1234, "confidence": 0.8, "accuracy": 0.9},
]


def line(name: str, points, place: int = 0, **settings) -> drawing.Line:
    return drawing.Line(name, drawing.look(place), points, **settings)


def svg(markup: str) -> ET.Element:
    """The picture inside an address; it is well-formed."""
    data = re.search(r'src="data:image/svg\+xml;base64,(.*?)"', markup)[1]
    return ET.fromstring(base64.b64decode(data))


def texts(markup: str) -> list[str]:
    return ["".join(each.itertext()) for each in svg(markup).iter() if is_text(each)]


def is_text(element: ET.Element) -> bool:
    return element.tag.endswith("}text")


def test_a_curve_goes_from_corner_to_corner():
    panel = drawing.Panel("Loss", "loss", [line("train", [(0, 0.0), (100, 4.0)])])
    drawn = drawing.curves(panel)
    assert 'alt="Loss over the steps. train: from 0 to 4."' in drawn
    found = svg(drawn)
    _, _, width, height = map(float, found.get("viewBox").split())
    (path,) = (
        each.get("d")
        for each in found.iter()
        if "stroke: var(--accent)" in each.get("style", "")
    )
    numbers = list(map(float, re.findall(r"-?[0-9.]+", path)))
    (left, right), (bottom, top) = (numbers[0::2], numbers[1::2])
    assert right - left > 0.75 * width
    assert bottom - top > 0.65 * height
    assert {"loss", "step", "0", "100"} <= set(texts(drawn))
    # A single line needs no legend.
    assert "train" not in texts(drawn)


def test_several_lines_have_a_legend_below_that_makes_room():
    lines = [line(f"run {place}", [(0, 1.0), (9, 2.0)], place) for place in range(5)]
    alone, several = (
        drawing.curves(drawing.Panel("Loss", "loss", each))
        for each in (lines[:1], lines)
    )
    assert {each.name for each in lines} <= set(texts(several))
    heights = [float(svg(each).get("viewBox").split()[3]) for each in (alone, several)]
    assert heights[1] - heights[0] == 3 * 16


def test_lines_differ_in_colour_and_dashes():
    looks = [drawing.look(place) for place in range(24)]
    assert len(set(looks)) == 24
    assert len({colour for colour, _ in looks[:6]}) == 6
    assert {dashes for _, dashes in looks[:4]} == {"-", "--", ":", "-."}


def test_colours_are_those_of_both_themes():
    light, dark = drawing.themes()
    assert light.keys() == dark.keys() >= {"accent", "second", "ink", "quiet"}
    assert len(set(light.values())) == len(light)
    drawn = drawing.curves(drawing.Panel("", "y", [line("", [(0, 1.0), (1, 2.0)])]))
    style = "".join(next(e for e in svg(drawn) if e.tag.endswith("style")).itertext())
    assert f"--accent:{light['accent']};" in style.split("@media")[0]
    assert f"--accent:{dark['accent']};" in style.split("@media")[1]
    # Nothing else has a colour of its own.
    data = ET.tostring(svg(drawn), encoding="unicode").replace(style, "")
    assert not re.findall("#[0-9a-f]{6}", data)


def test_what_is_no_number_is_not_drawn():
    points = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 2.0)]
    assert drawing.thin(points) == [(0, 1.0), (3, 2.0)]
    assert drawing.curves(drawing.Panel("Loss", "loss", [line("", [])])) == ""


def test_many_points_are_thinned_to_the_last():
    points = [(step, step / 2) for step in range(10_000)]
    thin = drawing.thin(points, 101)
    assert len(thin) == 101
    assert (thin[0], thin[50], thin[-1]) == (points[0], points[5000], points[-1])


@pytest.mark.parametrize(
    ("value", "highest", "share"),
    ((0.25, 1, 0.25), (30, 60, 0.5), (0, 0, 0), (2, 1, 1)),
)
def test_bars_are_as_long_as_their_figures(value, highest, share):
    assert f'value="{share:.4f}" max="1"' in drawing.bar(value, highest)


def test_names_are_text_and_nothing_else():
    lines = [line("$x^2$ <b> & \u202e", [(0, 1.0)], place) for place in range(2)]
    drawn = drawing.curves(drawing.Panel("<b> &", "y", lines))
    assert 'alt="&lt;b&gt; &amp; over' in drawn
    (name, _) = (each for each in texts(drawn) if "x^2" in each)
    assert name.startswith("$x^2$ <b> & ") and "\u202e" not in name


def test_calibration_has_its_axes_and_one_bar_a_bin_with_images():
    for drawn, names in (
        (drawing.reliability(BINS), {"confidence", "share that is right"}),
        (drawing.counts(BINS), {"confidence", "images", "1,000"}),
    ):
        assert names <= set(texts(drawn))
    assert drawing.reliability([]) and drawing.counts([])


def test_an_interval_lies_about_zero():
    found = svg(drawing.interval(-0.01, 0.01, 0.03))
    paths = {
        each.get("style").split("--")[1].split(")")[0]: each.get("d")
        for each in found.iter()
        if "stroke: var" in each.get("style", "") and each.get("clip-path")
    }
    assert paths["quiet"].startswith("M 60 ")
    left, _, right, _ = map(float, re.findall(r"-?[0-9.]+", paths["accent"]))
    assert 0 < left < 60 < right < 120
    assert (right - 60) / (60 - left) == pytest.approx(3, rel=0.01)


def test_panels_side_by_side_as_a_file(tmp_path):
    panel = drawing.Panel("Loss", "loss", [line("", [(0, 1.0), (1, 2.0)])])
    drawing.save([panel, panel], tmp_path / "two.png", "a title")
    with Image.open(io.BytesIO((tmp_path / "two.png").read_bytes())) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    accent = [int(drawing.themes()[0]["accent"][at : at + 2], 16) for at in (1, 3, 5)]
    for half in np.array_split(pixels, 2, axis=1):
        assert (abs(half - accent) < 20).all(axis=2).sum() > 100
