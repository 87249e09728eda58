"""The benchmark of ingest by engines: its figures, its mistakes, one round for real."""

import pathlib

import ingest_engines
import pytest


def measured(seconds: float, digest: str = "d") -> dict:
    return {"seconds": seconds, "digest": digest}


def test_ratios_are_of_medians() -> None:
    found = ingest_engines.summarise(
        {
            "local": [measured(10.0), measured(30.0), measured(20.0)],
            "multiprocess": [measured(10.0), measured(11.0), measured(8.0)],
        }
    )
    assert found["seconds"] == {"local": 20.0, "multiprocess": 10.0}
    assert found["ratios"] == {"multiprocess": 2.0}


def test_other_examples_are_no_result() -> None:
    with pytest.raises(ingest_engines.BenchmarkError, match="different Examples"):
        ingest_engines.summarise(
            {"local": [measured(1.0)], "portable": [measured(1.0, "e")]}
        )


def test_no_data_is_a_sentence(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ingest_engines.main(["--data", str(tmp_path / "none")]) == 2
    assert "error: no data at" in capsys.readouterr().err
    monkeypatch.delenv("SLIMLINE_TEST_DATA", raising=False)
    assert ingest_engines.main([]) == 2
    assert "--data or SLIMLINE_TEST_DATA" in capsys.readouterr().err


def test_a_round(fakes, tmp_path: pathlib.Path) -> None:
    data = fakes.cifar10_binary(tmp_path / "cifar-10-batches-bin")
    found = ingest_engines._measure("local", 0, data)
    assert found["images"] == 120
    assert found["images_per_second"] == pytest.approx(120 / found["seconds"])
    assert len(found["digest"]) == 64
