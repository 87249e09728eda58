"""Runs and schedules on a server: what is asked over the socket, and what is said of errors."""

import datetime
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import kfp_server_api
import pytest

from common.errors import ConfigError, ServerError
from pipeline.kubeflow import client, connection
from pipeline.kubeflow.client import PIPELINE, RUN, SCHEDULE, Job, Server
from pipeline.kubeflow.connection import Connection


@pytest.fixture
def server(kubeflow_api) -> Server:
    return Server(Connection(host=kubeflow_api.url))


@pytest.fixture
def package(kubeflow_api_server, tmp_path):
    return kubeflow_api_server.write_package(tmp_path / "tiny.yaml")


@pytest.fixture
def whole(kubeflow_api_server) -> dict:
    """The pipeline as a request holds it."""
    return {
        "pipeline_spec": kubeflow_api_server.SPEC,
        "platform_spec": kubeflow_api_server.PLATFORM,
    }


def job(name: str = "first", **changes: Any) -> Job:
    values: dict[str, Any] = {
        "name": name,
        "experiment": "nightly",
        "pipeline": "tiny",
        "parameters": {"steps": 100, "rate": 0.25, "data": "/new"},
    }
    return Job(**values | changes)


def test_a_run_is_sent_whole(server, kubeflow_api, package, whole) -> None:
    run_id = server.submit(job(), package)
    assert kubeflow_api.sent("POST") == ["experiments", "runs"]
    body = kubeflow_api.requests[-1].body
    (experiment,) = kubeflow_api.experiments.values()
    assert experiment.display_name == "nightly"
    assert body == {
        "experiment_id": experiment.experiment_id,
        "display_name": "first",
        "pipeline_spec": whole,
        "runtime_config": {"parameters": {"steps": 100, "rate": 0.25, "data": "/new"}},
    }
    assert type(body["runtime_config"]["parameters"]["steps"]) is int
    assert kubeflow_api.runs[run_id].display_name == "first"
    assert server.run_page(run_id) == f"{kubeflow_api.url}/#/runs/details/{run_id}"


def test_an_experiment_is_made_once(server, kubeflow_api, package) -> None:
    server.submit(job(), package)
    server.submit(job("second"), package)
    assert kubeflow_api.sent("POST") == ["experiments", "runs", "runs"]


def test_a_schedule_runs_alone_and_makes_up_for_nothing(
    server, kubeflow_api, package, whole
) -> None:
    schedule_id = server.schedule(job("nightly"), package, "0 0 3 * * *")
    body = kubeflow_api.requests[-1].body
    (experiment,) = kubeflow_api.experiments.values()
    assert kubeflow_api.requests[-1].path == "recurringruns"
    assert body == {
        "experiment_id": experiment.experiment_id,
        "display_name": "nightly",
        "mode": "ENABLE",
        "trigger": {"cron_schedule": {"cron": "0 0 3 * * *"}},
        "max_concurrency": 1,
        "no_catchup": True,
        "pipeline_spec": whole,
        "runtime_config": {"parameters": {"steps": 100, "rate": 0.25, "data": "/new"}},
    }
    (entry,) = server.entries(SCHEDULE)
    assert entry == client.Entry(
        kind=SCHEDULE,
        id=schedule_id,
        name="nightly",
        state="ENABLED",
        created=datetime.datetime(2026, 11, 26, 3, 2, tzinfo=datetime.UTC),
        cron="0 0 3 * * *",
    )


def test_the_old_schedule_goes_when_the_new_one_is_there(
    server, kubeflow_api, package
) -> None:
    server.schedule(job("nightly"), package, "0 0 3 * * *")
    old = server.named(SCHEDULE, "nightly")
    kubeflow_api.fail("POST", "recurringruns", 500, "database is locked")
    with pytest.raises(ServerError, match="failed"):
        server.schedule(job("nightly"), package, "0 0 4 * * *", old)
    assert server.named(SCHEDULE, "nightly") == old

    kubeflow_api.failures.clear()
    new = server.schedule(job("nightly"), package, "0 0 4 * * *", old)
    (entry,) = server.named(SCHEDULE, "nightly")
    assert (entry.id, entry.cron) == (new, "0 0 4 * * *")
    order = [
        (found.method, found.path.partition("/")[0]) for found in kubeflow_api.requests
    ]
    assert order.index(("DELETE", "recurringruns")) > max(
        place for place, found in enumerate(order) if found[0] == "POST"
    )


