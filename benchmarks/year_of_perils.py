"""A year of nights in which data, disk and processes fail, without any training.

Classes come, go and are renamed, spans do not come or come empty, links break, the disk
fills and the scheduler is killed before and after its transactions. Schedule, ledger, data
source, gate, publishing and versions are the real ones; a model is its labels and how many
test images of each class it knows, drawn again every night. A person accepts changed classes
every other time that the gate asks. Whether what goes live may is judged once more apart
from the gate, by class names. The same seed gives the same year.
"""

import argparse
import collections
import dataclasses
import datetime
import errno
import functools
import json
import logging
import os
import pathlib
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from nightly_clock import FIRST, NightlyClock

from common.errors import ConfigError
from components.model_evaluator import classes, gate, predictions, verdict
from components.model_pusher.publishing import publish
from pipeline import evaluation, experiments
from pipeline.scheduling import controller, data
from pipeline.scheduling.cron import Cron
from pipeline.slots import clock, ledger, rows
from pushed_models import models_config, versions

BY_NAME = "name"
# As an evaluation does that knows classes by their number only: to show that it is found.
BY_NUMBER = "number"
IMAGES = 4
TEST_IMAGES = 50
LIMITS = evaluation.limits(experiments.folder().evaluation)
KILL_ODDS = 50
# Looks of a night until it is given up: a CronJob's retries, and the looks after them.
LOOKS = 40
NAMES = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay")
# What may happen in a night, and how often beside each other.
EVENTS = {
    "plain": 10,
    "added": 3,
    "removed": 3,
    "renamed": 2,
    "replaced": 1,
    "no span": 3,
    "empty span": 2,
    "broken links": 2,
    "class gone": 2,
    "being written": 2,
}
_MODEL_FILE = "model.json"


class Killed(BaseException):
    """kill -9, as far as one process can play it."""


class Perils:
    """Kills whoever asks, now and then."""

    def __init__(self, drawn: random.Random):
        self.kills = 0
        self._drawn = drawn

    def maybe(self) -> None:
        """Lets the process die, or not."""
        if self._drawn.randrange(KILL_ODDS) == 0:
            self.kills += 1
            raise Killed


class PerilousLedger(ledger.Ledger):
    """Its process may die right before and right after each transaction."""

    perils: Perils

    def write(self, statement: str, *rows: Sequence[Any]) -> int:
        """See base class."""
        self.perils.maybe()
        count = super().write(statement, *rows)
        self.perils.maybe()
        return count


class World:
    """Where spans come from, and what happens to them.

    Attributes:
      events: how often what happened.
    """

    def __init__(self, folder: pathlib.Path, drawn: random.Random):
        self.events: collections.Counter[str] = collections.Counter()
        self._folder = folder
        self._drawn = drawn
        self._classes = list(NAMES[:4])

    def night(self, number: int, now: datetime.datetime) -> None:
        """Lets a span come, or something in its stead."""
        (event,) = self._drawn.choices(list(EVENTS), list(EVENTS.values()))
        self.events[event] += 1
        if event == "no span":
            return
        self._change(event)
        place = self._folder / str(number)
        place.mkdir(parents=True)
        for name in () if event == "empty span" else self._classes:
            (place / name).mkdir()
            for image in range(IMAGES):
                path = place / name / f"{image}.png"
                is_broken = event == "broken links" and image == 0
                is_gone = event == "class gone" and name == self._classes[0]
                if is_broken or is_gone:
                    path.symlink_to(self._folder / "nowhere")
                else:
                    path.write_text(f"{number} {name}")
        seconds = now.timestamp() - (5 if event == "being written" else 3600)
        for path in (place, *place.rglob("*")):
            os.utime(path, (seconds, seconds), follow_symlinks=False)

    def _change(self, event: str) -> None:
        others = [name for name in NAMES if name not in self._classes]
        if event == "added" and others:
            self._classes.append(self._drawn.choice(others))
        elif event == "removed" and len(self._classes) > 2:
            self._classes.remove(self._drawn.choice(self._classes))
        elif event == "renamed" and others:
            index = self._drawn.randrange(len(self._classes))
            self._classes[index] = self._drawn.choice(others)
        elif event == "replaced":
            self._classes = self._drawn.sample(others, min(3, len(others)))


