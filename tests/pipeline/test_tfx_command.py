"""The stock `tfx` command with the runner files; called in this process."""

import importlib.metadata
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys

import click.testing
import pytest
from google.auth import credentials
from google.cloud.aiplatform import initializer, pipeline_jobs

from slimline.cli import main

ROOT = pathlib.Path(__file__).parents[2]
LOCAL = ROOT / "pipeline" / "local_runner.py"
VERTEX = ROOT / "pipeline" / "vertex_runner.py"
DIGITS = "digits-resnet-20-digits-tiny"
VERTEX_VARIABLES = {
    "SLIMLINE_IMAGE": "europe-docker.pkg.dev/project/images/slimline:1",
    "SLIMLINE_PIPELINE_ROOT": "gs://bucket/pipelines",
    "SLIMLINE_DATA": "gs://bucket/digits",
    "SLIMLINE_TINY": "1",
}


@pytest.fixture
def tfx(tmp_path, monkeypatch):
    """Calls `tfx` in an empty folder; gives its result, without options of slimline set."""
    from tfx.tools.cli import cli_main

    for name in os.environ:
        if name.startswith("SLIMLINE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    programs = pathlib.Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def call(*words: str, **variables: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(
            cli_main.cli_group, words, env=variables
        )

    return call


class Started(Exception):
    """In place of the process that a runner file becomes."""


@pytest.fixture
def started(monkeypatch):
    """What `tfx run create` starts: words after `slimline`, environment, folder."""
    found = []

    def execute(program, words, environment):
        assert words[:3] == [program, "-P", "-c"]
        found.append((words[4:], environment, pathlib.Path.cwd()))
        raise Started

    def start(command, env=None):
        (runner,) = command[1:]
        with pytest.raises(Started):
            runpy.run_path(runner, run_name="__main__")
        return 0

    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr(subprocess, "call", start)
    return found