def test_an_old_schedule_that_stays(server, kubeflow_api, package) -> None:
    server.schedule(job("nightly"), package, "0 0 3 * * *")
    (old,) = server.named(SCHEDULE, "nightly")
    kubeflow_api.fail("DELETE", f"recurringruns/{old.id}", 403, "not yours")
    with pytest.raises(ConfigError) as caught:
        server.schedule(job("nightly"), package, "0 0 4 * * *", [old])
    assert caught.value.message.startswith(
        "the new schedule is there, and the old one still is: "
    )
    assert caught.value.found == "not yours"
    assert caught.value.tip == f"slimline kubeflow delete schedule {old.id}"
    assert len(kubeflow_api.schedules) == 2


def test_a_version_is_kept_and_referred_to(
    server, kubeflow_api, package, whole
) -> None:
    run_id = server.submit(job(version="one"), package)
    (pipeline,) = kubeflow_api.pipelines.values()
    (version,) = kubeflow_api.versions[pipeline.pipeline_id]
    assert (pipeline.display_name, version.display_name) == ("tiny", "one")
    assert version.pipeline_spec == whole
    run = kubeflow_api.runs[run_id]
    assert run.pipeline_spec is None
    assert run.pipeline_version_reference.to_dict() == {
        "pipeline_id": pipeline.pipeline_id,
        "pipeline_version_id": version.pipeline_version_id,
    }

    server.schedule(job("nightly", version="two"), package, "0 0 3 * * *")
    assert [found.display_name for found in kubeflow_api.versions.popitem()[1]] == [
        "one",
        "two",
    ]
    assert len(kubeflow_api.pipelines) == 1


def test_the_name_of_a_version_is_taken(server, kubeflow_api, package) -> None:
    server.submit(job(version="one"), package)
    with pytest.raises(ConfigError) as caught:
        server.submit(job("second", version="one"), package)
    assert caught.value.message == (
        "the name is taken (409): version 'one' of pipeline 'tiny'"
    )
    assert caught.value.found == "The name one already exist."
    assert len(kubeflow_api.runs) == 1


@pytest.mark.parametrize(
    ("kind", "tip"),
    [
        (RUN, "--name gives another"),
        (SCHEDULE, "--replace puts the new one in its place, --name gives another"),
    ],
)
def test_names_that_the_server_would_give_twice(
    server, kubeflow_api, package, kind, tip
) -> None:
    server.check_free(kind, "first")
    run_id = server.submit(job(), package)
    schedule_id = server.schedule(job(), package, "0 0 3 * * *")
    with pytest.raises(ConfigError) as caught:
        server.check_free(kind, "first")
    assert caught.value.message == f"there is a {kind} 'first' at {kubeflow_api.url}"
    assert caught.value.found == {RUN: run_id, SCHEDULE: schedule_id}[kind]
    assert caught.value.tip == tip


def test_lists_are_read_to_their_end(
    server, kubeflow_api, package, monkeypatch
) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 3)
    for number in range(8):
        server.submit(job(f"run-{number}"), package)
    archived = list(kubeflow_api.runs)[-2]
    kubeflow_api.runs[archived].storage_state = "ARCHIVED"
    kubeflow_api.requests.clear()
    found = [entry.name for entry in server.entries(RUN)]
    assert found == ["run-7", "run-5", "run-4", "run-3", "run-2", "run-1", "run-0"]
    assert len(kubeflow_api.requests) == 3
    kubeflow_api.requests.clear()
    assert len(server.entries(RUN, limit=2)) == 2
    assert len(kubeflow_api.requests) == 1


def test_what_is_in_one_experiment(server, package) -> None:
    server.submit(job("a", experiment="one"), package)
    server.submit(job("b", experiment="two"), package)
    assert [entry.name for entry in server.entries(RUN, experiment="two")] == ["b"]
    with pytest.raises(ConfigError, match="no experiment 'three' at"):
        server.entries(RUN, experiment="three")


