"""`slimline kubeflow`: what it says, and what reaches the server."""

import io
import json
import pathlib
import sys

import kfp_server_api
import pytest
import yaml

from pipeline import order
from pipeline.kubeflow import slots
from slimline import errors

NIGHTLY = ("--cron", "0 0 3 * * *", "--name", "nightly")


@pytest.fixture
def tiny(call, kubeflow_api_server):
    """File of a small pipeline in the working folder."""
    return kubeflow_api_server.write_package(pathlib.Path("tiny.yaml"))


@pytest.fixture
def ask(call, kubeflow_api, tiny):
    """Calls a command of the group with --host."""

    def run(*arguments):
        return call("kubeflow", *arguments, "--host", kubeflow_api.url)

    return run


def test_submit(ask, kubeflow_api):
    code, out, err = ask(
        "submit", "tiny.yaml", "--name", "first", "--parameter", "steps=100"
    )
    assert (code, err) == (0, "")
    (run,) = kubeflow_api.runs.values()
    assert out.splitlines() == [
        "run   first",
        f"id    {run.run_id}",
        f"page  {kubeflow_api.url}/#/runs/details/{run.run_id}",
        "next  slimline kubeflow status first",
    ]
    assert run.runtime_config.parameters == {"steps": 100}
    (experiment,) = kubeflow_api.experiments.values()
    assert experiment.display_name == "Default"
    code, out, err = ask("submit", "tiny.yaml", "--name", "first")
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert err.startswith(f"error: there is a run 'first' at {kubeflow_api.url}\n")


def test_submit_gives_names_of_its_own(ask, kubeflow_api):
    code, out, err = ask("submit", "tiny.yaml", "--json", "--disable-caching")
    assert (code, err) == (0, "")
    document = json.loads(out)
    (run,) = kubeflow_api.runs.values()
    assert run.display_name.startswith("tiny-20")
    assert (document["name"], document["id"]) == (run.display_name, run.run_id)
    assert document["defaults"] == {"data": "/images", "steps": 0.0, "rate": 0.5}
    tasks = run.pipeline_spec["pipeline_spec"]["root"]["dag"]["tasks"]
    assert not any(task["cachingOptions"] for task in tasks.values())
    assert ask("submit", "tiny.yaml", "-q") == (0, "", "")


def test_dry_runs_ask_no_server(call, tiny, kubeflow_api):
    code, out, err = call(
        *("kubeflow", "submit", "tiny.yaml", "--dry-run", "--name", "first"),
        *("--parameter", "steps=100", "--pipeline-version", "one"),
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "server      not set: --host URL",
        "name        first",
        "experiment  Default",
        "pipeline    tiny, 2 tasks",
        "version     one",
        "image       registry/slimline:1",
        "parameter   data=/images   (default)",
        "parameter   rate=0.5   (default)",
        "parameter   steps=100",
        "",
        "nothing was sent",
    ]
    code, out, err = call(
        *("kubeflow", "schedule", "tiny.yaml", "--dry-run", "--json"),
        *("--cron", "0 3 * * *", "--host", kubeflow_api.url),
    )
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["dry_run"], document["cron"]) == (True, "0 0 3 * * *")
    assert kubeflow_api.requests == []


