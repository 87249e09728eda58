"""Slots of a schedule on Kubeflow: one run each, whatever the server begins."""

import json
import logging
import pathlib
import subprocess
import sys

import pytest

from common.errors import ConfigError, SlimlineError
from pipeline.kubeflow import entrypoint, slots
from pipeline.kubeflow.slots import Slot
from pipeline.slots import rows
from pipeline.slots.ledger import Ledger

MOMENT = "2026-11-26T03:00:00+00:00"


@pytest.fixture
def serving(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "serving"


@pytest.fixture
def slot(serving: pathlib.Path):
    """Function (run) -> the slot as that run sees it."""
    return lambda run: Slot("nightly", MOMENT, run, serving / "schedule.sqlite")


def executor_input(text: str, serving: pathlib.Path) -> dict:
    """What a task gets that looks after the slot."""
    return {
        "inputs": {
            "parameterValues": {
                "slot": text,
                "slot_model_folder": str(serving / "cats"),
                "schema_pbtxt": "feature {}",
            }
        },
        "outputs": {"outputFile": "none", "artifacts": {}},
    }


def pushed(**metadata) -> dict:
    """What a push writes for the launcher."""
    artifact = {"uri": "minio://x", "metadata": metadata}
    return {"artifacts": {"pushed_model": {"artifacts": [artifact]}}}


def row_of(slot: Slot) -> rows.Row:
    ledger = Ledger(slot.file, is_read_only=True)
    (row,) = ledger.history()
    ledger.close()
    return row


def test_the_task_is_given_its_parameters_without_the_slot(
    slot, serving: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_RUN_ID", "run-1")
    given = executor_input("20261126030000 nightly", serving)
    assert slots.taken_from(given) == slot("run-1")
    assert given["inputs"]["parameterValues"] == {"schema_pbtxt": "feature {}"}
    spaced = executor_input("20261126030000 every night", serving)
    assert slots.taken_from(spaced).schedule == "every night"
    assert slots.taken_from({"inputs": {}, "outputs": {}}) is None


@pytest.mark.parametrize(
    ("text", "run", "said"),
    [
        ("", "run-1", []),
        (
            "[[ScheduledTime]] nightly",
            "run-1",
            ["no slot is claimed: the server has not filled in [[ScheduledTime]]"],
        ),
        (
            "20261126030000 nightly",
            "",
            ["no slot is claimed: SLIMLINE_KUBEFLOW_RUN_ID does not name the run"],
        ),
    ],
)
def test_runs_without_a_slot(text, run, said, serving, monkeypatch, caplog) -> None:
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_RUN_ID", run)
    given = executor_input(text, serving)
    with caplog.at_level(logging.WARNING, "slimline.kubeflow"):
        assert slots.taken_from(given) is None
    assert caplog.messages == said
    assert given["inputs"]["parameterValues"] == {"schema_pbtxt": "feature {}"}


@pytest.mark.parametrize(
    "text",
    [
        "20261126030000",
        "20261126030000 ",
        "20261326030000 nightly",
        "2026112603000 nightly",
        "tonight",
    ],
)
def test_a_slot_that_is_none(text, serving, monkeypatch) -> None:
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_RUN_ID", "run-1")
    with pytest.raises(ConfigError) as caught:
        slots.taken_from(executor_input(text, serving))
    assert caught.value.message == "parameter 'slot' is no time and schedule"
    assert caught.value.found == text
    assert "'20261126030000 nightly'" in caught.value.expected


def test_the_first_run_has_the_slot_and_may_try_again(slot) -> None:
    slots.claim(slot("run-1"))
    slots.claim(slot("run-1"))
    row = row_of(slot("run-1"))
    assert (row.pipeline, row.slot, row.kind) == (
        "kubeflow/nightly",
        MOMENT,
        "kubeflow",
    )
    assert (row.state, row.run, row.attempts) == (rows.RUNNING, "run-1", 1)
    assert row.reason == slots.OPEN


def test_a_second_run_ends_with_one_sentence(slot) -> None:
    slots.claim(slot("run-1"))
    with pytest.raises(SlimlineError) as caught:
        slots.claim(slot("run-2"))
    assert str(caught.value) == (
        f"slot {MOMENT} of schedule 'nightly' belongs to run run-1, so run run-2 ends here"
    )
    # The next night, and another schedule of the same night, are others.
    first = slot("run-2")
    slots.claim(Slot("nightly", "2026-11-27T03:00:00+00:00", "run-2", first.file))
    slots.claim(Slot("other", MOMENT, "run-3", first.file))


@pytest.mark.parametrize(
    ("metadata", "state", "version"),
    [
        ({"pushed": 1, "pushed_version": "1795674132"}, rows.DONE, "1795674132"),
        ({"pushed": 0}, rows.REFUSED, None),
    ],
)
def test_the_push_settles_the_slot(slot, metadata, state, version) -> None:
    slots.claim(slot("run-1"))
    slots.settle(slot("run-1"), pushed(**metadata))
    row = row_of(slot("run-1"))
    assert (row.state, row.pushed_version, row.run) == (state, version, "run-1")
    assert row.reason == ("" if version else slots.REFUSED)
    assert row.finished is not None
    # Neither a push that is tried again nor another run changes it.
    slots.settle(slot("run-1"), pushed(pushed_version="2"))
    slots.settle(slot("run-2"), pushed(pushed_version="2"))
    assert row_of(slot("run-1")) == row
    with pytest.raises(SlimlineError, match="belongs to run run-1"):
        slots.claim(slot("run-2"))


def test_a_ledger_that_breaks_undoes_no_push(slot, caplog) -> None:
    slots.claim(slot("run-1"))
    slot("run-1").file.write_bytes(b"no database, for a long time" * 100)
    with caplog.at_level(logging.WARNING, "slimline.kubeflow"):
        slots.settle(slot("run-1"), pushed(pushed_version="2"))
    (message,) = caplog.messages
    assert message.startswith(f"slot {MOMENT} stays open in the ledger: cannot use the")


def test_a_second_run_ends_before_anything_is_loaded(
    slot, serving: pathlib.Path
) -> None:
    """As the container starts it: code 1, one line, and TFX was not even imported."""
    slots.claim(slot("run-1"))
    given = executor_input("20261126030000 nightly", serving)
    program = (
        "import sys; from pipeline.kubeflow import entrypoint\n"
        "try: entrypoint.main(sys.argv[1:])\n"
        "finally: print(sorted({'tfx', 'tensorflow', 'apache_beam'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "--executor_class_path", "none.None"),
            *("--json_serialized_invocation_args", json.dumps(given)),
        ],
        cwd=pathlib.Path(entrypoint.__file__).parents[2],
        env={"SLIMLINE_KUBEFLOW_RUN_ID": "run-2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr == (
        f"error: slot {MOMENT} of schedule 'nightly' belongs to run run-1,"
        " so run run-2 ends here\n"
    )