def test_a_run_is_found_by_name_or_id(server, kubeflow_api, package) -> None:
    run_id = server.submit(job(), package)
    kubeflow_api.runs[run_id].state = "FAILED"
    kubeflow_api.runs[run_id].error = kfp_server_api.GooglerpcStatus(message="why")
    kubeflow_api.runs[run_id].finished_at = datetime.datetime(
        2026, 11, 26, 4, tzinfo=datetime.UTC
    )
    found = server.find(RUN, "first")
    assert found == server.find(RUN, run_id)
    assert (found.id, found.state, found.error) == (run_id, "FAILED", "why")
    assert found.finished == kubeflow_api.runs[run_id].finished_at
    with pytest.raises(ConfigError) as caught:
        server.find(RUN, "frst")
    assert caught.value.message == f"no run 'frst' at {kubeflow_api.url}"
    assert (caught.value.found, caught.value.tip) == ("first", "did you mean 'first'?")
    nobody = "00000000-0000-0000-0000-00000000ffff"
    with pytest.raises(ConfigError, match=f"no run '{nobody}' at .* \\(404\\)"):
        server.find(RUN, nobody)


def test_names_of_several(server, package) -> None:
    ids = [server.submit(job(), package) for _ in range(2)]
    with pytest.raises(ConfigError) as caught:
        server.find(RUN, "first")
    assert caught.value.message == "2 runs are called 'first'"
    assert caught.value.found == f"{ids[1]}, {ids[0]}"


def test_what_goes_on_has_no_end(server, kubeflow_api, package) -> None:
    run_id = server.submit(job(), package)
    kubeflow_api.runs[run_id].finished_at = datetime.datetime.fromtimestamp(
        0, datetime.UTC
    )
    assert server.find(RUN, run_id).finished is None


def detail(name: str, state: str, minute: int, end: int | None = None, **more: Any):
    def time(value: int) -> datetime.datetime:
        return datetime.datetime(2026, 11, 26, 3, value, tzinfo=datetime.UTC)

    return kfp_server_api.V2beta1PipelineTaskDetail(
        display_name=name,
        state=state,
        start_time=time(minute),
        end_time=datetime.datetime.fromtimestamp(0, datetime.UTC)
        if end is None
        else time(end),
        **more,
    )


@pytest.mark.parametrize("version", ["", "one"])
def test_tasks_in_the_order_of_their_start(
    server, kubeflow_api, package, version
) -> None:
    run_id = server.submit(job(version=version), package)
    kubeflow_api.runs[run_id].run_details = kfp_server_api.V2beta1RunDetails(
        task_details=[
            detail("tiny-x7k2p", "RUNNING", 0),
            detail("root-driver", "SUCCEEDED", 0, 1),
            detail("root", "RUNNING", 1),
            detail("train-driver", "SUCCEEDED", 1, 1),
            detail("train", "RUNNING", 3),
            detail("ingest-driver", "SUCCEEDED", 1, 1),
            detail("ingest", "SUCCEEDED", 2, 3),
            detail("executor", "SUCCEEDED", 2, 3),
        ]
    )
    ingest, train = server.tasks(server.find(RUN, run_id))
    assert (ingest.name, ingest.state) == ("ingest", "SUCCEEDED")
    assert (ingest.finished - ingest.started).total_seconds() == 60
    assert (train.name, train.state, train.finished) == ("train", "RUNNING", None)


def test_tasks_that_wait_and_tasks_that_never_came_to_be(
    server, kubeflow_api, package
) -> None:
    run_id = server.submit(job(), package)
    run = server.find(RUN, run_id)
    waiting = [(task.name, task.state) for task in server.tasks(run)]
    assert waiting == [("ingest", ""), ("train", "")]
    why = kfp_server_api.GooglerpcStatus(message="no such volume")
    kubeflow_api.runs[run_id].run_details = kfp_server_api.V2beta1RunDetails(
        task_details=[detail("ingest-driver", "FAILED", 1, 2, error=why)]
    )
    ingest, train = server.tasks(run)
    assert (ingest.state, ingest.error) == ("FAILED", "no such volume")
    assert train == client.Task("train", "")


