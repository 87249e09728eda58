"""The commands as a user types them, in processes of their own."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from pushed_models import versions

pytestmark = pytest.mark.e2e

PROJECT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(sys.executable).parent
# A short run of the default experiment, with a net that is built in no time.
SHORT = ("--set", "train.epochs=4", "--set", "model.net=mlp_bn")
OPEN = ("--set", "evaluation.min_top_1=0")


def environment(folder: pathlib.Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
    }


def call(
    arguments: list[str], folder: pathlib.Path, **variables: str
) -> subprocess.CompletedProcess:
    """A command that starts from nothing."""
    return subprocess.run(
        arguments,
        cwd=folder,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="session")
def warm_call(warm_forks):
    """Function (arguments, folder): as `call`, in a warm fork."""
    return lambda arguments, folder: warm_forks.run(
        arguments, folder, environment(folder)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def first_run(root: pathlib.Path) -> subprocess.CompletedProcess:
    """A short run of the default experiment whose gate is low enough."""
    return call(["slimline", "run", *SHORT, *OPEN], root)


def test_run_prints_little_and_ends_well(first_run) -> None:
    assert first_run.returncode == 0, first_run.stderr
    printed = first_run.stdout + first_run.stderr
    assert printed.count("\n") < 120
    for foreign in ("Traceback", "WARNING", "cuda", "absl", "oneDNN"):
        assert foreign not in printed
    for word in ("ingest", "train", "evaluate", "push"):
        assert word in printed
    assert "none: there was no model before this one" in first_run.stdout


def test_the_log_holds_what_was_not_printed(root: pathlib.Path, first_run) -> None:
    (folder,) = root.glob("runs/20*")
    assert (folder / "log.txt").stat().st_size > 1000
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "curves.png",
        "data_check.json",
        "history.csv",
        "log.txt",
        "report.html",
        "samples",
        "summary.json",
    }


def test_predict_classifies_the_samples(root: pathlib.Path, first_run) -> None:
    samples = sorted(str(path) for path in root.glob("runs/20*/samples/*"))
    result = call(["slimline", "predict", *samples, "--json"], root)
    assert result.stderr == ""  # nothing of what TensorFlow says while it loads
    assert result.returncode == 0, result.stderr
    predictions = json.loads(result.stdout)["predictions"]
    assert len(predictions) == len(samples) == 3
    assert all(prediction["label"] in "0123456789" for prediction in predictions)


@pytest.fixture(scope="module")
def second_run(root: pathlib.Path, first_run, warm_call) -> subprocess.CompletedProcess:
    """The same run once more."""
    return warm_call(["slimline", "run", "--json", *SHORT, *OPEN], root)


def test_second_run_is_served_from_the_cache(second_run) -> None:
    assert second_run.returncode == 0, second_run.stderr
    assert json.loads(second_run.stdout)["summary"]["is_cached"]


def test_quiet_prints_nothing(root: pathlib.Path, first_run, warm_call) -> None:
    result = warm_call(["slimline", "run", "-q", *SHORT, *OPEN], root)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_why_lineage_and_compare(root: pathlib.Path, second_run, warm_call) -> None:
    """Two runs with the same seed and data."""
    second = json.loads(second_run.stdout)["summary"]["run"]
    summaries = [
        json.loads(path.read_text()) for path in root.glob("runs/20*/summary.json")
    ]
    (summary,) = [each for each in summaries if not each["is_cached"]]
    first = summary["run"]
    result = warm_call(["slimline", "why", first], root)
    assert (result.returncode, result.stderr) == (0, "")
    assert "  ✓ top-1 0." in result.stdout
    assert "≥ 0.0000 required" in result.stdout

    version = f"digits@{summary['pushed_version']}"
    result = warm_call(["slimline", "lineage", version], root)
    assert (result.returncode, result.stderr) == (0, "")
    images = " · ".join(
        f"{count:,} {name}" for name, count in summary["images"].items()
    )
    assert f"ingest     1,797 images: {images}" in result.stdout
    assert f"data {summary['data_fingerprint']}" in result.stdout
    by_run = json.loads(
        warm_call(["slimline", "lineage", first, "--json"], root).stdout
    )
    components = [step["component"] for step in by_run["steps"]]
    assert components[0] == "contract"
    assert {"ingest", "statistics", "check", "train", "push"} <= set(components)

    result = warm_call(["slimline", "compare", first, second], root)
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        "no difference beyond noise: every image gets the same class" in result.stdout
    )


def test_lineage_of_a_version_that_is_not_there(
    root: pathlib.Path, first_run, warm_call
) -> None:
    result = warm_call(["slimline", "lineage", "digits@1"], root)
    assert result.returncode == 2
    assert result.stderr.startswith("error: model 'digits' has no version '1'\n")


def test_a_refused_model_ends_with_3_and_the_reason(
    root: pathlib.Path, first_run, warm_call
) -> None:
    result = warm_call(
        ["slimline", "run", *SHORT, "--set", "evaluation.min_top_1=1.0"], root
    )
    assert result.returncode == 3, result.stderr
    assert "gate refused the model" in result.stderr
    assert "required 1.0000" in result.stderr
    assert len(versions.numbers(root / "runs/serving/digits")) == 1


def test_a_killed_run_does_not_stand_in_the_way(
    root: pathlib.Path, first_run, warm_call, warm_forks
) -> None:
    long_run = warm_forks.start(
        [
            *("slimline", "run", "--plain", "--set", "train.epochs=2000"),
            *("--set", "model.net=mlp_bn"),
        ],
        root,
        environment(root),
        stderr=subprocess.PIPE,
    )
    try:
        for line in long_run.stderr:
            if "component_started component=train" in line:
                break
        second = warm_call(["slimline", "run"], root)
        assert second.returncode == 2
        assert (
            "another run of 'digits-resnet-20-digits' is in progress" in second.stderr
        )
    finally:
        long_run.send_signal(signal.SIGKILL)
        long_run.wait()
        long_run.stderr.close()
    after = warm_call(
        [
            *("slimline", "run", "--to", "train", "--json"),
            *("--set", "train.epochs=1", "--set", "model.net=mlp_bn"),
        ],
        root,
    )
    assert after.returncode == 0, after.stderr
    assert "train" in json.loads(after.stdout)["part"]["details"]


def write_png(path: pathlib.Path, level: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "digits_resnet_21"], 2, "unknown experiment 'digits_resnet_21'"),
        (["run", "--set", "train.epoch=3"], 2, "did you mean 'train.epochs'"),
        (["run", "cifar10_resnet_20", "--data", "nowhere"], 4, "no data at nowhere"),
        (["run", "cifar10_resnet_20", "--data", "empty"], 4, "empty"),
        (["run", "cifar10_resnet_20", "--data", "short"], 4, "data_batch_1.bin"),
        (["run", "cifar10_resnet_20", "--data", "fake.zip"], 4, "fake.zip"),
        (["data", "init", "one"], 4, "class"),
        (["run", "--set", "model.net=inception_v2"], 2, "too small"),
        (["run", "--set", "model.net=resnet_21"], 2, "resnet_20"),
        (["predict", "x.png", "--root", "empty"], 4, "cannot read image x.png"),
        (["predict", "one/only/1.png", "--root", "empty"], 2, "no model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_sentences(
    warm_call, tmp_path: pathlib.Path, arguments: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "data_batch_1.bin").write_bytes(bytes(3073 * 3 - 5))
    (tmp_path / "short" / "test_batch.bin").write_bytes(bytes(3073 * 3))
    (tmp_path / "fake.zip").write_text("not an archive")
    for number in range(8):
        write_png(tmp_path / "one" / "only" / f"{number}.png", number)
    result = warm_call(["slimline", *arguments], tmp_path)
    assert result.returncode == code, result.stdout + result.stderr
    assert "error: " in result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


STOCK_NAME = "mnist-mlp-bn-mnist-tiny"


def create(
    start: Callable[[list[str], dict[str, str]], subprocess.CompletedProcess],
    fakes,
    folder: pathlib.Path,
) -> None:
    """Creates a pipeline by the stock command that `start` starts.

    It is not that of the default experiment, and only `create` hears of it.
    """
    fakes.idx(folder / "mnist", 60, height_px=28, width_px=28)
    runner = PROJECT / "pipeline" / "local_runner.py"
    result = start(
        ["pipeline", "create", "--engine=local", f"--pipeline_path={runner}"],
        {
            "SLIMLINE_EXPERIMENT": "mnist_mlp_bn",
            "SLIMLINE_DATA": "mnist",
            "SLIMLINE_TINY": "1",
        },
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f'"{STOCK_NAME}" created successfully' in result.stdout


def test_the_stock_tfx_command_creates_the_pipeline(
    warm_forks, new_fakes, tmp_path
) -> None:
    """Its module in a warm fork; at night it is the command, which also runs."""
    create(
        lambda arguments, variables: warm_forks.run(
            ["python", "-m", "tfx.tools.cli.cli_main", *arguments],
            tmp_path,
            environment(tmp_path) | variables,
        ),
        new_fakes(1),
        tmp_path,
    )
    (file,) = tmp_path.rglob("pipeline_args.json")
    arguments = json.loads(file.read_text())
    assert arguments["pipeline_name"] == STOCK_NAME
    assert arguments["pipeline_root"] == str(tmp_path / "runs" / STOCK_NAME)
    (runner,) = (tmp_path / "runs" / "runners").iterdir()
    assert arguments["pipeline_dsl_path"] == str(runner)


@pytest.mark.nightly
def test_the_stock_tfx_command_runs_what_it_created(new_fakes, tmp_path) -> None:
    def tfx(arguments, variables):
        return call(["tfx", *arguments], tmp_path, **variables)

    create(tfx, new_fakes(1), tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = call(
        ["tfx", "run", "create", "--engine=local", f"--pipeline_name={STOCK_NAME}"],
        elsewhere,
        HOME=str(tmp_path),
        SLIMLINE_ROOT="nowhere",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list((tmp_path / "runs/serving/mnist-tiny").glob("*/saved_model.pb"))
    assert not (tmp_path / "elsewhere" / "nowhere").exists()
    # A run as any other: listed, with a report.
    (folder,) = (tmp_path / "runs").glob("20*")
    assert (folder / "report.html").is_file()
