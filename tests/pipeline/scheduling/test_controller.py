"""What a look comes to: nights, spans, drift, kills, clocks."""

import datetime
import json
import subprocess
import sys
import time

import pytest

from common.errors import ConfigError, DataError
from pipeline.scheduling.controller import MAX_ATTEMPTS, Look
from pipeline.slots import rows
from pipeline.slots.ledger import FILE, Ledger
from pipeline.slots.rows import Outcome, Row, TryAgain

START = datetime.datetime(2026, 11, 26, 1, 0, tzinfo=datetime.UTC)
DRIFTED = Outcome(
    rows.REFUSED,
    "the data have drifted from those that version 1 was trained on:"
    " image/brightness: Jensen-Shannon divergence 0.412, at most 0.1",
    4,
)


def test_nights(stage) -> None:
    """First span trains; nothing new; drifted one stops; the third starts warm."""
    controller = stage.controller(starts_warm=lambda: True)
    assert controller.tick().rows == ()
    stage.clock.go(hours=2)
    (first,) = controller.tick().rows
    assert (first.slot, first.state, first.pushed_version) == (
        "2026-11-26T03:00:00+00:00",
        rows.DONE,
        "1",
    )
    assert (first.data, first.span, first.run) == ("span 1", 1, "2026-11-26_0300_run-1")
    assert stage.runner.orders[0] == {
        "data.span": "1",
        "train.weights": "blessed",
    }
    stage.clock.go(days=1)
    (second,) = controller.tick().rows
    assert second.state == rows.SKIPPED
    assert second.reason == (
        "nothing new: span 1 was trained on by 2026-11-26_0300_run-1"
    )
    stage.source.spans.append(2)
    stage.runner.outcomes.append(DRIFTED)
    stage.clock.go(days=1)
    (third,) = controller.tick().rows
    assert (third.state, third.exit_code) == (rows.REFUSED, 4)
    assert "image/brightness: Jensen-Shannon divergence 0.412" in third.reason
    stage.clock.go(days=1)
    (fourth,) = controller.tick().rows
    assert fourth.state == rows.SKIPPED
    assert fourth.reason.startswith(
        "nothing new: span 2 was refused by 2026-11-26_0300"
    )
    assert "0.412" in fourth.reason
    stage.source.spans.append(3)
    stage.clock.go(days=1)
    (fifth,) = controller.tick().rows
    assert (fifth.state, fifth.span, fifth.pushed_version) == (rows.DONE, 3, "3")
    assert len(stage.runner.orders) == 3


def test_there_is_no_warm_start_without_a_model(stage) -> None:
    stage.controller().tick()
    stage.clock.go(hours=2)
    stage.controller(starts_warm=lambda: False).tick()
    assert stage.runner.orders[0] == {"data.span": "1"}


def test_other_settings_are_something_new(stage) -> None:
    stage.controller().tick()
    for settings_key in ("s", "s", "t"):
        stage.clock.go(days=1)
        stage.controller(settings_key=settings_key).tick()
    assert [state for _, state in stage.states()] == ["done", "skipped", "done"]


def test_what_failed_is_tried_in_the_next_slot(stage) -> None:
    stage.controller().tick()
    stage.runner.outcomes.append(Outcome(rows.FAILED, "no space left", 1))
    for _ in range(2):
        stage.clock.go(days=1)
        stage.controller().tick()
    assert [state for _, state in stage.states()] == ["failed", "done"]


@pytest.mark.parametrize(
    ("missed", "states"),
    [
        ("once", ["missed", "missed", "done"]),
        ("skip", ["missed", "missed", "missed"]),
        ("all", ["done", "done", "done"]),
    ],
)
def test_three_slots_slept_over(stage, missed: str, states: list[str]) -> None:
    stage.controller(missed=missed, settings_key="x").tick()
    stage.clock.go(days=3)
    spans = iter((2, 3, 4))
    stage.runner.outcomes = [
        lambda order: (
            stage.source.spans.append(next(spans)) or Outcome(rows.DONE, "", 0, "1")
        )
    ] * 3
    stage.controller(missed=missed, settings_key="x").tick()
    assert stage.states() == [
        (f"2026-11-{day}T03:00:00+00:00", state)
        for day, state in zip((26, 27, 28), states, strict=True)
    ]
    if missed == "once":
        assert stage.reasons()[0] == (
            "missed; slot 2026-11-28T03:00:00+00:00 runs instead"
        )


