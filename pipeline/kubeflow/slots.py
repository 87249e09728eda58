"""Slots of a schedule on Kubeflow: the first run to come claims one, a second one ends.

The server may begin two runs for one slot (kubeflow/pipelines, pull requests 12863 and
13440). A schedule of ours therefore hands each run the time that it was due, as the
parameter `slot`; first and last task look it up in the ledger before they do anything else.
No TFX here: a run that ends shall end at once.

How the server fills in the time (kubeflow/pipelines): `[[ScheduledTime]]` becomes UTC as
20261126030000 (backend/src/common/util/parameter_formatter.go) where each run is made from
what the server keeps (backend/src/apiserver/template/scheduled_parameter_test.go). A
schedule that holds the pipeline is compiled once, and the text arrives as it was sent (issue
12494). Such runs are called after the schedule and their number in it, and Kubernetes gives
a name out once (backend/src/crd/controller/scheduledworkflow/controller.go,
submitNewWorkflowIfNotAlreadySubmitted): no slot is claimed then.
"""

import contextlib
import dataclasses
import datetime
import logging
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from common.errors import ConfigError, SlimlineError
from pipeline.slots import ledger, rows
from pipeline.slots.clock import Clock, in_words
from pipeline.slots.ledger import Ledger

# Parameter of a run: when it was due, and for which schedule; '' claims nothing.
SLOT = "slot"
# Under this name the tasks get the folder of the model, in whose parent the ledger lies.
FOLDER = "slot_model_folder"
MACRO = "[[ScheduledTime]]"
# The run's id reaches the containers as a label of their pods, for a parameter would keep
# them from ever being found in the cache.
RUN_VARIABLE = "SLIMLINE_KUBEFLOW_RUN_ID"
RUN_FIELD = "metadata.labels['pipeline/runid']"
# Goes before the schedule's name: `slimline schedule` names its rows after experiments.
PREFIX = "kubeflow/"
PUSHED_MODEL = "pushed_model"
OPEN = "no push yet; stays so if the run ends before its push"
REFUSED = "no push: the artifacts of evaluate and infra hold the verdicts"

_TEXT = re.compile(r"(\d{14}) (.+)")
_LOGGER = logging.getLogger("slimline.kubeflow")


@dataclasses.dataclass(frozen=True)
class Slot:
    """What a run is for.

    Attributes:
      schedule: name of the schedule.
      moment: when the run was due, UTC in ISO 8601.
      run: id of the run.
      file: the ledger.
    """

    schedule: str
    moment: str
    run: str
    file: pathlib.Path


def to_send(schedule: str) -> str:
    """Value of the parameter in a schedule of that name."""
    return f"{MACRO} {schedule}"


def ledger_file(model_folder: str) -> pathlib.Path:
    """The ledger beside a model's folder: the volume of the models outlives runs."""
    return pathlib.Path(model_folder).parent / ledger.FILE


def taken_from(executor_input: dict[str, Any]) -> Slot | None:
    """Takes the slot out of a task's parameters, which TFX does not know.

    Returns:
      The slot; None where the run has none, or the server does not say what is needed.

    Raises:
      ConfigError: the parameter is no time and name.
    """
    values = executor_input.get("inputs", {}).get("parameterValues", {})
    text, folder = values.pop(SLOT, ""), values.pop(FOLDER, "")
    if not text:
        return None
    if text.startswith(MACRO):
        _LOGGER.warning("no slot is claimed: the server has not filled in %s", MACRO)
        return None
    run = os.environ.get(RUN_VARIABLE, "")
    if not run:
        _LOGGER.warning("no slot is claimed: %s does not name the run", RUN_VARIABLE)
        return None
    moment, schedule = _read(text)
    return Slot(schedule, in_words(moment), run, ledger_file(folder))


def claim(slot: Slot) -> None:
    """Takes a slot for its run, or finds that the run has it: a task may be tried again.

    Raises:
      SlimlineError: another run has it.
      ConfigError: the ledger cannot be used.
    """
    with _opened(slot) as opened:
        now = Clock().now()
        taken = rows.Row(
            PREFIX + slot.schedule,
            slot.moment,
            rows.KUBEFLOW,
            rows.RUNNING,
            OPEN,
            attempts=1,
            runs=slot.run,
            started=in_words(now),
            owner=slot.run,
        )
        # Whether such a run lives cannot be told from here, so the slot stays its own.
        opened.plan([taken], now)
        row = opened.find(taken.pipeline, taken.slot)
    if row is not None and row.run != slot.run:
        raise SlimlineError(
            f"slot {slot.moment} of schedule '{slot.schedule}' belongs to run {row.run},"
            f" so run {slot.run} ends here"
        )


def settle(slot: Slot, output: dict[str, Any]) -> None:
    """Records the result of a slot once its run has pushed, or has been refused.

    What is pushed is live: a ledger that cannot be written to is a warning.

    Args:
      slot: of the run.
      output: what the push wrote for the launcher.
    """
    (artifact,) = output["artifacts"][PUSHED_MODEL]["artifacts"]
    version = artifact.get("metadata", {}).get("pushed_version") or None
    state, reason = (rows.DONE, "") if version else (rows.REFUSED, REFUSED)
    try:
        with _opened(slot) as opened:
            row = opened.find(PREFIX + slot.schedule, slot.moment)
            if row and row.run == slot.run and row.state == rows.RUNNING:
                opened.update(
                    row,
                    state=state,
                    reason=reason,
                    finished=in_words(Clock().now()),
                    pushed_version=version,
                )
    except SlimlineError as error:
        _LOGGER.warning("slot %s stays open in the ledger: %s", slot.moment, error)


def _read(text: str) -> tuple[datetime.datetime, str]:
    """Time and schedule of a parameter."""
    match = _TEXT.fullmatch(text)
    with contextlib.suppress(ValueError):
        if match:
            moment = datetime.datetime.strptime(match[1], "%Y%m%d%H%M%S")
            return moment.replace(tzinfo=datetime.UTC), match[2]
    raise ConfigError(
        f"parameter '{SLOT}' is no time and schedule",
        found=text,
        expected=f"as in '20261126030000 nightly', or '{to_send('nightly')}' in a schedule",
    )


@contextlib.contextmanager
def _opened(slot: Slot) -> Iterator[Ledger]:
    opened = Ledger(slot.file)
    try:
        yield opened
    finally:
        opened.close()
