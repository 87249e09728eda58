"""The real data sets, through the whole pipeline, with few steps."""

import json
import os
import pathlib

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


@pytest.fixture(scope="module")
def run(warm_forks):
    """Function (folder, *arguments) -> exit code and summary of a command."""

    def run(folder: pathlib.Path, *arguments: str) -> tuple[int, dict]:
        result = warm_forks.run(
            ["slimline", *arguments, "--json"],
            folder,
            {**os.environ, "HOME": str(folder)},
            timeout=900,
        )
        assert result.returncode in (0, 3), result.stdout + result.stderr
        return result.returncode, json.loads(result.stdout)

    return run


def few_steps(steps: int) -> list[str]:
    """Settings of a short run whose gate is open and which leaves out the data check."""
    settings = (
        f"train.steps={steps}",
        "evaluation.min_top_1=0",
        "evaluation.beats_guessing=false",
        "data.check_images=0",
    )
    return [word for setting in settings for word in ("--set", setting)]


def test_cifar10(run, tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    archive = test_data / "cifar10" / "cifar-10-binary.tar.xz"
    code, document = run(
        *(tmp_path, "run", "cifar10_resnet_20", "--data", str(archive)),
        *few_steps(20),
    )
    assert code == 0, document
    summary = document["summary"]
    assert summary["images"] == {"train": 47_959, "eval": 2_041, "test": 10_000}
    assert summary["unreadable"] == 0
    assert summary["metrics"]["example_count"] == 10_000


def test_mnist(run, tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    # ResNet-34 would take two minutes for the 16,000 images of eval and test.
    code, document = run(
        *(tmp_path, "run", "mnist_resnet_34", "--data", str(test_data / "mnist")),
        *("--set", "model.net=mlp_bn", *few_steps(4)),
    )
    assert code == 0, document
    summary = document["summary"]
    assert summary["images"] == {"train": 53_909, "eval": 6_091, "test": 10_000}
    assert summary["unreadable"] == 0
    assert summary["metrics"]["example_count"] == 10_000


def test_own_folder(run, tmp_path: pathlib.Path, test_data: pathlib.Path) -> None:
    archive = str(test_data / "custom" / "caltech101-16.tar.gz")
    code, written = run(tmp_path, "data", "init", archive)
    assert code == 0, written
    contract = tmp_path / "schema" / "caltech101-16"
    assert (contract / "labels.txt").read_text().splitlines()[0] == "Motorbikes"
    code, document = run(tmp_path, "run", "folder", "--data", archive, *few_steps(20))
    assert code == 0, document
    summary = document["summary"]
    assert summary["num_classes"] == 16
    assert sum(summary["images"].values()) == 1_732
    assert summary["pushed_path"].endswith(
        f"serving/caltech101-16/{summary['pushed_version']}"
    )