def test_a_slot_within_its_grace_is_not_missed(stage) -> None:
    controller = stage.controller(missed="skip", grace_seconds=900)
    controller.tick()
    stage.clock.go(hours=2, minutes=14)
    assert [row.state for row in controller.tick().rows] == [rows.DONE]
    stage.clock.go(days=1, minutes=2)
    assert controller.tick().rows == ()
    assert stage.states()[-1] == ("2026-11-27T03:00:00+00:00", rows.MISSED)


def test_a_year_without_a_scheduler_leaves_a_thousand_rows(stage) -> None:
    controller = stage.controller("* * * * *", missed="all")
    controller.tick()
    stage.clock.go(days=365)
    new = controller.due()
    assert len(new) == 1000
    assert new[0].state == rows.MISSED
    assert new[0].reason.startswith("missed, as all slots since 2026-11-26T01:00")
    assert {row.state for row in new[1:]} == {rows.PLANNED}


def test_a_clock_that_goes_back_doubles_nothing(stage) -> None:
    stage.controller().tick()
    stage.clock.go(hours=2, minutes=5)
    stage.controller().tick()
    stage.clock.go(hours=-1)
    for _ in range(8):
        assert stage.controller().tick().rows == ()
        stage.clock.go(minutes=10)
    assert len(stage.states()) == 1