class Training:
    """A runner of schedules (`CommandRunner`) that draws models.

    Attributes:
      accepts: whether a person accepts other classes than those of the live model.
      is_asking: whether the last model was refused because nobody had.
    """

    def __init__(
        self,
        images: pathlib.Path,
        model_folder: pathlib.Path,
        drawn: random.Random,
        perils: Perils,
        compares_by: str,
    ):
        self._images = images
        self._folder = model_folder
        self._drawn = drawn
        self._perils = perils
        self._compares_by = compares_by
        self._results: dict[int, rows.Outcome] = {}
        self.accepts = self.is_asking = False

    def run(
        self, row: rows.Row, settings: Mapping[str, str], began: Callable[[str], None]
    ) -> rows.Outcome:
        """Judges the span by its images; may be killed before and after."""
        began(f"run-{row.id}-{row.attempts}")
        self._perils.maybe()
        try:
            outcome = self._train(self._images / settings["data.span"])
        except (OSError, ConfigError) as error:
            reason = f"run failed: {type(error).__name__}: {error}"
            outcome = rows.Outcome(rows.FAILED, reason, 1)
        self._perils.maybe()
        self._results[row.id] = outcome
        return outcome

    def outcome(self, row: rows.Row) -> rows.Outcome | None:
        """The result of a run whose scheduler was killed."""
        return self._results.get(row.id)

    def _train(self, span: pathlib.Path) -> rows.Outcome:
        labels = sorted(path.name for path in span.iterdir())
        if not labels:
            return rows.Outcome(rows.REFUSED, f"no images in span {span.name}", 4)
        for name in labels:
            if not any(path.exists() for path in (span / name).iterdir()):
                reason = f"class '{name}' has no image that can be read"
                return rows.Outcome(rows.REFUSED, reason, 4)
        model = {name: self._drawn.randint(40, TEST_IMAGES) for name in labels}
        policy = gate.ALLOW if self.accepts else gate.ASK
        limits = dataclasses.replace(LIMITS, class_changes=policy)
        figures = measured(model, read_live(self._folder), self._compares_by)
        broken = [rule for rule in gate.judge(figures, limits) if not rule.is_kept]
        self.is_asking = "class_changes" in [rule.name for rule in broken]
        if broken:
            sentences = "; ".join(rule.sentence for rule in broken)
            return rows.Outcome(rows.REFUSED, sentences, 3)
        if self._drawn.random() < 0.05:
            raise OSError(errno.ENOSPC, "No space left on device")
        with tempfile.TemporaryDirectory() as made:
            folder = pathlib.Path(made)
            (folder / _MODEL_FILE).write_text(json.dumps(model))
            (folder / versions.SAVED_MODEL_FILE).write_bytes(b"graph")
            version = publish(folder, self._folder)
        return rows.Outcome(rows.DONE, "the stub passed", 0, str(version))


def read_live(folder: pathlib.Path) -> dict[str, int]:
    """The model that is live: class -> images it knows; {} before there is one."""
    version = models_config.live(folder)
    if version is None:
        return {}
    return json.loads((folder / str(version) / _MODEL_FILE).read_text())


def measured(
    model: Mapping[str, int], baseline: Mapping[str, int], compares_by: str
) -> dict[str, Any]:
    """What an evaluation would find, as `verdict.measure` gives it.

    Args:
      model: class -> images of TEST_IMAGES that it knows; always the same come first.
      baseline: of the live model, {} without one.
      compares_by: BY_NAME or BY_NUMBER.
    """
    if compares_by == BY_NUMBER:
        model, baseline = (
            {str(number): known for number, known in enumerate(found.values())}
            for found in (model, baseline)
        )
    changes = classes.changes(list(model), list(baseline))
    rows_of_images = [
        {
            predictions.LABEL: label,
            **_answer("", label, image < model[name]),
            **_answer(predictions.BASELINE_PREFIX, label, image < baseline[name]),
        }
        for label, name in enumerate(changes.shared)
        for image in range(TEST_IMAGES)
    ]
    compared = verdict.compare(pd.DataFrame(rows_of_images), [1], len(baseline))
    return {
        "images": TEST_IMAGES * len(model),
        "metrics": {"top_1": sum(model.values()) / len(model) / TEST_IMAGES},
        "per_class": {
            name: {"recall": known / TEST_IMAGES, "support": TEST_IMAGES}
            for name, known in model.items()
        },
        "baseline_version": "live" if baseline else None,
        "classes": {**dataclasses.asdict(changes), "images": len(rows_of_images)}
        if baseline
        else None,
        **compared,
    }


def _answer(prefix: str, label: int, is_right: bool) -> dict[str, float]:
    return {
        prefix + predictions.PREDICTED: label if is_right else -1,
        prefix + predictions.LABEL_PROBABILITY: 0.9 if is_right else 0.1,
    }


