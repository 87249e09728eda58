"""The command line of the training benchmark."""

import pathlib
from collections.abc import Sequence
from typing import Any

import pytest
import rounds
import train_step

from trainer import precision


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


@pytest.mark.parametrize(
    ("net", "flags", "chosen"),
    [
        ("resnet_20", "amx_bf16", "bfloat16"),
        ("resnet_20", "avx2", "float32"),
        ("efficientnet_lite0", "amx_bf16", "float32"),
    ],
)
def test_precision_is_what_auto_would_choose(
    net: str,
    flags: str,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda facts: frozenset([flags]))

    def compete(contenders: Sequence[rounds.Contender], **options: Any) -> None:
        assert {each.task["precision"] for each in contenders} == {chosen}
        raise rounds.BenchmarkError("not measured")

    monkeypatch.setattr(rounds, "compete", compete)
    assert train_step.main(["--net", net, "--peers", ""]) == 2
    assert f"{chosen}: " in capsys.readouterr().out