@pytest.mark.parametrize(
    ("start", "slots"),
    [
        ("2026-03-28T12:00", ["2026-03-29T01:30", "2026-03-30T00:30"]),
        ("2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_nights_when_clocks_change(stage, start: str, slots: list[str]) -> None:
    stage.clock.set(datetime.datetime.fromisoformat(f"{start}+00:00"))
    for _ in range(2 * 24 * 12):
        stage.controller("30 2 * * *", timezone="Europe/Berlin").tick()
        stage.clock.go(minutes=5)
    assert stage.states() == [
        (f"{slots[0]}:00+00:00", rows.DONE),
        (f"{slots[1]}:00+00:00", rows.SKIPPED),
    ]


def test_two_schedulers_and_one_slot(stage) -> None:
    """The second comes while the first is at it: it leaves, and does nothing twice."""
    first, second = stage.controller(), stage.controller(ledger=stage.open())
    first.tick()
    stage.clock.go(hours=2)
    seen = []

    def meanwhile(order):
        seen.append(second.tick())
        return Outcome(rows.DONE, "", 0, "1")

    stage.runner.outcomes.append(meanwhile)
    assert len(first.tick().rows) == 1
    (look,) = seen
    assert look == Look(
        waits_for="slot 2026-11-26T03:00:00+00:00 is being worked on", is_soon=True
    )
    assert second.tick() == Look()
    assert len(stage.runner.orders) == 1
    assert stage.states() == [("2026-11-26T03:00:00+00:00", rows.DONE)]


class Killed(BaseException):
    """kill -9, as far as one process can play it."""


def test_a_kill_in_the_midst_goes_on_with_its_span(stage) -> None:
    dying = stage.open()
    first = stage.controller(ledger=dying)
    first.tick()
    stage.clock.go(hours=2)
    stage.runner.outcomes.append(Killed())
    with pytest.raises(Killed):
        first.tick()
    dying.close()
    stage.source.spans.append(2)
    stage.clock.go(minutes=1)
    (row,) = stage.controller(ledger=stage.open()).tick().rows
    assert (row.state, row.attempts, row.span) == (rows.DONE, 2, 1)
    assert stage.runner.orders == [{"data.span": "1"}] * 2
    assert row.runs == "2026-11-26_0300_run-1 2026-11-26_0300_run-2"


def test_what_an_error_left_is_taken_up_first(stage) -> None:
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    stage.runner.outcomes.append(MemoryError("no memory"))
    with pytest.raises(MemoryError):
        controller.tick()
    # Slots that are older by a clock that was wrong have to wait.
    slots = [f"2026-11-{day}T03:00:00+00:00" for day in (25, 24)]
    stage.ledger.plan([Row("cats", slot, rows.CRON) for slot in slots], START)
    looked = controller.tick().rows
    assert [(row.slot[8:10], row.attempts) for row in looked] == [
        *(("26", 2), ("24", 1), ("25", 1)),
    ]


HOLDS_A_SLOT = """
import pathlib, sys, time
from pipeline.scheduling.controller import Controller
from pipeline.scheduling.cron import Cron
from pipeline.scheduling.data import Data
from pipeline.slots.ledger import Ledger
class Runner:
    def run(self, row, settings, began):
        began("run-a")
        print("held", flush=True)
        time.sleep(600)
ledger = Ledger(pathlib.Path(sys.argv[1]))
Controller("cats", "s", ledger, Runner(), lambda *_: Data("span 1", "1", "span 1", 1)).tick()
"""


@pytest.mark.parametrize("has_namespace", [False, True])
def test_a_killed_scheduler_is_known_at_once(stage, has_namespace: bool) -> None:
    """Also one in a container, where every scheduler is process 1."""
    prefix = ["unshare", "--pid", "--fork", "--kill-child"] if has_namespace else []
    if has_namespace and subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this user may make no namespaces of process numbers")
    command = [*prefix, sys.executable, "-c", HOLDS_A_SLOT, str(stage.root / FILE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        controller = stage.controller(None)
        look = controller.tick()
        assert look.waits_for == "slot span 1 is being worked on" and look.is_soon
        (row,) = stage.ledger.history()
        assert row.owner.startswith("process 1 on ") or not has_namespace
        holder.kill()
        holder.wait()
        end = time.monotonic() + 60
        while not (done := controller.tick().rows) and time.monotonic() < end:
            pass
    assert [(row.state, row.attempts) for row in done] == [(rows.DONE, 2)]


def test_a_run_that_ended_before_the_kill_is_not_run_again(stage) -> None:
    first = stage.controller()
    first.tick()
    stage.clock.go(hours=2)

    def die(names):
        raise Killed

    dying = stage.open()
    with pytest.raises(Killed):
        stage.controller(prune=die, ledger=dying).tick()
    dying.close()
    (row,) = first.tick().rows
    assert (row.state, row.attempts, row.pushed_version) == (rows.DONE, 2, "1")
    assert len(stage.runner.orders) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_a_scheduler_that_is_stopped_leaves_its_slot_planned(stage, error) -> None:
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    stage.runner.outcomes.append(error)
    with pytest.raises(type(error)):
        controller.tick()
    (row,) = stage.ledger.history()
    assert (row.state, row.reason, row.attempts) == (
        rows.PLANNED,
        "stopped; the next look resumes it",
        0,
    )
    assert [row.state for row in controller.tick().rows] == [rows.DONE]


def test_a_run_that_is_interrupted_is_ordered_again(stage) -> None:
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    stage.runner.outcomes.append(TryAgain("the run was interrupted"))
    look = controller.tick()
    assert look.waits_for == "the run was interrupted" and look.is_soon
    assert [row.state for row in controller.tick().rows] == [rows.DONE]


def test_data_on_their_way_are_waited_for(stage) -> None:
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    stage.source.error = TryAgain("span 1 was written to 3 s ago")
    look = controller.tick()
    assert look.waits_for == "span 1 was written to 3 s ago"
    soon = stage.clock.now() + datetime.timedelta(seconds=60)
    assert controller.next_look(look, 300) == soon
    stage.source.error = None
    assert [row.state for row in controller.tick().rows] == [rows.DONE]


def test_no_data_at_all_fail_the_slot(stage) -> None:
    stage.source.spans.clear()
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    (row,) = controller.tick().rows
    assert (row.state, row.exit_code) == (rows.FAILED, 4)
    assert row.reason == "no span matches cats/{SPAN}"


def test_force_trains_what_is_nothing_new(stage) -> None:
    stage.controller().tick()
    stage.clock.go(hours=2)
    stage.controller().tick()
    stage.clock.go(minutes=5)
    (row,) = stage.controller(is_forced=True).tick().rows
    assert (row.slot, row.state) == ("2026-11-26T03:05:00+00:00 forced", rows.DONE)
    assert len(stage.runner.orders) == 2
    # The slots of the expression go on as if nothing had been.
    stage.clock.go(days=1)
    assert [row.state for row in stage.controller().tick().rows] == [rows.SKIPPED]


def test_a_look_by_a_timer_takes_the_slot_that_woke_it(stage) -> None:
    stage.clock.go(hours=2, seconds=1)
    assert stage.controller().due() == ()
    (row,) = stage.controller(looks_back=True, grace_seconds=60).tick().rows
    assert row.state == rows.DONE


def test_every_new_span(stage) -> None:
    controller = stage.controller(None)
    (row,) = controller.tick().rows
    assert (row.slot, row.kind, row.state) == ("span 1", rows.SPAN, rows.DONE)
    assert controller.tick() == Look()
    stage.source.spans += [
        2,
        3,
    ]  # two at once: the newest has all that the window holds
    (row,) = controller.tick().rows
    assert (row.slot, row.state) == ("span 3", rows.DONE)
    later = stage.clock.now() + datetime.timedelta(seconds=300)
    assert controller.next_look(Look(), 300) == later


def test_a_new_span_that_fails_is_tried_three_times(stage) -> None:
    stage.runner.outcomes = [Outcome(rows.FAILED, "no space left", 1)] * 9
    for _ in range(5):
        stage.controller(None).tick()
    assert len(stage.runner.orders) == 3
    (row,) = stage.ledger.history()
    assert (row.state, row.attempts) == (rows.FAILED, 3)


def test_what_is_due_is_told_without_a_write(stage) -> None:
    stage.runner.outcomes.append(Outcome(rows.FAILED, "no space left", 1))
    stage.controller(None).tick()
    read_only = Ledger(stage.root / FILE, is_read_only=True)
    (new,) = stage.controller(None, ledger=read_only).due()
    assert new.slot == "span 1"
    assert stage.ledger.history()[0].state == rows.FAILED


def test_slots_that_come_during_a_long_run(stage) -> None:
    controller = stage.controller("0 * * * *")
    controller.tick()

    def take_long(order):
        stage.clock.go(hours=3)
        return Outcome(rows.DONE, "", 0, "1")

    stage.runner.outcomes.append(take_long)
    stage.clock.go(hours=1)
    controller.tick()
    stage.source.spans.append(2)
    controller.tick()
    assert [state for _, state in stage.states()] == [
        "done",
        "missed",
        "missed",
        "done",
    ]


def test_before_the_first_span_there_is_nothing_to_do(stage) -> None:
    stage.source.spans.clear()
    look = stage.controller(None).tick()
    assert look.waits_for == "no span matches cats/{SPAN}" and not look.is_soon
    assert isinstance(look.fault, DataError)
    assert stage.states() == []


def test_a_span_that_waited_gives_way_to_a_newer_one(stage) -> None:
    controller = stage.controller(None)
    stage.runner.is_busy = True
    assert controller.tick().waits_for == "another run is in progress"
    stage.source.spans.append(2)
    stage.runner.is_busy = False
    controller.tick()
    assert stage.states() == [("span 1", rows.SKIPPED), ("span 2", rows.DONE)]
    assert stage.reasons()[0] == "span 2 came in the meantime"


def test_what_is_wrong_with_a_pattern_ends_the_look(stage) -> None:
    stage.source.error = ConfigError("cannot read the pattern {SPAN}{SPAN}")
    with pytest.raises(ConfigError, match="cannot read the pattern"):
        stage.controller(None).tick()


def test_who_could_not_be_told_is_written_down(stage) -> None:
    hooks = {"push": ["false"], "failure": ["true"], "refusal": ["true"]}
    stage.controller().tick()
    stage.clock.go(hours=2)
    (row,) = stage.controller(targets=hooks).tick().rows
    assert row.state == rows.DONE
    (found,) = stage.ledger.history()
    (notice,) = json.loads(found.notices)
    assert notice == {
        "event": "push",
        "target": "false",
        "error": "exit code 1",
        "time": row.finished,
    }


def test_what_cannot_be_tidied_up_fails_no_run(stage) -> None:
    def fail(names):
        raise OSError("no such device")

    stage.controller().tick()
    stage.clock.go(hours=2)
    (row,) = stage.controller(prune=fail).tick().rows
    assert row.state == rows.DONE


def test_the_next_look_is_at_the_next_slot(stage) -> None:
    controller = stage.controller()
    look = controller.tick()
    slot = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)
    assert controller.next_look(look, 300) == slot
    # A slot that came while the one before was run is not slept over.
    stage.clock.set(slot)

    def take_long(order):
        stage.clock.go(hours=25)
        return Outcome(rows.DONE, "", 0, "1")

    stage.runner.outcomes.append(take_long)
    look = controller.tick()
    assert controller.next_look(look, 300) == stage.clock.now()


def test_a_data_error_is_one_line(stage) -> None:
    stage.source.error = DataError("cannot read /images", found="permission denied")
    controller = stage.controller()
    controller.tick()
    stage.clock.go(hours=2)
    (row,) = controller.tick().rows
    assert row.reason == "cannot read /images: permission denied"


def test_a_slot_that_kills_its_schedulers_is_given_up_and_told(stage) -> None:
    told = stage.root / "told"
    hooks = {"failure": [f"touch {told}"]}
    stage.controller().tick()
    stage.clock.go(hours=2)
    for _ in range(MAX_ATTEMPTS):
        dying = stage.open()
        stage.runner.outcomes.append(Killed())
        with pytest.raises(Killed):
            stage.controller(ledger=dying).tick()
        dying.close()
        assert not told.exists()
    (row,) = stage.controller(targets=hooks).tick().rows
    assert (row.state, row.exit_code) == (rows.FAILED, 1)
    assert row.reason.startswith("given up after 5 attempts: process ")
    assert row.reason.endswith(" died during the last attempt")
    assert len(stage.runner.orders) == MAX_ATTEMPTS and told.exists()


def test_two_data_sets_of_one_experiment_are_two_schedules(stage) -> None:
    """Their slots have the same names; the second trains while the first does."""
    seen = []

    def meanwhile(settings):
        seen.append(stage.controller(None, ledger=stage.open(), pipeline="b").tick())
        return Outcome(rows.DONE, "", 0, "1")

    stage.runner.outcomes.append(meanwhile)
    stage.controller(None, pipeline="a").tick()
    assert [row.state for look in seen for row in look.rows] == [rows.DONE]
    assert {(row.pipeline, row.slot) for row in stage.ledger.history()} == {
        ("a", "span 1"),
        ("b", "span 1"),
    }


@pytest.mark.parametrize(("keep_runs", "pruned"), [(0, []), (2, ["1", "1 2"])])
def test_so_many_runs_are_kept(stage, keep_runs: int, pruned: list[str]) -> None:
    """What the first one leaves is asked for again; that of a dead attempt goes, too."""
    asked = []

    def prune(names):
        asked.append(" ".join(sorted(name[-1] for name in names)))
        return names if len(asked) > 3 else ()

    controller = stage.controller(None, keep_runs=keep_runs, prune=prune)
    for span in (2, 3, 4):
        controller.tick()
        stage.clock.go(days=1)
        stage.source.spans.append(span)
    controller.tick()
    assert [names for names in asked if names] == pruned
    assert [row.is_pruned for row in stage.ledger.history()] == [
        *[bool(keep_runs)] * 2,
        *(False, False),
    ]


def test_a_look_is_as_quick_after_many_years(stage) -> None:
    """In steps of SQLite's machine: a night among 100 rows and one among 10,000."""
    steps = []
    controller = stage.controller(keep_runs=2, settings_key="x")
    controller.tick()
    stage.ledger._database.set_progress_handler(lambda: steps.append(1), 50)
    counts = []
    for first, last in ((0, 100), (100, 10_000)):
        moments = [START - datetime.timedelta(days=day) for day in range(first, last)]
        old = [
            Row(
                *("cats", moment.isoformat(), rows.CRON, rows.DONE),
                runs="old",
                is_pruned=True,
                finished=moment.isoformat(),
            )
            for moment in moments
        ]
        stage.ledger.plan(old, START - datetime.timedelta(days=9))
        steps.clear()
        stage.clock.go(days=1)
        assert [row.state for row in controller.tick().rows] == [rows.DONE]
        counts.append(len(steps))
        stage.source.spans.append(len(counts) + 1)
    assert counts[1] < counts[0] + 10
