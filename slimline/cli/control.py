"""slimline control: steers a training while it runs."""

import pathlib
import time
from typing import Any

import click

from pipeline.runs import runs
from slimline import errors
from slimline.terminal import options, output
from trainer import control
from trainer.control import Instruction

# A training looks between its steps, which take seconds for the largest nets.
WAIT_SECONDS = 20.0
# An instruction for a step that is over is refused at once.
REFUSAL_SECONDS = 2.0
LOOK_SECONDS = 0.1


@click.command(short_help="Steer a training while it runs.")
@options.run_argument
@click.option("--rate", type=float, help="Learning rate from now on, until --release.")
@click.option("--rate-factor", type=float, help="Factor on the rate from now on.")
@options.flag("--release", help="Return to the rate of the schedule, factor 1.")
@options.flag("--save", help="Write a checkpoint.")
@options.flag("--stop", help="Evaluate, keep the best weights, end the training.")
@click.option(
    "--at-step", type=click.IntRange(min=0), help="Do it at this step instead of now."
)
@options.root_option
@options.output_options
def command(
    run_name: str, at_step: int | None, root: pathlib.Path, **actions: Any
) -> output.Result:
    """Steer the training of RUN, the newest by default.

    The run's log and its actions.csv record what was done; docs/training.md describes the
    files that this command writes.
    """
    instruction = Instruction(**control.given({**actions, "at_step": at_step}))
    if not instruction.actions():
        raise click.UsageError(
            "give --rate, --rate-factor, --release, --save or --stop"
        )
    control.check(instruction)
    folder = _training_folder(runs.find(root, run_name))
    file = control.write(folder, instruction)
    taken = instruction.actions()
    words = ", ".join(f"{name} {value}" for name, value in taken.items())
    state = _wait(file, folder, at_step)
    beginning = "done" if state == "taken" else f"waits for step {at_step}"
    document = {"state": state, "actions": taken, "at_step": at_step}
    return output.Result(f"{beginning}: {words}", document)


def _training_folder(run_folder: pathlib.Path) -> pathlib.Path:
    """Where the Trainer of a run works.

    Raises:
      ConfigError: the run has not begun to train, or has finished.
    """
    note = run_folder / runs.TRAINING_FOLDER_FILE
    if not note.exists():
        raise errors.ConfigError(
            f"run '{run_folder.name}' has not begun to train",
            tip="its training may also have come from the cache",
        )
    folder = pathlib.Path(note.read_text(encoding="utf-8").strip())
    if not folder.is_dir():
        raise errors.ConfigError(f"the training of run '{run_folder.name}' is over")
    return folder


def _wait(file: pathlib.Path, folder: pathlib.Path, at_step: int | None) -> str:
    """Waits until the training has taken the file: 'taken', or 'waiting' for its step.

    Raises:
      ConfigError: the training refuses it, or does not read it.
    """
    seconds = WAIT_SECONDS if at_step is None else REFUSAL_SECONDS
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reason := control.refusal(file):
            raise errors.ConfigError(f"the training refuses: {reason}")
        if not file.exists():
            return "taken"
        time.sleep(LOOK_SECONDS)
    if at_step is not None:
        return "waiting"
    file.unlink(missing_ok=True)
    raise errors.ConfigError(
        f"no training reads {folder.name}: the instruction is withdrawn",
        tip="was the run killed? the same slimline run resumes from its checkpoint",
    )
