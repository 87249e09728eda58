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
    from pipeline.scheduling.rows import Row

# What is shown of a slot before it is run.
DUE = ("slot", "kind", "state", "reason", "data")
_HIDDEN = ("id", "settings_key", "owner", "heartbeat", "runs", "notices")
_HEADINGS = ("slot", "experiment", "state", "data", "run", "version", "time", "reason")
# Slots ahead of the time by more than this were written by a clock that was wrong.
_AHEAD = datetime.timedelta(hours=1)


def as_document(row: "Row") -> dict[str, Any]:
    """A row as JSON."""
    values = dataclasses.asdict(row) | {"run": row.run or None, "seconds": row.seconds}
    return {name: value for name, value in values.items() if name not in _HIDDEN}


def notices(found: "Sequence[Row]") -> list[dict[str, str]]:
    """Who was told of some slots: pipeline, slot, event, target, time and error."""
    return [
        {"pipeline": row.pipeline, "slot": row.slot, **notice}
        for row in found
        for notice in json.loads(row.notices)
    ]


def history(found: "Sequence[Row]", told: Sequence[Mapping[str, str]]) -> str:
    """The table of slots; below it those who could not be told."""
    if not found:
        return "no slots yet"
    table = output.columns([_HEADINGS, *map(_cells, found)], numbers=("time",))
    missed = [
        "not told of {event} in slot {slot}: {target}: {error}".format(**notice)
        for notice in told
        if notice["error"]
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


def due(found: "Sequence[Row]", waits_for: str, command: str) -> str:
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
    from pipeline.scheduling import owner, rows
    from pipeline.scheduling.cron import Cron

    found = []
    for pipeline, schedule in ledger.schedules().items():
        of_state = "pipeline = ? AND state = ? ORDER BY planned DESC, id DESC"
        running = ledger.rows(f"{of_state} LIMIT 1", pipeline, rows.RUNNING)
        planned = ledger.rows(of_state, pipeline, rows.PLANNED)[::-1]
        last = [
            row
            for state in rows.ENDED
            for row in ledger.rows(f"{of_state} LIMIT 1", pipeline, state)
        ]
        newest = ledger.newest_slot(pipeline)
        since = datetime.datetime.fromisoformat(schedule["since"])
        words, following = "every new span", None
        if schedule["cron"]:
            cron = Cron(schedule["cron"], schedule["timezone"])
            words = f"{cron.expression} ({cron.timezone})"
            following = cron.next(max(newest or since, since))
        state: dict[str, Any] = {
            "pipeline": pipeline,
            "schedule": words,
            "since": schedule["since"],
            "running": as_document(running[0]) if running else None,
            "worked_on_by": owner.name_of(str(running[0].owner)) if running else None,
            "planned": [row.slot for row in planned],
            "last": as_document(max(last, key=lambda row: (row.planned, row.id)))
            if last
            else None,
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
            words = "slot {slot}, {data}, since {started}".format(**running)
            facts.append(("running", f"{words}, {state['worked_on_by']}"))
        if state["planned"]:
            facts.append(("planned", ", ".join(state["planned"])))
        if state["last"]:
            words = "slot {slot} {state}: {reason}".format(**state["last"])
            facts.append(("last", words))
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
