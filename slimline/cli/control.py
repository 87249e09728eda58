"""slimline control: steers a training while it runs."""

import pathlib
import time

import click

from pipeline.runs import runs
from slimline import errors
from slimline.terminal import options, output
from trainer import control
from trainer.control import Instruction

# A training looks between its steps; one of the largest nets takes seconds for one.
WAIT_SECONDS = 20.0
# One that waits for its step is refused at once if that is over.
REFUSAL_SECONDS = 2.0
LOOK_SECONDS = 0.1


@click.command(short_help="Steer a training while it runs.")
@click.argument("run", default=runs.LATEST, shell_complete=options.complete_runs)
@click.option("--rate", type=float, help="Learning rate from now on, until --release.")
@click.option("--rate-factor", type=float, help="Factor on the rate from now on.")
@click.option(
    "--release", is_flag=True, help="Take the rate of the schedule again, factor 1."
)
@click.option("--save", is_flag=True, help="Write a checkpoint.")
@click.option(
    "--stop", is_flag=True, help="Measure, keep the best weights, end the training."
)
@click.option(
    "--at-step",
    type=click.IntRange(min=0),
    help="Do it after so many updates instead of now.",
)
@options.root_option
@options.output_options
def command(
    run: str,
    rate: float | None,
    rate_factor: float | None,
    release: bool,
    save: bool,
    stop: bool,
    at_step: int | None,
    root: pathlib.Path,
) -> output.Result:
    """Steer the training of RUN, the newest by default.

    What is done lands in the run's log and in its actions.csv; docs/training.md has the
    files by which this command works.
    """
    wanted = Instruction(
        **control.given(
            {
                "rate": rate,
                "rate_factor": rate_factor,
                "release": release,
                "save": save,
                "stop": stop,
                "at_step": at_step,
            }
        )
    )
    if not wanted.actions():
        raise click.UsageError(
            "give --rate, --rate-factor, --release, --save or --stop"
        )
    control.check(wanted)
    folder = _training_folder(runs.find(root, run))
    file = control.write(folder, wanted)
    said = ", ".join(f"{name} {value}" for name, value in wanted.actions().items())
    state = _wait(file, folder, at_step)
    words = {
        "taken": f"done: {said}",
        "waiting": f"waits for step {at_step}: {said}",
    }
    document = {"state": state, "actions": wanted.actions(), "at_step": at_step}
    return output.Result(words[state], document)


def _training_folder(run_folder: pathlib.Path) -> pathlib.Path:
    """Where the Trainer of a run works.

    Raises:
      ConfigError: the run does not train, or not any more.
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
      ConfigError: it refuses it, or does not look.
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
        f"no training looks into {folder.name}: the instruction is taken back",
        tip="has the run been killed? the same slimline run resumes from its checkpoint",
    )
