"""The command line of the training benchmark."""

import pathlib

import pytest
import rounds
import train_step


def test_missing_torch_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
) -> None:
    missing = tmp_path / ".venv-peers" / "bin" / "python"
    monkeypatch.setattr(train_step, "PEERS_PYTHON", missing)
    assert train_step.main(["--peers", "torch"]) == 2
    assert capsys.readouterr().err == (
        "error: PyTorch is not installed in .venv-peers; `make bench-peers` installs it\n"
    )


def test_unknown_net_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_step.main(["--net", "resnet_21", "--peers", ""]) == 2
    assert "resnet_21" in capsys.readouterr().err


def test_unknown_peer_names_the_known() -> None:
    with pytest.raises(rounds.BenchmarkError, match=r"no peer 'jax'; there are keras"):
        train_step.choose_modes(["jax"], "bfloat16")


def test_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "PEERS_PYTHON", pathlib.Path(__file__))
    monkeypatch.setattr(train_step, "_has_compiler", lambda: True)
    assert train_step.choose_modes(["keras", "torch:compiled"], "bfloat16") == [
        ("keras", "default"),
        ("keras", "onednn"),
        ("torch", "compiled"),
    ]
    assert train_step.choose_modes(["keras"], "float32") == [("keras", "default")]
    assert train_step.choose_modes(["keras:xla"], "float32") == [("keras", "xla")]


def test_without_a_compiler_torch_is_eager(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_step, "PEERS_PYTHON", pathlib.Path(__file__))
    monkeypatch.setattr(train_step, "_has_compiler", lambda: False)
    assert train_step.choose_modes(["torch"], "bfloat16") == [("torch", "eager")]
    assert "needs a C++ compiler" in capsys.readouterr().out
