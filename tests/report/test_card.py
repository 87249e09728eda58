"""The card that a notebook shows of a run."""

import re

import pytest

from common.errors import ConfigError
from report import card


def test_a_card_has_verdict_curves_and_confusion(made_up):
    text = card.of_run(made_up.folder)
    assert text.startswith('<div class="slimline">') and text.endswith("</div>")
    assert re.search(r'class="verdict (kept|broken)"', text)
    assert text.count('<img class="chart"') == 3
    assert "Confusion matrix: true class by predicted class" in text
    assert "<caption>Gate</caption>" in text


def test_a_card_changes_nothing_around_it(made_up):
    text = card.of_run(made_up.folder)
    style, body = re.search(r"<style>(.*)</style>(.*)</div>", text, re.DOTALL).groups()
    # All rules lie within that of the card, and nothing needs a script or an id.
    assert style.startswith(".slimline.slimline.slimline {") and style.count(
        "{"
    ) == style.count("}")
    assert ":root" not in style
    for word in ("<script", "<button", " id=", "<html", "<body"):
        assert word not in body


def test_no_card_of_a_run_that_left_nothing(tmp_path):
    with pytest.raises(ConfigError):
        card.of_run(tmp_path)
