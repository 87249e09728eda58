"""slimline serve as a command: start, events, ports, the end."""

import asyncio
import base64
import http.client
import json
import os
import signal
import socket
import time

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.local_server import server
from slimline.cli import main, serve

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def run(capsys, *arguments):
    code = main.main(["serve", *arguments])
    return code, capsys.readouterr()


def test_without_a_root(capsys, tmp_path):
    code, printed = run(capsys, "--root", str(tmp_path / "none"))
    assert code == 2
    assert "no folder" in printed.err
    assert "slimline run trains a model" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--sample-requests", "0.1"], "--sample-folder go together"),
        (["--sample-folder", "kept"], "--sample-folder go together"),
        (["--limit", "nonsense=1"], "no limit 'nonsense'"),
        (["--limit", "json_depth=0"], "json_depth must be at least 1"),
        (["--rest-port", "70000"], "70000"),
        (
            ["--host", "no.such.host.invalid", "--rest-port", "0"],
            "no.such.host.invalid",
        ),
    ],
)
def test_mistakes(capsys, tmp_path, arguments, text):
    code, printed = run(capsys, "--root", str(tmp_path), "--grpc-port", "0", *arguments)
    assert code == 2
    assert text in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("option", ["--rest-port", "--grpc-port"])
def test_a_port_that_is_taken(capsys, tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"--rest-port": "0", "--grpc-port": "0"}
        ports[option] = str(taken.getsockname()[1])
        given = [word for pair in ports.items() for word in pair]
        code, printed = run(capsys, "--root", str(tmp_path), *given)
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{ports[option]}" in printed.err
    assert f"{option} 0 takes a free port" in printed.err


def test_models_that_come_and_the_end(
    serve_process, warm_forks, write_model, png, tmp_path
):
    with serve_process.serving(
        tmp_path, "--poll-seconds", "0.1", forks=warm_forks
    ) as served:
        assert served.events[-1]["models"] == []
        url = f"{served.url}/v1/models/colours"
        assert requests.get(url, timeout=10).status_code == 404
        channel = grpc.insecure_channel(served.grpc)
        health = health_pb2_grpc.HealthStub(channel)
        states = health.Watch(health_pb2.HealthCheckRequest())
        assert next(states).status == NOT_SERVING

        write_model(tmp_path / "serving" / "colours", 3)
        served.wait_for("log", "colours version 3 answers")
        assert next(states).status == SERVING
        write_model(tmp_path / "serving" / "colours", 4)
        served.wait_for("log", "colours version 3 is unloaded")
        found = requests.get(url, timeout=10).json()["model_version_status"]
        assert [(entry["version"], entry["state"]) for entry in found] == [
            ("4", "AVAILABLE"),
            ("3", "END"),
        ]

        # A request that is half there when the server is told to stop is answered.
        encoded = base64.b64encode(png(0, 70, 200)).decode()
        document = {"signature_name": "predict_images", "inputs": [{"b64": encoded}]}
        body = json.dumps(document).encode()
        host, _, port = served.rest.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            slow.sendall(
                b"POST /v1/models/colours:predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            time.sleep(0.3)
            served.process.send_signal(signal.SIGTERM)
            served.wait_for("stopping")
            assert next(states).status == NOT_SERVING
            states.cancel()  # else the server waits for its end
            with pytest.raises(OSError), socket.create_connection((host, int(port))):
                pass
            slow.sendall(body)
            response = http.client.HTTPResponse(slow)
            response.begin()
            assert response.getheader("Connection") == "close"
            assert json.loads(response.read())["outputs"]["classes"][0][0] == "blue"
        assert served.process.wait(60) == 0
        served.wait_for("stopped")
        assert served.events[-1]["requests"] == 3
        assert served.events[-1]["cut_short"] == 0
        channel.close()


@pytest.mark.parametrize("is_quiet", [False, True])
def test_text_for_people(capsys, monkeypatch, tmp_path, is_quiet):
    show = serve._EventPrinter.show

    def show_and_stop(printer, event, fields):
        show(printer, event, fields)
        if event == "started":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(serve._EventPrinter, "show", show_and_stop)
    ports = ["--rest-port", "0", "--grpc-port", "0"]
    flags = ["-q"] if is_quiet else []
    code, printed = run(capsys, "--root", str(tmp_path), *ports, *flags)
    assert code == 0
    if is_quiet:
        assert (printed.out, printed.err) == ("", "")
        return
    lines = printed.out.splitlines()
    assert "production is TF Serving: docs/serving.md" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == [
        "models",
        "REST",
        "gRPC",
        "page",
        "stop",
    ]
    assert "none yet: slimline run trains one" in lines[1]
    said = [line.partition("Z ")[2] or line for line in printed.err.splitlines()]
    assert said[0].startswith("loading models from")
    assert said[1].startswith("stopping; requests in progress have 30 s")
    assert said[2] == "stopped after 0 requests"
    assert len(said) == 3


def test_the_second_signal_is_not_held_back():
    async def run():
        signalled = server._first_signal()
        assert not signalled.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(signalled.wait(), 10)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler

    asyncio.run(run())


def test_lines():
    fields = {
        "rest": "127.0.0.1:8501",
        "grpc": "127.0.0.1:8500",
        "models": [
            {
                "name": "digits",
                "answers": 3,
                "classes": ["a", "b"],
                "labels": {"stable": 3, "canary": 4},
                "versions": [
                    {"version": 5, "state": "END", "error": "it is damaged"},
                    {"version": 3, "state": "AVAILABLE", "error": ""},
                ],
            },
            {
                "name": "new",
                "answers": None,
                "classes": [],
                "labels": {},
                "versions": [],
            },
        ],
    }
    lines = serve._started(fields).splitlines()
    assert lines[1].split("  ")[-1] == (
        "digits · version 3 · 2 classes · stable is 3 · canary is 4"
        " · version 5 refused: it is damaged"
    )
    assert lines[2].strip() == "new · no version answers"
    assert "none yet: slimline run trains one" in serve._started(
        fields | {"models": []}
    )
    log = {"level": "warning", "text": "it\x1b[31m burns"}
    assert serve._line("log", log) == "! it\x1b[31m burns"
