"""Slots of schedules as text and JSON."""

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slimline.cli import output

if TYPE_CHECKING:
    from pipeline.scheduling.controller import Look
    from pipeline.scheduling.ledger import Ledger
    from pipeline.scheduling.rows import New, Notice, Row

_HEADINGS = ("slot", "experiment", "state", "data", "run", "version", "time", "reason")
# Slots ahead of the time by more than this were written by a clock that was wrong.
_AHEAD = datetime.timedelta(hours=1)


def as_document(row: "Row") -> dict[str, Any]:
    """A row as JSON."""
    hidden = ("id", "settings_key", "owner", "heartbeat", "runs")
    values = {
        name: value
        for name, value in dataclasses.asdict(row).items()
        if name not in hidden
    }
    return values | {"run": row.run or None, "seconds": row.seconds}


def history(found: "Sequence[Row]", told: "Sequence[Notice]") -> str:
    """The table of slots; below it those who could not be told."""
    if not found:
        return "no slots yet"
    table = output.columns([_HEADINGS, *map(_cells, found)], numbers=("time",))
    missed = [
        f"not told of {notice.event} in slot {notice.slot}: {notice.target}:"
        f" {notice.error}"
        for notice in told
        if notice.error
    ]
    return "\n".join([table, *(["", *missed] if missed else [])])


def look(found: "Look") -> str:
    """What one look came to."""
    lines = [_sentence(row) for row in found.rows]
    if found.waits_for:
        lines.append(f"waits: {found.waits_for}")
    return "\n".join(lines) or "nothing is due"


def look_lines(
    found: "Look", moment: datetime.datetime, *, is_json: bool
) -> Iterator[str]:
    """Lines of the log that a scheduler prints which stays."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if is_json:
        document = {
            "schema_version": output.SCHEMA_VERSION,
            "time": now,
            "rows": [as_document(row) for row in found.rows],
            "waits_for": found.waits_for,
            "next": moment.isoformat(timespec="seconds"),
        }
        yield json.dumps(document)
        return
    for row in found.rows:
        yield output.printable(f"{now} {_sentence(row)}")
    waits = f" waits: {found.waits_for}" if found.waits_for else ""
    after = moment.isoformat(timespec="seconds")
    yield output.printable(f"{now} next look {after}{waits}")


def due(found: "Sequence[New]", waits_for: str, command: str) -> str:
    """What a look would do."""
    lines = [
        f"slot {new.slot}: {new.reason or f'would run: {command}'}" for new in found
    ]
    if waits_for:
        lines.append(f"waits: {waits_for}")
    lines = lines or ["nothing is due"]
    return "\n".join([*lines, "", "nothing was run or written"])


def states(ledger: "Ledger", now: datetime.datetime) -> list[dict[str, Any]]:
    """What each schedule is at."""
    from pipeline.scheduling import rows
    from pipeline.scheduling.cron import Cron
    from pipeline.scheduling.owner import Owner

    found = []
    for pipeline, schedule in ledger.schedules().items():
        running = ledger.history(pipeline, 1, states=(rows.RUNNING,))
        planned = ledger.history(pipeline, states=(rows.PLANNED,))
        ended = (rows.DONE, rows.FAILED, rows.REFUSED, rows.SKIPPED, rows.MISSED)
        last = ledger.history(pipeline, 1, states=ended)
        newest = ledger.newest_slot(pipeline)
        following = None
        if schedule.cron:
            cron = Cron(schedule.cron, schedule.timezone)
            following = cron.next(max(newest or schedule.since, schedule.since))
        state: dict[str, Any] = {
            "pipeline": pipeline,
            "schedule": schedule.in_words,
            "since": schedule.since.isoformat(timespec="seconds"),
            "running": as_document(running[0]) if running else None,
            "worked_on_by": Owner.from_text(str(running[0].owner)).name
            if running
            else None,
            "planned": [row.slot for row in planned],
            "last": as_document(last[0]) if last else None,
            "next": following.isoformat(timespec="seconds") if following else None,
        }
        if newest is not None and newest - now > _AHEAD:
            state["warning"] = (
                f"slot {newest.isoformat(timespec='seconds')} lies ahead: the clock was"
                " wrong, and until then nothing is due"
            )
        found.append(state)
    return found


def status(found: Sequence[Mapping[str, Any]]) -> str:
    """The states as text."""
    blocks = []
    for state in found:
        facts = [("schedule", state["schedule"]), ("since", state["since"])]
        if state["running"]:
            running = state["running"]
            facts.append(
                (
                    "running",
                    f"slot {running['slot']}, {running['data']}, since"
                    f" {running['started']}, {state['worked_on_by']}",
                )
            )
        if state["planned"]:
            facts.append(("planned", ", ".join(state["planned"])))
        if state["last"]:
            last = state["last"]
            facts.append(
                ("last", f"slot {last['slot']} {last['state']}: {last['reason']}")
            )
        facts.append(("next", state["next"] or "when a new span has come"))
        if "warning" in state:
            facts.append(("warning", state["warning"]))
        lines = [f"  {name:<9} {fact}" for name, fact in facts]
        blocks.append("\n".join([state["pipeline"], *lines]))
    return "\n\n".join(blocks) or "no schedules yet"


def _cells(row: "Row") -> tuple[str, ...]:
    return (
        row.slot.replace("+00:00", "Z"),
        row.pipeline,
        row.state,
        row.data,
        row.run.partition("_")[2].partition("_")[2] or row.run,
        row.pushed_version or "",
        "" if not row.runs or row.seconds is None else output.duration(row.seconds),
        row.reason,
    )


def _sentence(row: "Row") -> str:
    run = f" by {row.run}" if row.run else ""
    pushed = f", version {row.pushed_version} is live" if row.pushed_version else ""
    reason = f": {row.reason}" if row.reason else ""
    data = f" ({row.data})" if row.data else ""
    return f"slot {row.slot}{data} {row.state}{run}{pushed}{reason}"
