import numpy as np
from PIL import Image

from report import curves, drawing
from trainer import history

# Of the light theme.
BLUE, ORANGE, GRAY = (11, 92, 138), (154, 103, 0), (179, 186, 193)


def count(pixels, colour):
    return (abs(pixels - colour) < 20).all(axis=2).sum()


def test_a_run_in_three_panels(tmp_path):
    for step in range(1, 101):
        history.losses(tmp_path).append(
            {
                "step": step,
                "loss": 200 / (step + 50),
                "accuracy": step / 125,
                "learning_rate": 0.1 * (1 - step / 100),
            }
        )
    for step in range(10, 101, 10):
        history.measurements(tmp_path).append(
            {
                "step": step,
                "loss": 1.0,
                "learning_rate": 0.1,
                "eval_top_1_raw": step / 150,
                "eval_top_1_ema": step / 120,
            }
        )
    path = tmp_path / "curves.png"
    drawing.save(curves.of_run(tmp_path), path, "digits: resnet_20")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    height, width, _ = pixels.shape
    assert 400 < height < 800 < width < 2000
    left, middle, right = np.array_split(pixels, 3, axis=1)
    # The curves fill their panels: the limits follow from them.
    for panel in (left, right):
        is_blue = (abs(panel - BLUE) < 20).all(axis=2)
        assert np.ptp(np.flatnonzero(is_blue.any(axis=0))) > 0.6 * panel.shape[1]
        assert np.ptp(np.flatnonzero(is_blue.any(axis=1))) > 0.4 * height
    assert all(count(middle, colour) > 100 for colour in (BLUE, ORANGE, GRAY))


def test_a_training_without_a_row_is_drawn_empty(tmp_path):
    path = tmp_path / "curves.png"
    drawing.save(curves.of_run(tmp_path), path)
    assert path.stat().st_size > 0
