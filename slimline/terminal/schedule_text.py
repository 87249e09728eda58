"""Slots of schedules as text and JSON."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.scheduling.controller import Look
from pipeline.scheduling.cron import Cron
from pipeline.slots import rows
from pipeline.slots.clock import in_words
from pipeline.slots.ledger import IS_ENDED, IS_OPEN, Ledger
from pipeline.slots.rows import Row
from slimline.terminal import output

_HIDDEN = ("id", "settings_key", "owner", "runs", "notices")
# Slots further in the future than this were written with a wrong clock.
_AHEAD = datetime.timedelta(hours=1)


def as_document(row: Row) -> dict[str, Any]:
    """A row as JSON."""
    values = dataclasses.asdict(row) | {"run": row.run or None, "seconds": row.seconds}
    return {name: value for name, value in values.items() if name not in _HIDDEN}


def notices(found: Sequence[Row]) -> list[dict[str, str]]:
    """Notifications about slots: pipeline, slot, event, target, time and error."""
    return [
        {"pipeline": row.pipeline, "slot": row.slot, **notice}
        for row in found
        for notice in json.loads(row.notices)
    ]


def history(found: Sequence[Row], notices: Sequence[Mapping[str, str]]) -> str:
    """The table of slots, and below it the notifications that failed."""
    if not found:
        return "no slots yet"
    table = output.table(list(map(_cells, found)), numbers=("time",))
    failed = [
        "not notified of {event} in slot {slot}: {target}: {error}".format(**notice)
        for notice in notices
        if notice["error"]
    ]
    return "\n".join([table, *(["", *failed] if failed else [])])


def look(found: Look) -> tuple[list[str], dict[str, Any]]:
    """The result of one look: as lines, and as JSON."""
    lines = [_sentence(row) for row in found.rows]
    if found.waits_for:
        lines.append(f"waits: {found.waits_for}")
    document = {"planned": found.planned, "waits_for": found.waits_for}
    return lines, {"rows": list(map(as_document, found.rows)), **document}


def states(ledger: Ledger, now: datetime.datetime) -> list[dict[str, Any]]:
    """The state of each schedule, as JSON."""
    found = []
    for pipeline, schedule in ledger.schedules().items():
        opened = ledger.rows(f"{IS_OPEN} ORDER BY planned, slot", pipeline)
        running = [row for row in opened if row.state == rows.RUNNING]
        last = ledger.first(f"{IS_ENDED} ORDER BY planned DESC, id DESC", pipeline)
        words, following, warning = "every new span", None, {}
        if schedule["cron"]:
            cron = Cron(schedule["cron"], schedule["timezone"])
            words = f"{cron.expression} ({cron.timezone})"
            since = datetime.datetime.fromisoformat(schedule["since"])
            newest = max(ledger.newest_slot(pipeline) or since, since)
            following = in_words(cron.next(newest))
            if newest - now > _AHEAD:
                ahead = f"slot {in_words(newest)} is in the future: the clock was wrong, and"
                warning = {"warning": f"{ahead} until then nothing is due"}
        found.append(
            {
                "pipeline": pipeline,
                "schedule": words,
                "since": schedule["since"],
                "running": as_document(running[0]) if running else None,
                "worked_on_by": running[0].owner if running else None,
                "planned": [row.slot for row in opened if row.state == rows.PLANNED],
                "last": as_document(last) if last else None,
                "next": following,
                **warning,
            }
        )
    return found


def status(found: Sequence[Mapping[str, Any]]) -> str:
    """The states as text."""
    blocks = []
    for state in found:
        facts = {
            "schedule": state["schedule"],
            "since": state["since"],
            "running": state["running"]
            and "slot {slot}, {data}, since {started}, ".format(**state["running"])
            + state["worked_on_by"],
            "planned": ", ".join(state["planned"]),
            "last": state["last"]
            and "slot {slot} {state}: {reason}".format(**state["last"]),
            "next": state["next"] or "when a new span has come",
            "warning": state.get("warning"),
        }
        blocks.append("\n".join([state["pipeline"], *output.facts(facts, 10, "  ")]))
    return "\n\n".join(blocks) or "no schedules yet"


def _cells(row: Row) -> dict[str, str]:
    has_run = row.runs and row.seconds is not None
    return {
        "slot": row.slot.replace("+00:00", "Z"),
        "experiment": row.pipeline,
        "state": row.state,
        "data": row.data,
        "run": row.run.partition("_")[2].partition("_")[2] or row.run,
        "version": row.pushed_version or "",
        "time": output.duration(row.seconds or 0.0) if has_run else "",
        "reason": row.reason,
    }


def _sentence(row: Row) -> str:
    run = f" by {row.run}" if row.run else ""
    pushed = f", version {row.pushed_version} is live" if row.pushed_version else ""
    reason = f": {row.reason}" if row.reason else ""
    data = f" ({row.data})" if row.data else ""
    return f"slot {row.slot}{data} {row.state}{run}{pushed}{reason}"
