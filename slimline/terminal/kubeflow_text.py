"""What `slimline kubeflow` says: compiled pipelines, runs and schedules as text."""

import datetime
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slimline.terminal import output

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Entry, Task
    from pipeline.kubeflow.package import Package
    from pipeline.kubeflow.runner import Target


def compiled(package: "Package", target: "Target", changes: Sequence[str]) -> str:
    """What was written, and what to type next."""
    rows = [
        ("wrote", f"{package.path}   (schema {target.schema_version})"),
        ("pipeline", f"{package.name}, {len(package.tasks)} tasks"),
        ("image", target.image),
        ("artifacts", target.pipeline_root or "where the server keeps them"),
        *(
            ("volume", f"{claim} at {path}")
            for path, claim in target.kubernetes.volumes.items()
        ),
        *(
            ("parameter", f"{name}={_shown(parameter.default)}")
            for name, parameter in package.parameters.items()
        ),
        *(("changed", change) for change in changes),
    ]
    if target.schema_version == "2.1.0":
        command = ["slimline", "kubeflow", "submit", str(package.path)]
        rows += [("", ""), ("next", shlex.join(command))]
    return output.columns(rows)


def plan(document: Mapping[str, Any]) -> str:
    """What would be sent."""
    given = document["parameters"]
    parameters = (
        f"{name}={_shown(given.get(name, default))}"
        f"{'' if name in given else '   (default)'}"
        for name, default in document["defaults"].items()
    )
    rows = [
        ("server", document["host"] or "not set: --host URL"),
        ("name", document["name"]),
        ("cron", document.get("cron")),
        ("slots", _slots(document)),
        ("experiment", document["kubeflow_experiment"]),
        ("pipeline", f"{document['pipeline']}, {len(document['tasks'])} tasks"),
        ("version", document["pipeline_version"]),
        *(("image", image) for image in document["images"]),
        *(("parameter", parameter) for parameter in parameters),
    ]
    return _columns(rows) + "\n\nnothing was sent"


def submitted(document: Mapping[str, Any]) -> str:
    """A run that was started."""
    rows = [
        ("run", document["name"]),
        ("id", document["id"]),
        ("version", document["pipeline_version"]),
        ("page", document["page"]),
        ("next", shlex.join(["slimline", "kubeflow", "status", document["name"]])),
    ]
    return _columns(rows)


def scheduled(document: Mapping[str, Any]) -> str:
    """A schedule that was made."""
    rows = [
        ("schedule", document["name"]),
        ("id", document["id"]),
        ("cron", f"{document['cron']}   (one run at a time; missed runs are skipped)"),
        ("slots", _slots(document)),
        *(("replaced", replaced) for replaced in document["replaced"]),
    ]
    return _columns(rows)


def _slots(document: Mapping[str, Any]) -> str | None:
    """Where the runs of a schedule claim their slots, or why not; None for a run."""
    slots = document.get("slots")
    if not slots:
        return None
    if slots["ledger"]:
        return f"claimed in {slots['ledger']}   (where the server fills in the time)"
    return f"not claimed: {slots['unclaimed']}"


def _columns(rows: Sequence[tuple[str, str | None]]) -> str:
    """Rows that have a value, in columns."""
    return output.columns([(name, value) for name, value in rows if value])


def listing(
    runs: Sequence["Entry"],
    schedules: Sequence["Entry"],
    host: str,
    now: datetime.datetime,
) -> str:
    """Runs and schedules of a server as two tables."""
    if not runs and not schedules:
        return f"no runs and no schedules at {host}"
    parts = []
    if runs:
        rows = [("run", "state", "started (UTC)", "time")]
        rows += [
            (
                entry.name,
                _state(entry.state),
                _moment(entry.created),
                _time(entry.created, entry.finished, now),
            )
            for entry in runs
        ]
        parts.append(output.columns(rows, numbers=("time",)))
    if schedules:
        rows = [("schedule", "state", "made (UTC)", "cron")]
        rows += [
            (entry.name, _state(entry.state), _moment(entry.created), entry.cron)
            for entry in schedules
        ]
        parts.append(output.columns(rows))
    return "\n\n".join(parts)


def run(
    entry: "Entry", tasks: Sequence["Task"], page: str, now: datetime.datetime
) -> str:
    """A run and its tasks."""
    time = _time(entry.created, entry.finished, now)
    head = [
        ("run", entry.name),
        ("id", entry.id),
        ("state", f"{_state(entry.state)}, {_moment(entry.created)} UTC, {time}"),
        ("error", entry.error),
        ("page", page),
    ]
    parts = [_columns(head)]
    if tasks:
        rows = [("task", "state", "started (UTC)", "time")]
        rows += [
            (
                task.name,
                _state(task.state) if task.state else "waiting",
                _moment(task.started),
                _time(task.started, task.finished, now) if task.state else "",
            )
            for task in tasks
        ]
        parts.append(output.columns(rows, numbers=("time",)))
    parts += [f"{task.name}: {task.error}" for task in tasks if task.error]
    return "\n\n".join(parts)


def named(entries: Sequence["Entry"], versions: Sequence[str] = ()) -> str:
    """Entries as a sentence names them."""
    shown = ", ".join(f"{entry.kind} '{entry.name}' ({entry.id})" for entry in entries)
    count = len(versions)
    return shown + (f" with {count} version{'s'[: count != 1]}" if count else "")


def _state(state: str) -> str:
    return state.lower() or "unknown"


def _moment(time: datetime.datetime | None) -> str:
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M}" if time else ""


def _time(
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
) -> str:
    """How long it took, or takes so far."""
    if start is None:
        return ""
    return output.duration(((end or now) - start).total_seconds())


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
