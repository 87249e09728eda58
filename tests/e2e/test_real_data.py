"""The real data sets, through the whole pipeline, with few steps."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

BIN = pathlib.Path(sys.executable).parent


def run(folder: pathlib.Path, *arguments: str) -> tuple[int, dict]:
    result = subprocess.run(
        [str(BIN / "slimline"), *arguments, "--json"],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode in (0, 3), result.stdout + result.stderr
    return result.returncode, json.loads(result.stdout).get("summary", {})


def few_steps(steps: int) -> list[str]:
    """Settings of a short run whose gate is open and which leaves out the data check."""
    settings = (
        f"train.steps={steps}",
        "evaluation.min_top_1=0",
        "evaluation.beats_guessing=false",
        "data.check_images=0",
    )
    return [word for setting in settings for word in ("--set", setting)]


def test_cifar10(tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    archive = test_data / "cifar10" / "cifar-10-binary.tar.xz"
    code, summary = run(
        *(tmp_path, "run", "cifar10_resnet_20", "--data", str(archive)),
        *few_steps(20),
    )
    assert code == 0
    assert summary["images"] == {"train": 47_959, "eval": 2_041, "test": 10_000}
    assert summary["unreadable"] == 0
    assert summary["metrics"]["example_count"] == 10_000


def test_mnist(tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    # ResNet-34 would take two minutes for the 16,000 images of eval and test.
    code, summary = run(
        *(tmp_path, "run", "mnist_resnet_34", "--data", str(test_data / "mnist")),
        *("--set", "model.net=mlp_bn", *few_steps(4)),
    )
    assert code == 0
    assert summary["images"] == {"train": 53_909, "eval": 6_091, "test": 10_000}
    assert summary["unreadable"] == 0
    assert summary["metrics"]["example_count"] == 10_000


def test_own_folder(tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    archive = str(test_data / "custom" / "caltech101-16.tar.gz")
    code, written = run(tmp_path, "data", "init", archive)
    assert code == 0, written
    contract = tmp_path / "schema" / "caltech101-16"
    assert (contract / "labels.txt").read_text().splitlines()[0] == "Motorbikes"
    code, summary = run(tmp_path, "run", "folder", "--data", archive, *few_steps(20))
    assert code == 0
    assert summary["num_classes"] == 16
    assert sum(summary["images"].values()) == 1_732
    assert summary["pushed_path"].endswith(
        f"serving/caltech101-16/{summary['pushed_version']}"
    )