def test_tasks_of_a_run_whose_pipeline_is_not_told(
    server, kubeflow_api, package
) -> None:
    run_id = server.submit(job(), package)
    kubeflow_api.runs[run_id].pipeline_spec = None
    kubeflow_api.runs[run_id].run_details = kfp_server_api.V2beta1RunDetails(
        task_details=[
            detail("root-driver", "SUCCEEDED", 0, 1),
            detail("ingest-driver", "SUCCEEDED", 1, 1),
            detail("ingest", "RUNNING", 2),
        ]
    )
    (task,) = server.tasks(server.find(RUN, run_id))
    assert (task.name, task.state) == ("ingest", "RUNNING")


def test_delete(server, kubeflow_api, package) -> None:
    server.submit(job(version="one"), package)
    server.submit(job("second", version="two"), package)
    server.schedule(job("nightly"), package, "0 0 3 * * *")
    server.delete(server.find(RUN, "first"))
    assert [run.display_name for run in kubeflow_api.runs.values()] == ["second"]
    server.delete(server.find(SCHEDULE, "nightly"))
    assert kubeflow_api.schedules == {}
    pipeline = server.find(PIPELINE, "tiny")
    assert len(server.versions(pipeline)) == 2
    server.delete(pipeline)
    assert kubeflow_api.pipelines == {}


# Whose server it is, and who asks.


def test_a_server_of_ones_own_is_asked_without_namespace(kubeflow_api, package) -> None:
    server = Server(Connection(host=kubeflow_api.url, namespace="kubeflow"))
    server.submit(job(), package)
    server.entries(SCHEDULE)
    assert not any(found.query.get("namespace") for found in kubeflow_api.requests)
    bodies = [found.body for found in kubeflow_api.requests if found.body]
    assert len(bodies) == 2
    assert not any(body.get("namespace") for body in bodies)


def test_a_shared_server_needs_a_namespace(kubeflow_api, package) -> None:
    kubeflow_api.is_shared = True
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=kubeflow_api.url))
    assert "is shared: name your namespace" in caught.value.message
    assert caught.value.tip.startswith("--namespace NAME")
    server = Server(Connection(host=kubeflow_api.url, namespace="team"))
    server.submit(job(version="one"), package)
    server.entries(RUN)
    server.entries(SCHEDULE)
    (experiment,) = kubeflow_api.experiments.values()
    (pipeline,) = kubeflow_api.pipelines.values()
    assert (experiment.namespace, pipeline.namespace) == ("team", "team")
    lists = [
        found
        for found in kubeflow_api.requests
        if found.method == "GET"
        and found.path in ("runs", "recurringruns", "pipelines")
    ]
    assert {found.query["namespace"] for found in lists} == {"team"}


def test_token_and_cookie(kubeflow_api) -> None:
    kubeflow_api.token = "secret"
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=kubeflow_api.url))
    assert caught.value.message == f"{kubeflow_api.url} requires a login (401)"
    assert caught.value.found.startswith("Request header error")
    server = Server(
        Connection(host=f"{kubeflow_api.url}/", token="secret", cookie="session=1")
    )
    assert server.entries(RUN) == []
    assert kubeflow_api.requests[-1].headers["cookie"] == "session=1"


# What goes wrong.


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, ConfigError, "{url} requires a login (401)"),
        (403, ConfigError, "{url} denies it (403): run 'first'"),
        (404, ConfigError, "no run 'first' at {url} (404)"),
        (409, ConfigError, "the name is taken (409): run 'first'"),
        (400, ConfigError, "{url} refuses the request (400): run 'first'"),
        (500, ServerError, "{url} failed (500): run 'first'"),
        (503, ServerError, "{url} failed (503): run 'first'"),
    ],
)
def test_answers_that_are_errors(
    server, kubeflow_api, package, status, kind, message, capfd
) -> None:
    kubeflow_api.fail("POST", "runs", status, "It is so.\nstack\nstack")
    with pytest.raises(kind) as caught:
        server.submit(job(), package)
    assert type(caught.value) is kind
    assert caught.value.message == message.format(url=kubeflow_api.url)
    assert caught.value.found == "It is so."
    assert kubeflow_api.sent("POST").count("runs") == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b"nothing here", ConfigError, "the API of Kubeflow Pipelines is not at"),
        (403, b"\xff", ServerError, "sent an answer that cannot be read"),
        (200, b"<html>log in</html>", ServerError, "a web page answers in place of"),
        (502, b"[]", ServerError, r"failed \(502\)"),
    ],
)
def test_hosts_that_are_something_else(
    kubeflow_api, status, body, kind, message, capfd
) -> None:
    kubeflow_api.say("GET", "healthz", status, body, "text/html")
    with pytest.raises(kind, match=message):
        Server(Connection(host=kubeflow_api.url))
    assert len(kubeflow_api.requests) == 1
    assert capfd.readouterr() == ("", "")