def test_schedule_and_replace(ask, kubeflow_api):
    code, out, err = ask("schedule", "tiny.yaml", *NIGHTLY)
    assert (code, err) == (0, "")
    (old,) = kubeflow_api.schedules.values()
    assert out.splitlines() == [
        "schedule  nightly",
        f"id        {old.recurring_run_id}",
        "cron      0 0 3 * * *   (one run at a time; missed runs are skipped)",
        "slots     not claimed: the pipeline has no parameter 'slot'",
    ]
    assert old.runtime_config.parameters == {}
    code, out, err = ask("schedule", "tiny.yaml", *NIGHTLY)
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert err.splitlines() == [
        f"error: there is a schedule 'nightly' at {kubeflow_api.url}",
        f"  found: {old.recurring_run_id}",
        "  tip: --replace puts the new one in its place, --name gives another",
    ]
    again = ("schedule", "tiny.yaml", "--cron", "30 4 * * *", "--name", "nightly")
    code, out, err = ask(*again, "--replace")
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert "error: this would replace schedule 'nightly' (" in err
    assert err.endswith("  tip: --yes does it unasked\n")
    assert [*kubeflow_api.schedules.values()] == [old]

    code, out, err = ask(*again, "--replace", "--yes")
    assert (code, err) == (0, "five fields, as in crontab: sent as '0 30 4 * * *'\n")
    assert out.splitlines()[-1] == f"replaced  {old.recurring_run_id}"
    (new,) = kubeflow_api.schedules.values()
    assert new.trigger.cron_schedule.cron == "0 30 4 * * *"
    assert (new.no_catchup, new.max_concurrency) == (True, "1")


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("n\n", errors.INTERRUPTED, 1)]
)
def test_delete_asks_on_a_terminal(ask, kubeflow_api, terminal, answer, code, left):
    ask("schedule", "tiny.yaml", *NIGHTLY, "-q")
    (schedule,) = kubeflow_api.schedules.values()
    terminal(answer)
    found, out, err = ask("delete", "schedule", "nightly")
    assert found == code
    what = f"schedule 'nightly' ({schedule.recurring_run_id})"
    assert err.startswith(f"delete {what}? [y/N]: ")
    assert len(kubeflow_api.schedules) == left
    if left:
        assert (out, err) == ("", f"delete {what}? [y/N]: nothing was deleted\n")
    else:
        assert out == f"deleted {what}\n"


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard input a terminal at which `answer` is typed."""

    def type_in(answer):
        stream = io.StringIO(answer)
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", stream)

    return type_in


def test_delete(ask, kubeflow_api):
    ask("submit", "tiny.yaml", "--name", "first", "--pipeline-version", "one", "-q")
    code, out, err = ask("delete", "pipeline", "tiny")
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert err.startswith("error: this would delete pipeline 'tiny'")
    (pipeline,) = kubeflow_api.pipelines
    code, out, err = ask("delete", "pipeline", "tiny", "--dry-run")
    what = f"pipeline 'tiny' ({pipeline}) with 1 version"
    assert (code, out, err) == (0, f"would delete {what}\n", "")
    assert kubeflow_api.sent("DELETE") == []
    assert ask("delete", "pipeline", "tiny", "--yes", "-q") == (0, "", "")
    assert kubeflow_api.pipelines == {}

    code, out, err = ask("delete", "run", "first", "--yes", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["dry_run"], document["deleted"]["name"]) == (False, "first")
    code, out, err = ask("delete", "run", "first", "--yes")
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert err == f"error: no run 'first' at {kubeflow_api.url}\n  found: none\n"


def test_status(ask, kubeflow_api, kubeflow_api_server):
    code, out, err = ask("status")
    assert (code, err) == (0, "")
    assert out == f"no runs and no schedules at {kubeflow_api.url}\n"
    ask("submit", "tiny.yaml", "--name", "first", "-q")
    ask("submit", "tiny.yaml", "--name", "second", "-q")
    ask("schedule", "tiny.yaml", *NIGHTLY, "-q")
    first, second = kubeflow_api.runs.values()
    minutes = kubeflow_api_server.datetime.timedelta(minutes=1)
    for run, state in ((first, "SUCCEEDED"), (second, "FAILED")):
        run.state, run.finished_at = state, run.created_at + 21 * minutes
    code, out, err = ask("status")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "run     state      started (UTC)      time",
        "second  failed     2026-11-26 03:03  21:00",
        "first   succeeded  2026-11-26 03:02  21:00",
        "",
        "schedule  state    made (UTC)        cron",
        "nightly   enabled  2026-11-26 03:04  0 0 3 * * *",
    ]
    document = json.loads(ask("status", "--limit", "1", "--json")[1])
    (run,) = document["runs"]
    assert (run["name"], run["created"]) == ("second", "2026-11-26T03:03:00+00:00")


def test_status_of_a_run(ask, kubeflow_api):
    ask("submit", "tiny.yaml", "--name", "first", "-q")
    (run,) = kubeflow_api.runs.values()
    run.state, run.finished_at = "FAILED", run.created_at.replace(minute=5)
    run.run_details = kfp_server_api.V2beta1RunDetails(
        task_details=[
            kfp_server_api.V2beta1PipelineTaskDetail(
                display_name="ingest",
                state="FAILED",
                start_time=run.created_at,
                end_time=run.created_at.replace(minute=3),
                error=kfp_server_api.GooglerpcStatus(message="exit code 4"),
            )
        ]
    )
    code, out, err = ask("status", "first")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "run    first",
        f"id     {run.run_id}",
        "state  failed, 2026-11-26 03:02 UTC, 3:00",
        f"page   {kubeflow_api.url}/#/runs/details/{run.run_id}",
        "",
        "task    state    started (UTC)     time",
        "ingest  failed   2026-11-26 03:02  1:00",
        "train   waiting",
        "",
        "ingest: exit code 4",
    ]
    document = json.loads(ask("status", run.run_id, "--json")[1])
    assert [task["state"] for task in document["tasks"]] == ["FAILED", ""]


def test_who_asks_comes_from_files_and_variables(
    call, tiny, kubeflow_api, monkeypatch, tmp_path
):
    kubeflow_api.token = "secret"
    monkeypatch.setenv("KFP_HOST", kubeflow_api.url)
    code, out, err = call("kubeflow", "status")
    assert (code, out) == (errors.USAGE_WRONG, "")
    assert err.startswith(f"error: {kubeflow_api.url} requires a login (401)\n")
    (tmp_path / "token").write_text("secret\n")
    assert call("kubeflow", "status", "--token-file", "token", "-q") == (0, "", "")
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_TOKEN", "secret")
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_COOKIE", "session=1")
    kubeflow_api.is_shared = True
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_NAMESPACE", "team")
    assert call("kubeflow", "status", "-q") == (0, "", "")
    request = kubeflow_api.requests[-1]
    assert request.headers["cookie"] == "session=1"
    assert request.query["namespace"] == "team"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status"], "error: no Kubeflow Pipelines server is named"),
        (["submit", "none.yaml"], "error: cannot read none.yaml: No such file"),
        (
            ["submit", "tiny.yaml", "--parameter", "step=1"],
            "error: pipeline 'tiny' has",
        ),
        (["schedule", "tiny.yaml", "--cron", "0 0 3"], "error: a schedule has six"),
        (["status", "--host", "http://127.0.0.1:9"], "error: nothing answers at http"),
        (["delete", "model", "x"], "error: invalid value for"),
        (
            ["compile", "folder", "--image", "x", "--output", "x.yaml"],
            "error: experiment 'folder' needs the path of its images on the cluster",
        ),
        (
            [
                "compile",
                "folder",
                "--image",
                "x",
                "--output",
                "x",
                "--pipeline-root=/x",
            ],
            "error: invalid value for '--pipeline-root' (env var: 'SLIMLINE_PIPELINE_RO",
        ),
        (
            ["compile", "folder", "--image", "x", "--output", "x", "--volume", "a"],
            "error: --volume takes the name of a persistent volume claim and a mount",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_sentences(call, tiny, kubeflow_api, arguments, message):
    code, out, err = call("kubeflow", *arguments)
    assert (code, out) == (
        errors.RUN_FAILED if "answers" in message else errors.USAGE_WRONG,
        "",
    )
    assert err.startswith(message)
    assert "Warning" not in err and "Traceback" not in err


def check_containers(spec, platform):
    """Every component of the compiled file has what the command asked for."""
    executors = spec["deploymentSpec"]["executors"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods.keys() == executors.keys()
    for label, executor in executors.items():
        resources = executor["container"]["resources"]
        is_train = label == "train_executor"
        assert resources["resourceMemoryLimit"] == ("8Gi" if is_train else "2Gi")
        assert resources["resourceCpuLimit"] == "1"
        pod = pods[label]
        assert ("nodeSelector" in pod) == is_train
        assert [each["key"] for each in pod["tolerations"]] == ["gpu"]
        assert [each["secretName"] for each in pod["imagePullSecret"]] == ["regcred"]
        assert [each["constant"] for each in pod["pvcMount"]] == ["slimline"]
    tasks = spec["root"]["dag"]["tasks"].values()
    assert {task["retryPolicy"]["maxRetryCount"] for task in tasks} == {2}


def test_compile_and_submit(ask, call, kubeflow_api):
    """A real pipeline arrives on the server as it was compiled."""
    code, out, err = call(
        *("kubeflow", "compile", "digits_resnet_20", "--tiny"),
        *("--image", "registry/slimline:1", "--output", "digits.yaml"),
        *("--data", "/slimline/images", "--volume", "slimline:/slimline"),
        *("--memory", "train=8Gi", "--set", "train.batch_size=16"),
        *("--memory", "all=2Gi", "--cpu", "all=1", "--retries", "2"),
        *("--node-selector", "train:pool=gpu", "--toleration", "gpu:NoSchedule"),
        *("--pull-secret", "regcred"),
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:5] == [
        "wrote      digits.yaml   (schema 2.1.0)",
        f"pipeline   digits-resnet-20-digits-tiny, {len(order.ALWAYS)} tasks",
        "image      registry/slimline:1",
        "artifacts  where the server keeps them",
        "volume     slimline at /slimline",
    ]
    assert "parameter  serving_folder=/slimline/serving/digits-tiny" in lines
    assert any(line.startswith("changed    train.batch_size ") for line in lines)
    # The cache of a cluster of unlike nodes must not meet 'auto'.
    assert "changed    train.precision auto -> float32" in lines
    # Long lines are folded.
    text = " ".join(pathlib.Path("digits.yaml").read_text().split())
    assert '"precision": "float32"' in text
    assert lines[-1] == "next       slimline kubeflow submit digits.yaml"

    spec, platform = yaml.safe_load_all(pathlib.Path("digits.yaml").read_text())
    check_containers(spec, platform)
    assert ask("submit", "digits.yaml", "--parameter", "steps=7", "-q") == (0, "", "")
    (run,) = kubeflow_api.runs.values()
    assert run.pipeline_spec == {"pipeline_spec": spec, "platform_spec": platform}
    assert run.runtime_config.parameters == {"steps": 7}
    code, out, err = ask("schedule", "digits.yaml", *NIGHTLY)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "slots     claimed in /slimline/serving/schedule.sqlite"
        "   (where the server fills in the time)"
    )
    (schedule,) = kubeflow_api.schedules.values()
    # As the server fills it in, when the time has come.
    assert schedule.runtime_config.parameters == {"slot": "[[ScheduledTime]] nightly"}

    bare = [
        *(
            "kubeflow",
            "compile",
            "digits_resnet_20",
            "--image",
            "x",
            "--output",
            "bare",
        ),
        *("--data", "/images", "--serving-folder", "gs://b"),
    ]
    code, _, err = call(*bare)
    assert code == 0
    assert err == "! no --volume mounts /images, the folder of the images\n"
    assert call(*bare, "-q") == (0, "", "")
    code, out, err = call(*bare, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["warnings"] == [
        "no --volume mounts /images, the folder of the images"
    ]
    assert document["parameters"]["serving_folder"] == "gs://b/digits"
    assert document["parameters"]["steps"] == 0
    planned = ("schedule", "bare", "--cron", "@daily", "--dry-run")
    code, out, err = ask(*planned)
    assert (code, err) == (0, "")
    reason = "no volume holds gs://b, so no ledger can lie there"
    assert f"slots       not claimed: {reason}" in out.splitlines()
    document = json.loads(ask(*planned, "--json")[1])
    assert document["parameters"] == {}
    assert document["slots"] == {"ledger": None, "unclaimed": reason}


def test_slots_are_shown_in_the_history(call, tmp_path):
    slot = slots.Slot(
        "nightly", "2026-11-26T03:00:00+00:00", "6f3a", tmp_path / "schedule.sqlite"
    )
    slots.claim(slot)
    code, out, err = call("schedule", "history", "--root", str(tmp_path))
    assert (code, err) == (0, "")
    (line,) = out.splitlines()[1:]
    assert line.split()[:4] == [
        "2026-11-26T03:00:00Z",
        "kubeflow/nightly",
        "running",
        "6f3a",
    ]
    assert line.endswith("no push yet; stays so if the run ends before its push")
