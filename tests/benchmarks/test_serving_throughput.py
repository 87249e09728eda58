"""The arithmetic and the command line of the serving benchmark."""

import pytest
import serving_throughput


def test_unknown_net_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert serving_throughput.main(["--net", "resnet_21"]) == 2
    assert "error: unknown net 'resnet_21'" in capsys.readouterr().err


def test_ratios_are_of_medians() -> None:
    summaries = {
        "single": serving_throughput.summarise([100.0, 90.0, 300.0]),
        "loop": serving_throughput.summarise([500.0, 400.0, 1.0]),
        "batcher": serving_throughput.summarise([360.0, 10.0, 900.0]),
    }
    assert serving_throughput.ratios(summaries) == {
        "to_batch_one": 3.6,
        "to_a_bare_loop": 0.9,
    }
    assert summaries["batcher"]["lowest"] == 10.0
    assert summaries["batcher"]["rounds"] == [360.0, 10.0, 900.0]


def test_the_usual_size_is_that_of_the_batch_an_image_is_in() -> None:
    # 10 images alone, 3 batches of 30 since: most images were in batches of 30.
    before = {1: 5, 30: 1}
    assert serving_throughput.usual_size(before, {1: 15, 30: 4}) == 27
    assert serving_throughput.usual_size({}, {32: 7}) == 32