def test_no_host() -> None:
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=""))
    assert caught.value.message == "no Kubeflow Pipelines server is named"
    assert "KFP_HOST" in caught.value.expected


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def rude_port() -> Iterator[int]:
    """Of a server that hangs up at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_host_that_does_not_answer(silent_port, rude_port, monkeypatch, capfd):
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    host = f"http://127.0.0.1:{silent_port}"
    with pytest.raises(ServerError, match=f"{host} does not answer within 0.2 s"):
        Server(Connection(host=host))
    host = f"http://127.0.0.1:{rude_port}"
    with pytest.raises(ServerError, match=f"{host} closed the connection"):
        Server(Connection(host=host))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ServerError, match=f"nothing answers at {host}") as caught:
        Server(Connection(host=host))
    assert "kubectl port-forward" in caught.value.tip
    assert capfd.readouterr() == ("", "")


def test_a_server_that_goes_silent_later(server, kubeflow_api, monkeypatch) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    is_over = threading.Event()
    monkeypatch.setattr(
        type(kubeflow_api), "answer", lambda *_: is_over.wait(5) and None
    )
    with pytest.raises(ServerError, match="does not answer within"):
        server.entries(RUN)
    is_over.set()


def test_a_name_that_nobody_has(monkeypatch) -> None:
    def fail(*arguments: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(
        ServerError, match=r"cannot find the host of https://nowhere\.invalid"
    ):
        Server(Connection(host="nowhere.invalid"))


@pytest.mark.parametrize(
    "host", ["http://", "http://[half", "http://a:port", "ftp://a", "a b"]
)
def test_hosts_that_are_no_address(host) -> None:
    with pytest.raises(ConfigError, match="is not the address of a server"):
        Server(Connection(host=host))


def test_tls(kubeflow_api, kubeflow_api_server, tmp_path, package) -> None:
    certificate, key = kubeflow_api_server.write_certificate(tmp_path)
    host = kubeflow_api.url.replace("http://", "https://")
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=host))
    assert caught.value.message == f"{host} does not speak TLS"
    assert caught.value.tip == f"is it --host {kubeflow_api.url}?"

    kubeflow_api.use_tls(certificate, key)
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=host))
    assert caught.value.message == f"the certificate of {host} is not trusted"
    assert caught.value.found.startswith("self-signed certificate")
    assert caught.value.tip.startswith("--ca-cert FILE")
    with pytest.raises(ConfigError) as caught:
        Server(Connection(host=host, ca_file=key))
    assert caught.value.message == f"{key} holds no certificates"

    server = Server(Connection(host=host, ca_file=certificate))
    server.submit(job(), package)
    assert [run.display_name for run in kubeflow_api.runs.values()] == ["first"]


def test_the_client_leaves_no_file(kubeflow_api, monkeypatch, tmp_path) -> None:
    context = tmp_path / "kfp" / "context.json"
    monkeypatch.setattr(connection.Client, "_LOCAL_KFP_CONTEXT", str(context))
    secret = tmp_path / "namespace"
    secret.write_text("from-the-pod")
    monkeypatch.setattr(connection.kfp.Client, "_NAMESPACE_PATH", str(secret))
    kubeflow_api.is_shared = True
    server = Server(Connection(host=kubeflow_api.url))
    server.entries(RUN)
    assert kubeflow_api.requests[-1].query["namespace"] == "from-the-pod"
    assert not context.parent.exists()


def test_the_fake_refuses_what_its_models_do_not_know(
    kubeflow_api, kubeflow_api_server
) -> None:
    request = kubeflow_api_server.Request("POST", "runs", {}, None, {})
    body = json.dumps({"display_name": "x", "colour": "red"}).encode()
    with pytest.raises(kubeflow_api_server.Failure, match="the body is no V2beta1Run"):
        kubeflow_api.answer(request, body)
