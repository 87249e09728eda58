import csv

import numpy as np
import pytest
from PIL import Image

from common import run_files
from pipeline.sweeps import comparison
from pipeline.sweeps.comparison import Row
from trainer import history

ROWS = [
    Row("one", "resnet_20", 269_722, 40, 20, 0.75, 0.7, 0.68, 0.9, 12.5),
    Row("two", "resnet_32", 464_154, 40, 40, 0.8, 0.65, None, 1.1, 20.0),
    Row("three", "lenet", note="failed: loss became NaN | really"),
]


@pytest.fixture
def sweep(tmp_path):
    for place, row in enumerate(ROWS):
        folder = tmp_path / "members" / row.member
        folder.mkdir(parents=True)
        for step in range(1, 41):
            history.losses(folder).append(
                {"step": step, "loss": 2.0 - step / 40 + 0.2 * place, "accuracy": 0.5}
            )
        for step in (10, 20, 30, 40):
            history.measurements(folder).append(
                {
                    "step": step,
                    "loss": 2.0 - step / 40 + 0.2 * place,
                    "learning_rate": 0.1,
                    "eval_top_1_raw": step / 50 - 0.1 * place,
                    "eval_top_1_ema": step / 60 - 0.1 * place,
                }
            )
    return tmp_path


def test_the_best_is_chosen_on_eval():
    assert comparison.best(ROWS).member == "two"
    assert comparison.best(ROWS[2:]) is None


def test_table_for_programs_and_for_people(sweep):
    comparison.write(sweep, ROWS)
    with (sweep / comparison.TABLE_FILE).open(newline="") as file:
        one, two, three = csv.DictReader(file)
    assert (one["member"], one["parameters"], one["test_top_1"]) == (
        "one",
        "269722",
        "0.7",
    )
    assert two["training_seconds"] == "20.0"
    assert three["steps"] == three["eval_top_1"] == ""
    lines = (sweep / comparison.MARKDOWN_FILE).read_text().splitlines()
    assert lines[0].startswith("| member | net | parameters | steps | best step |")
    # A sign of the table inside a cell would make another column of it.
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert lines[5:] == ["", "loss 1.3: one 28 steps, two 36 steps (1.3 times)"]
    assert (
        "| one | resnet_20 | 269,722 | 40 | 20 | 0.7500 | 0.7000 | 0.6800 |" in lines[2]
    )


def test_a_picture_of_three_panels_with_a_line_a_member(sweep):
    comparison.write(sweep, ROWS)
    with Image.open(sweep / run_files.CURVES_FILE) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    height, width, _ = pixels.shape
    assert 400 < height < 800 < width < 2000
    blue, orange, green = (11, 92, 138), (154, 103, 0), (26, 107, 54)
    loss, top_1, _ = np.array_split(pixels, 3, axis=1)
    for panel in (loss, top_1):
        for colour in (blue, orange):
            assert (abs(panel - colour) < 20).all(axis=2).sum() > 100
        # The third has failed and has no curve.
        assert (abs(panel - green) < 20).all(axis=2).sum() == 0


def test_without_a_curve_there_is_no_picture(sweep):
    comparison.write(sweep, ROWS[2:])
    assert not (sweep / run_files.CURVES_FILE).exists()
    assert (sweep / comparison.TABLE_FILE).exists()
