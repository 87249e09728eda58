"""One set of verbs for every orchestrator."""

import json
import pathlib

import pytest
import yaml

from pipeline import order
from slimline.cli import pipeline


@pytest.mark.parametrize("engine", pipeline.ENGINES)
def test_every_engine_answers_every_verb(call, engine):
    assert pipeline.ENGINES[engine].keys() == pipeline.VERBS.keys()
    for verb in pipeline.VERBS:
        code, out, err = call("pipeline", verb, "--engine", engine, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: slimline pipeline {verb}")


REFUSED = [
    (engine, verb)
    for engine, verbs in pipeline.ENGINES.items()
    for verb, found in verbs.items()
    if isinstance(found, tuple)
]


@pytest.mark.parametrize(("engine", "verb"), REFUSED)
def test_what_makes_no_sense_is_refused_with_what_does(call, engine, verb):
    words = ("pipeline", f"--engine={engine}", verb, "digits_resnet_20", "--tiny")
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    first, tip = err.splitlines()
    assert first.startswith(f"error: pipeline {verb} does nothing with the engine")
    assert tip.startswith("  tip: ")
    assert "{" not in tip
    error = json.loads(call(*words, "--json")[1])["error"]
    assert error["exit_code"] == 2
    assert error["tip"] == tip.removeprefix("  tip: ")


def test_the_table_of_the_documentation(call, orchestrators):
    cells = orchestrators("verb")
    assert cells.keys() == {
        (verb, engine) for verb in pipeline.VERBS for engine in pipeline.ENGINES
    }
    for (verb, engine), cell in cells.items():
        kind, quoted = cell.partition(":")[0], cell.split("`")[1]
        words = ("pipeline", verb, "--engine", engine)
        if kind == "works":
            # The same description, after the line of usage.
            there = call(*quoted.split(), "--help")[1].split("\n\n")[1]
            assert call(*words, "--help")[1].split("\n\n")[1] == there
        else:
            code, _, err = call(*words)
            assert (kind, code) == ("refused", 2)
            assert quoted in err


def test_airflow_is_told_which_file_to_link(call):
    _, _, err = call("pipeline", "create", "--engine", "airflow")
    (file,) = [word for word in err.split() if word.endswith("airflow_runner.py")]
    assert pathlib.Path(file).is_file()


def test_local_is_the_default(call):
    wanted = call("runs", "--json")
    assert call("pipeline", "list", "--json") == wanted
    assert call("pipeline", "list", "--engine", "local", "--json") == wanted
    code, out, err = call("pipeline", "run", "digits_resnet_20", "--dry-run")
    assert (code, err) == (0, "")
    assert "nothing was run or written" in out
    code, _, err = call("pipeline", "status")
    assert code == 2
    assert err.startswith("error: no runs in runs")


def test_where_beam_jobs_run_is_another_choice(call):
    arguments = ("run", "digits_resnet_20", "--dry-run", "--json")
    for words in (arguments, ("pipeline", *arguments, "--engine", "local")):
        _, out, _ = call(*words, "--beam-runner", "multiprocess")
        assert json.loads(out)["engine"] == "multiprocess"
    code, _, err = call("run", "digits_resnet_20", "--engine", "multiprocess")
    assert code == 2
    assert "tip: --beam-runner says where Beam jobs run" in err
    code, _, err = call("run", "digits_resnet_20", "--engine-option", "workers=4")
    assert code == 2
    assert "tip: --beam-option says" in err


def test_unknown_engine(call):
    code, _, err = call("pipeline", "run", "--engine", "kubflow")
    assert code == 2
    assert err.startswith("error: unknown engine 'kubflow'\n")
    assert "did you mean '--engine kubeflow'?" in err
    code, _, err = call("pipeline", "run", "--engine", "flink")
    assert code == 2
    assert "tip: --beam-runner says where Beam jobs run" in err


COMPILE = (
    *("pipeline", "compile", "digits_resnet_20", "--tiny"),
    *("--image", "registry/slimline:1", "--output", "digits.yaml"),
)


def test_compile_for_vertex(call):
    code, out, err = call(
        *COMPILE,
        *("--engine", "vertex", "--data", "gs://bucket/images"),
        *("--pipeline-root", "gs://bucket/pipelines", "--json"),
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["schema_version_of_spec"] == "2.0.0"
    job = yaml.safe_load(pathlib.Path("digits.yaml").read_text())
    assert job["pipelineSpec"]["schemaVersion"] == "2.0.0"


CLUSTER = (
    *("--engine", "kubeflow", "--image", "registry/slimline:1"),
    *("--data", "/slimline/images", "--volume", "slimline:/slimline"),
)


def test_an_experiment_is_compiled_created_and_run_in_one_step(call, kubeflow_api):
    run = ("pipeline", "run", "digits_resnet_20", "--tiny", *CLUSTER)
    code, out, err = call(
        *run,
        *("--set", "train.batch_size=16", "--memory", "train=8Gi"),
        *("--host", kubeflow_api.url, "--parameter", "steps=7", "--json"),
    )
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["pipeline"] == "digits-resnet-20-digits-tiny"
    (pipeline_id,) = kubeflow_api.pipelines
    (version,) = kubeflow_api.versions[pipeline_id]
    assert version.display_name == document["pipeline_version"]
    spec, platform = version.pipeline_spec.values()
    executor = spec["deploymentSpec"]["executors"]["train_executor"]["container"]
    assert executor["image"] == "registry/slimline:1"
    assert executor["resources"]["resourceMemoryLimit"] == "8Gi"
    assert '"batch_size": 16' in json.dumps(spec).replace('\\"', '"')
    assert "pvcMount" in json.dumps(platform)
    (started,) = kubeflow_api.runs.values()
    assert started.run_id == document["id"]
    assert started.pipeline_version_reference.pipeline_version_id == (
        version.pipeline_version_id
    )
    assert started.runtime_config.parameters == {"steps": 7}
    assert not list(pathlib.Path.cwd().iterdir())

    requests = len(kubeflow_api.requests)
    code, out, err = call(*run, "--dry-run", "--name", "first")
    assert (code, err) == (0, "")
    assert (
        f"pipeline    digits-resnet-20-digits-tiny, {len(order.ALWAYS)} tasks"
        in out.splitlines()
    )
    assert out.endswith("nothing was sent\n")
    assert len(kubeflow_api.requests) == requests


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "digits_resnet_21"), "error: unknown experiment 'digits_resnet_21'"),
        (("run", "digits_resnet_20"), "error: experiment 'digits_resnet_20' needs th"),
        (("run", "none.yaml"), "error: cannot read none.yaml: No such file"),
        (
            ("run", "tiny.yaml", "--image", "x", "--tiny"),
            "error: 'tiny.yaml' is compiled already: --image, --tiny needs an EXPERIM",
        ),
        (
            ("create", "tiny.yaml", "--set", "train.epochs=1"),
            "error: 'tiny.yaml' is compiled already: --set needs an EXPERIMENT",
        ),
    ],
)
def test_file_or_experiment(call, kubeflow_api_server, words, message):
    kubeflow_api_server.write_package(pathlib.Path("tiny.yaml"))
    code, out, err = call("pipeline", *words, "--engine=kubeflow", "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith(message)


def test_an_experiment_is_created(call, kubeflow_api, monkeypatch):
    monkeypatch.setenv("SLIMLINE_IMAGE", "registry/slimline:2")
    code, out, err = call(
        *("pipeline", "create", "digits_resnet_20", "--engine=kubeflow"),
        *("--data", "/images", "--host", kubeflow_api.url),
    )
    assert code == 0
    assert (
        err.splitlines()[0] == "! no --volume mounts /images, the folder of the images"
    )
    assert out.startswith("created version '20")
    (versions,) = kubeflow_api.versions.values()
    assert "registry/slimline:2" in json.dumps(versions[0].pipeline_spec)
    assert kubeflow_api.runs == {}


def test_the_road_to_kubeflow(call, kubeflow_api):
    there = ("--engine", "kubeflow")
    code, _, err = call(
        *COMPILE,
        *("--data", "/slimline/images", "--volume", "slimline:/slimline"),
        *there,
    )
    assert (code, err) == (0, "")
    host = (*there, "--host", kubeflow_api.url)
    version = ("--pipeline-version", "one")
    code, out, err = call(
        "pipeline", "create", "digits.yaml", *version, *host, "--json"
    )
    assert (code, err) == (0, "")
    created = json.loads(out)
    assert created["pipeline_version"] == "one"
    code, out, _ = call("pipeline", "list", *host, "--json")
    assert (code, json.loads(out)["runs"]) == (0, [])
    code, out, _ = call("pipeline", "create", "digits.yaml", *host, "--dry-run")
    assert out.startswith("would create version '20")
    code, out, _ = call(
        "pipeline", "run", "digits.yaml", *host, "--name", "first", "--json"
    )
    assert code == 0
    name = json.loads(out)["pipeline"]
    code, out, _ = call("pipeline", "status", "first", *host, "--json")
    assert json.loads(out)["run"]["name"] == "first"
    code, out, _ = call("pipeline", "delete", "run", "first", *host, "--yes", "--json")
    assert (code, json.loads(out)["deleted"]["name"]) == (0, "first")
    code, out, _ = call("pipeline", "list", *host, "--json")
    assert json.loads(out)["runs"] == []
    code, out, _ = call(
        "pipeline", "delete", "pipeline", name, *host, "--yes", "--json"
    )
    assert (code, json.loads(out)["versions"]) == (0, [created["version_id"]])
