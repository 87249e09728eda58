"""Those who want to know are told, and nothing goes wrong by it."""

import datetime
import http.server
import json
import sys
import threading

import pytest

from common.errors import ConfigError
from pipeline.scheduling import hooks
from pipeline.slots import rows
from pipeline.slots.rows import Row

NOW = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)


def row(state: str, reason: str = "", pushed_version: str | None = None) -> Row:
    return Row(
        id=1,
        pipeline="cats",
        slot="2026-11-26T03:00:00+00:00",
        kind=rows.CRON,
        state=state,
        reason=reason,
        attempts=1,
        data="span 7",
        data_key="7",
        settings_key="s",
        span=7,
        version=None,
        runs="2026-11-26_0300_shy-cat",
        pushed_version=pushed_version,
        exit_code=0,
        is_pruned=False,
        planned=NOW.isoformat(),
        started=NOW.isoformat(),
        finished=NOW.isoformat(),
        owner=None,
    )


@pytest.mark.parametrize(
    ("found", "event"),
    [
        (row(rows.FAILED), "failure"),
        (row(rows.REFUSED), "refusal"),
        (row(rows.DONE, pushed_version="3"), "push"),
        (row(rows.DONE), ""),
        (row(rows.SKIPPED), ""),
        (row(rows.MISSED), ""),
    ],
)
def test_what_is_an_event(found: Row, event: str) -> None:
    assert hooks.event_of(found) == event


@pytest.fixture
def server():
    """A web server that keeps what it is sent; it answers as its path says."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(int(self.path[1:]))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *values):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}", received
        made.shutdown()
        thread.join()


def test_an_address_gets_json(server) -> None:
    address, received = server
    told = hooks.tell(
        row(rows.DONE, "blessed", pushed_version="3"), {"push": [f"{address}/200"]}
    )
    assert [notice["error"] for notice in told] == [""]
    ((_, kind, document),) = received
    assert kind == "application/json"
    assert document == {
        "schema_version": 1,
        "event": "push",
        "text": "cats, slot 2026-11-26T03:00:00+00:00 pushed a model: blessed",
        "pipeline": "cats",
        "slot": "2026-11-26T03:00:00+00:00",
        "state": "done",
        "reason": "blessed",
        "data": "span 7",
        "run": "2026-11-26_0300_shy-cat",
        "pushed_version": "3",
        "started": "2026-11-26T03:00:00+00:00",
        "finished": "2026-11-26T03:00:00+00:00",
    }


def test_what_goes_wrong_at_an_address_is_told(server, monkeypatch) -> None:
    address, received = server
    monkeypatch.setattr(hooks, "TIMEOUT_SECONDS", 2.0)
    targets = [f"{address}/500", f"{address}/302", "http://127.0.0.1:9/nobody"]
    told = hooks.tell(row(rows.FAILED, "no space"), {"failure": targets})
    assert [notice["error"] for notice in told[:2]] == ["answered 500", ""]
    assert "ConnectionError" in told[2]["error"] and len(told[2]["error"]) <= 300
    # A redirection is not followed: it could lead anywhere.
    assert [path for path, _, _ in received] == ["/500", "/302"]


WRITES = (
    "import os, sys, pathlib;"
    "pathlib.Path(sys.argv[1]).write_text(os.environ['SLIMLINE_HOOK_EVENT']"
    " + ' ' + sys.stdin.read())"
)


def test_a_command_gets_json_and_variables(tmp_path) -> None:
    file = tmp_path / "out of the way.json"
    command = f'{sys.executable} -c "{WRITES}" "{file}"'
    (notice,) = hooks.tell(row(rows.REFUSED, "top-1"), {"refusal": [command]})
    assert notice["error"] == ""
    event, _, document = file.read_text().partition(" ")
    assert event == "refusal" and json.loads(document)["reason"] == "top-1"


def test_a_command_knows_no_shell(tmp_path) -> None:
    (notice,) = hooks.tell(
        row(rows.FAILED), {"failure": [f"true; touch {tmp_path}/made"]}
    )
    assert "true;" in notice["error"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("/no/such/program", "No such file"),
        (
            f"{sys.executable} -c 'import sys; sys.exit(\"mail is down\")'",
            "mail is down",
        ),
        ("sleep 30", "timed out"),
    ],
)
def test_what_goes_wrong_in_a_command_is_told(
    command: str, error: str, monkeypatch
) -> None:
    monkeypatch.setattr(hooks, "TIMEOUT_SECONDS", 0.5 if "sleep" in command else 15.0)
    (notice,) = hooks.tell(row(rows.FAILED), {"failure": [command]})
    assert error in notice["error"]


@pytest.mark.parametrize("target", ["", "  ", 'mail "'])
def test_targets_that_cannot_be(target: str) -> None:
    with pytest.raises(ConfigError):
        hooks.check({"push": [target]})