def test_settings_of_create_hold_at_run(
    tfx, started, fakes, tmp_path, monkeypatch, capsys
):
    """Not those of the default experiment, nor what the environment says later."""
    fakes.cifar10_binary(tmp_path / "images")
    created = tfx(
        *("pipeline", "create", "--engine=local", f"--pipeline_path={LOCAL}"),
        SLIMLINE_EXPERIMENT="cifar10_resnet_20",
        SLIMLINE_DATA="images",
        SLIMLINE_TINY="1",
        SLIMLINE_TRAIN__BATCH_SIZE="16",
    )
    assert created.exit_code == 0, created.output
    (name,) = re.findall('Pipeline "(.*)" created successfully', created.output)
    assert name == "cifar10-resnet-20-cifar10-tiny"

    monkeypatch.chdir("/")
    ran = tfx(
        *("run", "create", "--engine=local", f"--pipeline_name={name}"),
        SLIMLINE_EXPERIMENT="digits_resnet_20",
        SLIMLINE_ROOT="elsewhere",
        SLIMLINE_TRAIN__SEED="7",
        SLIMLINE_STATE="of this machine",
    )
    assert ran.exit_code == 0, ran.output
    ((words, environment, folder),) = started
    assert words == ["run", "cifar10_resnet_20", "--data", "images", "--tiny"]
    ours = {name: environment[name] for name in environment if "SLIMLINE_" in name}
    assert ours == {
        "SLIMLINE_DATA": "images",
        "SLIMLINE_EXPERIMENT": "cifar10_resnet_20",
        "SLIMLINE_ROOT": str(tmp_path / "runs"),
        "SLIMLINE_STATE": "of this machine",
        "SLIMLINE_TINY": "1",
        "SLIMLINE_TRAIN__BATCH_SIZE": "16",
    }
    assert folder == tmp_path

    # The command takes these words.
    for variable, value in ours.items():
        monkeypatch.setenv(variable, value)
    assert main.main([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["experiment"] == "cifar10_resnet_20"
    assert plan["root"] == str(tmp_path / "runs")
    assert "train.batch_size 4 -> 16" in plan["changes"]


def test_a_refused_create_changes_nothing_and_update_does(tfx, started):
    create = ("pipeline", "create", "--engine=local", f"--pipeline_path={LOCAL}")
    update = ("pipeline", "update", *create[2:])
    run = ("run", "create", "--engine=local", f"--pipeline_name={DIGITS}")
    tiny = {"SLIMLINE_TINY": "1"}
    missing = tfx(*update, **tiny)
    assert f'Pipeline "{DIGITS}" does not exist.' in missing.output
    assert tfx(*create, **tiny, SLIMLINE_TRAIN__SEED="1").exit_code == 0
    again = tfx(*create, **tiny, SLIMLINE_TRAIN__SEED="2")
    assert f'Pipeline "{DIGITS}" already exists.' in again.output
    tfx(*run)
    assert tfx(*update, **tiny, SLIMLINE_TRAIN__SEED="3").exit_code == 0
    tfx(*run)
    seeds = [environment["SLIMLINE_TRAIN__SEED"] for _, environment, _ in started]
    assert seeds == ["1", "3"]


def test_compile_writes_nothing(tfx, tmp_path):
    compiled = tfx(
        *("pipeline", "compile", "--engine=local", f"--pipeline_path={LOCAL}"),
        SLIMLINE_TINY="1",
    )
    assert compiled.output.endswith("Pipeline compiled successfully.\n")
    assert not list(tmp_path.rglob("*.py"))


def test_a_runner_file_starts_by_itself(tfx, started, monkeypatch, tmp_path):
    monkeypatch.setenv("SLIMLINE_TINY", "1")
    with pytest.raises(Started):
        runpy.run_path(str(LOCAL), run_name="__main__")
    ((words, environment, folder),) = started
    assert words == ["run", "digits_resnet_20", "--tiny"]
    assert (environment["SLIMLINE_TINY"], folder) == ("1", tmp_path)


@pytest.mark.parametrize(
    ("engine", "runner", "variables", "sentences"),
    [
        (
            "vertex",
            LOCAL,
            {},
            [
                "error: this runner file is for --engine=local",
                "found: --engine=vertex",
                "tip: --pipeline_path=pipeline/vertex_runner.py",
            ],
        ),
        (
            "local",
            VERTEX,
            {},
            [
                "error: this runner file is for --engine=vertex",
                "tip: --pipeline_path=pipeline/local_runner.py",
            ],
        ),
        (
            "beam",
            LOCAL,
            {},
            ["error: this runner file is for --engine=local", "tip: --engine=local"],
        ),
        ("vertex", VERTEX, {}, ["error: SLIMLINE_IMAGE is not set"]),
        (
            "vertex",
            VERTEX,
            {"SLIMLINE_IMAGE": "x", "SLIMLINE_DATA": "gs://bucket/x"},
            ["error: Vertex AI needs a pipeline root in Google Cloud Storage"],
        ),
        (
            "local",
            LOCAL,
            {"SLIMLINE_EXPERIMENT": "digits_resnet_21"},
            ["error: unknown experiment 'digits_resnet_21'", "did you mean"],
        ),
        (
            "local",
            LOCAL,
            {"SLIMLINE_ROOT": "s3://bucket/runs"},
            ["error: the stock tfx command keeps no runs in an object store", "--root"],
        ),
    ],
)
def test_mistakes_are_sentences(tfx, engine, runner, variables, sentences):
    words = ("pipeline", "compile", f"--engine={engine}", f"--pipeline_path={runner}")
    result = tfx(*words, **variables)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    for sentence in sentences:
        assert sentence in result.output


@pytest.fixture
def sent(monkeypatch):
    """Jobs that `tfx run create --engine=vertex` would send to Google."""
    found = []
    monkeypatch.setattr(
        initializer.global_config, "_credentials", credentials.AnonymousCredentials()
    )
    monkeypatch.setattr(
        pipeline_jobs.PipelineJob, "submit", lambda job: found.append(job)
    )
    from tfx.tools.cli.handler import vertex_handler

    monkeypatch.setattr(vertex_handler.VertexHandler, "_print_run", lambda *_: None)
    return found


def test_vertex(tfx, sent, tmp_path):
    words = ("--engine=vertex", f"--pipeline_path={VERTEX}")
    created = tfx(
        *("pipeline", "create", *words),
        **VERTEX_VARIABLES,
        SLIMLINE_TRAIN__BATCH_SIZE="16",
    )
    assert created.exit_code == 0, created.output
    assert f'Pipeline "{DIGITS}" created successfully.' in created.output
    assert DIGITS in tfx("pipeline", "list", "--engine=vertex").output
    there = (f"--pipeline_name={DIGITS}", "--project=p", "--region=europe-west1")
    ran = tfx(
        *("run", "create", "--engine=vertex", *there, "--runtime_parameter=steps=7")
    )
    assert ran.exit_code == 0, (ran.output, ran.exception)
    (job,) = sent
    kept = json.loads(
        (tmp_path / "home/tfx/vertex" / DIGITS / "pipeline.json").read_text()
    )
    assert kept["pipelineSpec"]["schemaVersion"] == "2.0.0"
    assert '"batch_size": 16' in json.dumps(kept).replace('\\"', '"')
    # What TFX leaves undone is done: images are looked at again in each run.
    tasks = kept["pipelineSpec"]["root"]["dag"]["tasks"]
    assert tasks["ingest"]["cachingOptions"] == {}
    config = job.to_dict()["runtimeConfig"]
    assert config["parameters"]["steps"] == {"intValue": "7"}
    assert config["gcsOutputDirectory"] == "gs://bucket/pipelines"
    assert not (tmp_path / "pipeline.json").exists()


@pytest.mark.parametrize("engine", ["kubeflow", "auto"])
def test_tfx_crashes_before_it_reads_a_runner_file(tfx, engine):
    """Where this fails, TFX has mended it: change docs/cli.md#orchestrators."""
    assert importlib.metadata.version("tfx") == "1.16.0"
    result = tfx(
        *("pipeline", "compile", f"--engine={engine}", f"--pipeline_path={LOCAL}")
    )
    assert isinstance(result.exception, ImportError)
    assert "cannot import name 'kubeflow_dag_runner'" in str(result.exception)


@pytest.mark.nightly
def test_the_table_of_the_documentation(tfx, started, orchestrators, monkeypatch):
    """Every cell of every engine, in the order of a pipeline's life."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    cells = orchestrators("`tfx`")
    name = f"--pipeline_name={DIGITS}"
    for engine in dict.fromkeys(engine for _, engine in cells):
        is_vertex = engine == "vertex"
        runner = f"--pipeline_path={VERTEX if is_vertex else LOCAL}"
        there = ("--project=p", "--region=europe-west1") if is_vertex else ()
        for verb, words in {
            "pipeline compile": (runner,),
            "pipeline create": (runner,),
            "pipeline update": (runner,),
            "pipeline list": (),
            "run create": (name, *there),
            "run list": (name,),
            "run status": (name, "--run_id=1", *there),
            "run terminate": ("--run_id=1",),
            "run delete": ("--run_id=1",),
            "pipeline schema": (name,),
            "pipeline delete": (name,),
        }.items():
            cell = cells.pop((verb, engine))
            variables = VERTEX_VARIABLES if is_vertex else {"SLIMLINE_TINY": "1"}
            result = tfx(*verb.split(), f"--engine={engine}", *words, **variables)
            said = f"{result.output}{result.exception}"
            works = result.exit_code == 0 and "Not supported" not in said
            assert works == cell.startswith("works"), (verb, engine, said)
            for sentence in re.findall("`(.*?)`", cell):
                assert sentence in said, (verb, engine)
    assert not cells
    assert len(started) == 1
