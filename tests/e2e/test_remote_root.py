"""Data, artifacts and models in an object store, by the commands as a user types them."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from components.model_pusher import publishing
from pipeline.runs import remote_roots
from pushed_models import models_config
from storage import mirror

pytestmark = pytest.mark.e2e


@pytest.fixture
def call(warm_forks):
    """Function (folder, *arguments) of a command that ends without a stack."""

    def run(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
        result = warm_forks.run(["slimline", *arguments], folder)
        assert "Traceback" not in result.stderr
        return result

    return run


def test_a_root_and_data_in_a_store(
    bucket, call, fakes, tmp_path: pathlib.Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    images = fakes.class_folders(tmp_path / "flowers", ["daisy", "rose"], 40)
    archive = fakes.pack(images, tmp_path / "flowers.tar.gz")
    bucket.write("flowers.tar.gz", archive.read_bytes())
    root = f"{bucket.uri}/runs"
    run = ("run", "folder", "--tiny", "--data", f"{bucket.uri}/flowers.tar.gz")
    run += ("--root", root, "--set", "data.check_images=0", "--json")
    run += ("--set", "model.net=mlp_bn")

    first = call(work, *run)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)["summary"]
    version = summary["pushed_version"]
    keys = bucket.keys("runs/")
    model = f"runs/serving/flowers-tiny/{version}"
    for wanted in (
        "runs/metadata.sqlite",
        f"runs/{summary['run']}/config.json",
        f"runs/{summary['run']}/log.txt",
        f"runs/{summary['run']}/report.html",
        f"runs/{summary['run']}/summary.json",
        f"{model}/saved_model.pb",
        f"{model}/assets.extra/manifest.json",
        f"{model}/assets.extra/model_card.md",
    ):
        assert wanted in keys
    components = {key.split("/")[2] for key in keys if key.endswith(".manifest.json")}
    assert components >= {"contract", "ingest", "transform", "train", "evaluate"}

    # What a kill kept from the store goes there from the cache.
    lost = [key for key in keys if "/transform/" in key or "/pushed_model/" in key]
    bucket.delete(*lost)
    repeated = call(work, *run)
    assert json.loads(repeated.stdout)["summary"]["is_cached"]
    assert {*lost} <= {*bucket.keys("runs/")}

    # As on a new machine, a container for instance, that keeps its state in one place.
    shutil.rmtree(os.environ[mirror.STATE_VARIABLE])
    second = call(work, *run)
    assert second.returncode == 0, second.stderr
    again = json.loads(second.stdout)["summary"]
    assert again["is_cached"]
    assert again["pushed_version"] == version
    assert again["metrics"] == summary["metrics"]

    listed = call(work, "runs", "--root", root, "--json")
    assert [row["run"] for row in json.loads(listed.stdout)["runs"]] == [
        summary["run"],
        json.loads(repeated.stdout)["summary"]["run"],
        again["run"],
    ]
    folder = remote_roots.local(root) / "serving" / "flowers-tiny"
    newer = publishing.publish(folder / version, folder)
    assert models_config.live(folder) == newer
    shutil.rmtree(os.environ[mirror.STATE_VARIABLE])
    back = call(work, "models", "rollback", "flowers-tiny", "--root", root)
    assert back.returncode == 0, back.stderr
    assert f"version {version} is live, before it version {newer}" in back.stdout
    shutil.rmtree(os.environ[mirror.STATE_VARIABLE])
    found = json.loads(call(work, "models", "--root", root, "--json").stdout)
    assert [(row["version"], row["is_live"]) for row in found["versions"]] == [
        (int(version), True),
        (newer, False),
    ]
    (image, *_) = sorted(images.rglob("*.png"))
    predicted = call(work, "predict", str(image), "--root", root, "--json")
    assert predicted.returncode == 0, predicted.stderr
    (prediction,) = json.loads(predicted.stdout)["predictions"]
    assert prediction["label"] in ("daisy", "rose")
