"""Steers a running training by small files in its `control` folder.

A file holds YAML with the keys of `Instruction`, for example

    rate: 0.01
    at_step: 4000

The training carries it out before update `at_step`, or before the next one, and removes it.
It moves invalid files to `control/refused` with the reason beside them and continues. A rate
holds until `release`. Files are read in the order of their names.
"""

import datetime
import logging
import pathlib
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import yaml
from pydantic import Field

from common.errors import ConfigError, os_errors_as
from storage import durable
from trainer import history
from trainer.config import from_json, setting
from trainer.rates import RateState

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

FOLDER = "control"
REFUSED = "refused"
MAX_BYTES = 4096
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Instruction:
    """Content of one file."""

    rate: Positive | None = setting(None, "learning rate from now on, until released")
    rate_factor: Positive | None = setting(None, "factor on the rate from now on")
    release: bool = setting(False, "take the rate of the schedule again, factor 1")
    save: bool = setting(False, "write a checkpoint now")
    stop: bool = setting(False, "measure, keep the best weights, and end the training")
    at_step: Annotated[int, Field(ge=0)] | None = setting(
        None, "number of updates to wait for; the next one if not given"
    )

    def actions(self) -> dict[str, float | bool]:
        """What to do, by name; empty for nothing."""
        values = given(asdict(self))
        return {name: value for name, value in values.items() if name != "at_step"}


@dataclass
class Control:
    """Carries out the instructions for a training.

    Attributes:
      folder: of the training.
      state: of its rate; instructions change it.
      wants_save: a checkpoint is requested; who writes it clears this.
      wants_stop: the end is requested.
    """

    folder: pathlib.Path
    state: RateState
    wants_save: bool = False
    wants_stop: bool = False
    _repeated: list[tuple[int, str, Instruction]] = field(default_factory=list)

    def resume(self, step: int) -> None:
        """Prepares to repeat the changes of the rate at `step` or later.

        They are not in the checkpoint of `step`, from which the training resumes.
        """
        actions = history.actions(self.folder)
        # A kill may have come between an action and the removal of its file.
        for row in actions.rows():
            name = pathlib.PurePath(row["file"]).name
            (self.folder / FOLDER / name).unlink(missing_ok=True)
        for row in actions.cut(step, keeps_step=False):
            if row["action"] in ("rate", "rate_factor", "release"):
                value = True if row["action"] == "release" else float(row["value"])
                instruction = Instruction(**{row["action"]: value})  # type: ignore[arg-type]
                self._repeated.append((int(row["step"]), row["file"], instruction))

    def poll(self, step: int) -> None:
        """Carries out what is due before the update that follows `step` others."""
        while self._repeated and self._repeated[0][0] <= step:
            _, name, instruction = self._repeated.pop(0)
            self._do(instruction, step, name)
        for path in waiting(self.folder):
            try:
                instruction = read(path)
                if instruction.at_step is not None and instruction.at_step < step:
                    raise ConfigError(
                        f"step {instruction.at_step} is over",
                        found=f"the training is at step {step}",
                    )
            except ConfigError as error:
                _refuse(path, error)
                continue
            if instruction.at_step is None or instruction.at_step == step:
                self._do(instruction, step, path.name)
                # Last: for who wrote the file, its removal means that it is done.
                path.unlink(missing_ok=True)

    def _do(self, instruction: Instruction, step: int, file: str) -> None:
        for name, value in instruction.actions().items():
            match name:
                case "rate":
                    self.state.fixed = float(value)
                case "rate_factor":
                    if self.state.fixed is None:
                        self.state.factor *= float(value)
                    else:
                        self.state.fixed *= float(value)
                case "release":
                    self.state.fixed, self.state.factor = None, 1.0
                case "save":
                    self.wants_save = True
                case "stop":
                    self.wants_stop = True
            _LOGGER.info("by hand at step %d: %s %s", step, name, value)
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            row = {"step": step, "action": name, "value": value, "time": time}
            row["file"] = file
            history.actions(self.folder).append(row)
            _PROGRESS.info("train_steered", extra={"fields": row})


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that ask for something: neither None nor False."""
    return {
        key: value
        for key, value in values.items()
        if value is not None and value is not False
    }


def check(instruction: Instruction) -> None:
    """Raises ConfigError if a value does not fit."""
    from_json(Instruction, given(asdict(instruction)))


def waiting(folder: pathlib.Path) -> list[pathlib.Path]:
    """Files of instructions that a training in `folder` has not read yet."""
    # Hidden ones are still being written.
    return sorted((folder / FOLDER).glob("[!.]*.yaml"))


def read(path: pathlib.Path) -> Instruction:
    """The instruction in a file.

    Raises:
      ConfigError: it is too large, not YAML, has unknown keys or values that do not fit,
        or asks for nothing.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path.name} has more than {MAX_BYTES} bytes")
        values = yaml.safe_load(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path.name} is not readable as YAML") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path.name} holds no 'key: value' lines")
    instruction = from_json(Instruction, values)
    if not instruction.actions():
        raise ConfigError(f"{path.name} asks for nothing")
    return instruction


def write(folder: pathlib.Path, instruction: Instruction) -> pathlib.Path:
    """Writes an instruction for the training in `folder`; returns its file.

    Raises:
      ConfigError: the folder cannot be written to.
    """
    control = folder / FOLDER
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
    path = control / f"{stamp}-{uuid.uuid4().hex[:8]}.yaml"
    with os_errors_as(ConfigError, f"cannot write to {control}"):
        control.mkdir(exist_ok=True)
        durable.write_text(
            path, yaml.safe_dump(given(asdict(instruction)), sort_keys=False)
        )
    return path


def refusal(path: pathlib.Path) -> str:
    """Why the file that `write` returned was refused; '' if it was not."""
    reason = path.parent / REFUSED / f"{path.name}.txt"
    return reason.read_text(encoding="utf-8").strip() if reason.exists() else ""


def _refuse(path: pathlib.Path, error: ConfigError) -> None:
    reason = ": ".join(text for text in (error.message, error.found) if text)
    _LOGGER.warning("instruction %s is ignored: %s", path.name, reason)
    _PROGRESS.info(
        "train_instruction_refused",
        extra={"fields": {"file": path.name, "reason": reason}},
    )
    refused = path.parent / REFUSED
    refused.mkdir(exist_ok=True)
    durable.write_text(refused / f"{path.name}.txt", f"{reason}\n")
    path.replace(refused / path.name)
