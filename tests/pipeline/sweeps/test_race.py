import numpy as np
import pytest

from pipeline.sweeps import race
from trainer import history


def write(folder, losses):
    folder.mkdir()
    for place, loss in enumerate(losses):
        history.losses(folder).append({"step": 10 * place, "loss": loss})
    return folder


def test_the_steps_to_what_all_have_reached(tmp_path):
    line = np.linspace(2, 0, 201)  # 0.001 a step
    folders = {
        "fast": write(tmp_path / "fast", line),
        "slow": write(tmp_path / "slow", 2 - (2 - line) / 4),
    }
    result = race.run(folders)
    # The slow one ends at 1.5; its last window of nine has its middle at step 1960.
    assert result.loss == pytest.approx(1.51)
    assert result.steps == {"fast": 490, "slow": 1960}
    assert str(result) == "loss 1.51: fast 490 steps, slow 1,960 steps (4.0 times)"


def test_one_lucky_batch_does_not_win(tmp_path):
    steady, lucky = np.linspace(2, 1, 50), np.full(50, 2.0)
    lucky[20] = 0.0
    folders = {
        "steady": write(tmp_path / "steady", steady),
        "lucky": write(tmp_path / "lucky", lucky),
    }
    assert race.run(folders).loss == pytest.approx(2 - 2 / race.WINDOW)


def test_no_race_of_one_or_of_short_ones(tmp_path):
    one = write(tmp_path / "one", np.ones(20))
    short = write(tmp_path / "short", np.ones(race.WINDOW - 1))
    assert race.run({"one": one}) is None
    assert race.run({"one": one, "short": short}) is None
    assert race.run({"one": one, "none": tmp_path / "none"}) is None