def wrong(
    model: Mapping[str, int], before: Mapping[str, int], is_accepted: bool
) -> str:
    """Why a model must not have replaced the one before, or ''."""
    if not before:
        return ""
    if set(model) != set(before) and not is_accepted:
        return "other classes, which nobody accepted"
    shared = set(model) & set(before)
    lost = sum(before[name] - model[name] for name in shared)
    is_worse = lost > LIMITS.max_top_1_drop * TEST_IMAGES * len(shared)
    return f"{lost} test images fewer are known" if is_worse else ""


@dataclasses.dataclass(frozen=True)
class Year:
    """What a year came to.

    Attributes:
      slots: all rows of the ledger.
      lost: nights without a row that has ended with a reason, or was done.
      wrongly_live: nights after which a model was live that is worse than the one before,
        or cannot be compared with it.
      errors: exceptions, which should have been rows.
      events: what happened how often.
      kills: of the scheduler.
    """

    slots: list[rows.Row]
    lost: list[str]
    wrongly_live: list[str]
    errors: list[str]
    events: Mapping[str, int]
    kills: int

    def summary(self) -> str:
        """Events, states and faults, as text."""
        states = collections.Counter(row.state for row in self.slots)
        lines = [f"{len(self.slots)} nights, {self.kills} kills of the scheduler"]
        for title, counts in (("events", self.events), ("states", states)):
            words = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
            lines.append(f"{title}: {words}")
        for name in ("lost", "wrongly_live", "errors"):
            found = getattr(self, name)
            lines.append(
                f"{name.replace('_', ' ')}: {len(found)} {' '.join(found[:3])}"
            )
        return "\n".join(lines)


def run(
    folder: pathlib.Path, nights: int, *, seed: int, compares_by: str = BY_NAME
) -> Year:
    """Plays a year of nights in a folder."""
    drawn = random.Random(seed)
    perils, time = Perils(drawn), NightlyClock()
    root, images = folder / "runs", folder / "images"
    world = World(images, drawn)
    config = experiments.folder()
    place = dataclasses.replace(config.data, path=str(images / "{SPAN}"))
    config = dataclasses.replace(config, data=place)
    model_folder = root / versions.SERVING_FOLDER / "images"
    training = Training(images, model_folder, drawn, perils, compares_by)
    name = data.identity(config, images / "{SPAN}")
    wrongly_live: list[str] = []
    errors: list[str] = []

    def look() -> bool:
        """Whether the night is over; a scheduler of its own looks each time."""
        opened = None
        try:
            opened = PerilousLedger(root / ledger.FILE)
            opened.perils = perils
            return not (
                controller.Controller(
                    name,
                    "settings",
                    opened,
                    training,
                    functools.partial(data.newest, config, root, 60),
                    time,
                    Cron("0 3 * * *"),
                )
                .tick()
                .is_soon
            )
        except Killed:
            return False
        except Exception as error:
            errors.append(f"{time.now()}: {type(error).__name__}: {error}")
            return True
        finally:
            if opened is not None:
                opened.close()

    images.mkdir(parents=True)
    while not look():
        pass
    for night in range(1, nights + 1):
        before = read_live(model_folder)
        time.sleep(datetime.timedelta(days=1).total_seconds())
        world.night(night, time.now())
        for _ in range(LOOKS):
            if look():
                break
            time.sleep(60)
        after = read_live(model_folder)
        why = wrong(after, before, training.accepts) if after != before else ""
        if why:
            wrongly_live.append(f"night {night}: {why}")
        training.accepts = training.is_asking and drawn.random() < 0.5
        time.sleep(
            (FIRST + night * datetime.timedelta(days=1) - time.now()).total_seconds()
        )
    opened = ledger.Ledger(root / ledger.FILE, is_read_only=True)
    found = opened.history(name)
    opened.close()
    expected = Cron("0 3 * * *").between(FIRST, time.now())
    ended = {
        row.slot
        for row in found
        if row.state in rows.ENDED and (row.reason or row.state == rows.DONE)
    }
    lost = [moment for moment in map(clock.in_words, expected) if moment not in ended]
    return Year(found, lost, wrongly_live, errors, world.events, perils.kills)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays a year and prints what it came to; 1 where a night was lost or a model wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--compares-by", choices=(BY_NAME, BY_NUMBER), default=BY_NAME)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        year = run(
            pathlib.Path(folder),
            options.nights,
            seed=options.seed,
            compares_by=options.compares_by,
        )
    print(year.summary())
    return int(bool(year.lost or year.wrongly_live or year.errors))


if __name__ == "__main__":
    sys.exit(main())
