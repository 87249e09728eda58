"""Folders of runs: `<root>/<date>_<time>_<two words>/`, made once and never reused.

Beside them in the root lie what runs share: `<identity>/` (TFX artifacts), `serving/`,
`data/` and `metadata.sqlite`. Only names of the pattern above are runs.
"""

import collections
import contextlib
import datetime
import json
import pathlib
import random
import re
from collections.abc import Mapping
from typing import Any

import filelock

from common import run_files
from common.errors import ConfigError, os_errors_as
from pipeline.runs import parts
from storage import durable, locks

CONFIG_FILE = run_files.CONFIG_FILE
LOG_FILE = run_files.LOG_FILE
SUMMARY_FILE = run_files.SUMMARY_FILE
# Names the span that the run reads.
SPAN_FILE = "span"
# Names the folder in which the Trainer of the run works, or worked.
TRAINING_FOLDER_FILE = "training_folder"
# Data contracts: in the root, in the working folder, and beside the root.
SCHEMA_FOLDER = "schema"
# Folders of a sweep's members.
MEMBERS_FOLDER = "members"
# All settings of a member; config.json of the sweep has those that the members share.
MEMBER_SETTINGS_FILE = run_files.MEMBER_SETTINGS_FILE
# TFX finds files by patterns below the root, and Beam cannot escape these characters.
_PATTERN_CHARACTERS = frozenset("[]*?")
LATEST = "latest"
LATEST_PASSED = "latest:passed"
ATTEMPTS = 200

_NAME = re.compile(r"\d{4}-\d{2}-\d{2}_\d{4}_([a-z]+-[a-z]+)")
_ADJECTIVES = (
    "able amber bold brave bright brisk calm clear clever cosy crisp daring eager early"
    " fair fine firm fleet fond frank fresh gentle glad golden grand happy hardy honest"
    " jolly keen kind light lively loyal lucky mellow merry mild modest neat nimble noble"
    " patient plucky polite proud quick quiet rapid ready robust rosy sandy sharp silver"
    " smart snowy solid spry steady still sturdy sunny swift tidy tranquil trusty upbeat"
    " vivid warm wise witty young zesty"
)
_ANIMALS = (
    "badger bat bear beaver bee bison bream buzzard camel carp cat civet cod condor coot"
    " crab crane cricket crow deer dolphin donkey dove duck eagle eel egret elk falcon"
    " ferret finch fox frog gannet gecko gibbon goat goose grouse gull hare hawk hedgehog"
    " heron horse ibex ibis jackal jay kestrel kite koala lark lemur linnet lizard llama"
    " lynx magpie marten mole moose moth mouse newt ocelot orca osprey otter owl panda"
    " perch petrel pigeon pike plover puffin quail rabbit raven robin salmon seal shrew"
    " snail sparrow squid stoat stork swan tapir tern thrush tiger toad trout turtle vole"
    " walrus weasel whale wolf wombat wren yak zebra"
)


def create(
    root: pathlib.Path,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    *,
    group: str = "",
    now: datetime.datetime | None = None,
    words: random.Random | None = None,
) -> pathlib.Path:
    """Creates the folder of a new run under `root` and writes its `config.json`.

    Args:
      root: created where missing.
      values: dotted key -> value.
      origins: dotted key -> where the value came from.
      group: label of runs that belong together, as the tasks of one Airflow run.
      now: UTC, for the name.
      words: chooses the two words; the system's randomness by default, because a seed
        would give every run the same name.

    Raises:
      ConfigError: `root` cannot be written to, or its path is a pattern to TFX.
    """
    if patterns := _PATTERN_CHARACTERS & set(str(root.absolute())):
        raise ConfigError(
            f"the path of the runs holds {' '.join(sorted(patterns))}",
            found=str(root.absolute()),
            expected="a path without [ ] * and ?, which Beam and TFX take for a pattern",
            tip="--root DIR puts runs elsewhere",
        )
    now = now or datetime.datetime.now(datetime.UTC)
    words = words or random.SystemRandom()
    with os_errors_as(
        ConfigError, f"cannot write to {root}", tip="--root DIR puts runs elsewhere"
    ):
        root.mkdir(parents=True, exist_ok=True)
        folder = _make_folder(root, now.strftime("%Y-%m-%d_%H%M"), words)
        record = {
            "created": now.isoformat(),
            **({"group": group} if group else {}),
            "settings": {
                key: {"value": value, "origin": origins.get(key, "")}
                for key, value in sorted(values.items())
            },
        }
        durable.write_text(folder / CONFIG_FILE, json.dumps(record, indent=1) + "\n")
    return folder


def list_runs(root: pathlib.Path) -> list[pathlib.Path]:
    """Folders of all runs under `root`, oldest first."""
    if not root.is_dir():
        return []
    folders = [path for path in root.iterdir() if is_name(path.name) and path.is_dir()]
    in_minute = collections.Counter(_minute(path) for path in folders)

    def began(path: pathlib.Path) -> tuple[str, str, str]:
        # Not by the times of files: a copy, also from an object store, has its own.
        is_alone = in_minute[_minute(path)] == 1
        created = "" if is_alone else str(_record(path).get("created", ""))
        return _minute(path), created, path.name

    return sorted(folders, key=began)


def is_name(name: str) -> bool:
    """Whether it is the name of a run's folder."""
    return bool(_NAME.fullmatch(name))


def find(root: pathlib.Path, wanted: str | pathlib.Path) -> pathlib.Path:
    """The run that `wanted` means.

    Args:
      root: folder of the runs.
      wanted: 'latest', 'latest:passed', a name, its two words, or a prefix of either that
        fits one run only; 'run/member' for a member of a sweep. A `Path` is the folder.

    Raises:
      ConfigError: there is none, or more than one.
    """
    if isinstance(wanted, pathlib.Path):
        if not is_run(wanted):
            raise ConfigError(
                f"{wanted} is not the folder of a run",
                expected=f"one with {CONFIG_FILE}",
            )
        return wanted
    name, _, member = wanted.partition("/")
    if member:
        return _member(find(root, name), member)
    found = list_runs(root)
    if not found:
        raise ConfigError(f"no runs in {root}", tip="slimline run makes one")
    if wanted == LATEST:
        return found[-1]
    if wanted == LATEST_PASSED:
        return _latest_passed(root, found)
    fitting = [path for path in found if wanted in (path.name, two_words(path))]
    if wanted and not fitting:
        fitting = [
            path
            for path in found
            if path.name.startswith(wanted) or two_words(path).startswith(wanted)
        ]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(path.name for path in (fitting or found)[-5:])
    if fitting:
        raise ConfigError(
            f"'{wanted}' fits {len(fitting)} runs in {root}",
            found=names,
            expected="more letters of the name",
        )
    raise ConfigError(
        f"no run '{wanted}' in {root}",
        found=f"{len(found)} runs, the last ones: {names}",
        expected=f"'{LATEST}', '{LATEST_PASSED}', a name, its two words, or a prefix",
    )


def is_run(folder: pathlib.Path) -> bool:
    """Whether a run or a member of a sweep left its files there."""
    files = (CONFIG_FILE, MEMBER_SETTINGS_FILE, SUMMARY_FILE)
    return any((folder / name).is_file() for name in files)


def _member(sweep: pathlib.Path, member: str) -> pathlib.Path:
    folder = sweep / MEMBERS_FOLDER
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if member not in names:
        raise ConfigError(
            f"run '{sweep.name}' has no member '{member}'",
            found=", ".join(names) or "no members: it is not a sweep",
        )
    return folder / member


def two_words(folder: pathlib.Path) -> str:
    """'quick-heron' of '2026-11-22_0201_quick-heron'; other names as they are."""
    match = _NAME.fullmatch(folder.name)
    return match.group(1) if match else folder.name


def read_summary(folder: pathlib.Path) -> dict[str, Any]:
    """The summary of a run, the JSON of `pipeline.runs.summary.Summary`.

    Raises:
      ConfigError: the run did not end, or is a sweep.
    """
    members = folder / MEMBERS_FOLDER
    if members.is_dir():
        raise ConfigError(
            f"run '{folder.name}' is a sweep: its members have summaries, and no model"
            " is pushed",
            found=f"{', '.join(sorted(path.name for path in members.iterdir()))}"
            f" in {members}",
            tip=f"a member is named {two_words(folder)}/MEMBER",
        )
    if part := parts.read(folder):
        raise ConfigError(
            f"run '{folder.name}' has no verdict: it ran {part.part}",
            tip=f"slimline run {part.experiment} goes on: finished components come from"
            " the cache",
        )
    try:
        return json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"run '{folder.name}' has no summary: it failed or was interrupted",
            tip=f"its log: {folder / LOG_FILE}",
        ) from error


def model_folder(folder: pathlib.Path) -> pathlib.Path:
    """The SavedModel of a finished run: the version that it pushed, else the trained one.

    Raises:
      ConfigError: the run did not end, or its model is gone.
    """
    summary = read_summary(folder)
    if summary["pushed_path"]:
        return pathlib.Path(summary["pushed_path"])
    uris = summary.get("artifacts", {}).get("train", {}).get("model", ())
    for uri in uris:
        trained = pathlib.Path(uri) / run_files.SERVED_FOLDER
        if trained.is_dir():
            return trained
    raise ConfigError(
        f"run '{folder.name}' pushed no model, and the one it trained is gone",
        found=", ".join(uris),
    )


def group_of(folder: pathlib.Path) -> str:
    """Label of a run; '' for none."""
    return str(_record(folder).get("group", ""))


def note_span(folder: pathlib.Path, span: int) -> None:
    """Writes which span a run reads."""
    durable.write_text(folder / SPAN_FILE, f"{span}\n")


def span_of_group(root: pathlib.Path, group: str, experiment: str) -> int | None:
    """The span that an experiment's runs with this label read; None where none did."""
    for folder in reversed(list_runs(root)):
        record = _record(folder)
        name = record.get("settings", {}).get("name", {}).get("value")
        if record.get("group") == group and name == experiment:
            with contextlib.suppress(OSError, ValueError):
                return int((folder / SPAN_FILE).read_text(encoding="utf-8"))
    return None


def _record(folder: pathlib.Path) -> dict[str, Any]:
    """What `create` wrote; {} where it cannot be read."""
    try:
        record = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def lock(root: pathlib.Path, identity: str) -> filelock.AcquireReturnProxy:
    """Locks an identity for one run: two would share checkpoints and cache.

    The holder may take the lock again, as a sweep does for each member.

    Args:
      root: of the runs, absolute.
      identity: of the runs (`inputs.identity`).

    Raises:
      ConfigError: another run holds it, or the file cannot be locked.
    """
    try:
        return locks.acquire(root / f".{identity}.lock", is_singleton=True)
    except filelock.Timeout as error:
        raise ConfigError(
            f"another run of '{identity}' is in progress in {root}",
            tip="wait for it, or give this one a root of its own with --root",
        ) from error


def has_passed(folder: pathlib.Path) -> bool:
    """Whether the model of a run passed; False for a run that did not end."""
    try:
        return bool(read_summary(folder)["passed"])
    except (ConfigError, KeyError, TypeError):
        return False


def _make_folder(root: pathlib.Path, stamp: str, words: random.Random) -> pathlib.Path:
    adjectives, animals = _ADJECTIVES.split(), _ANIMALS.split()
    taken = {two_words(path) for path in list_runs(root)}
    for attempt in range(ATTEMPTS):
        pair = f"{words.choice(adjectives)}-{words.choice(animals)}"
        # Two words that no other run has can name the run alone. A root that uses most of
        # the pairs has to repeat some.
        if pair in taken and attempt < ATTEMPTS // 2:
            continue
        folder = root / f"{stamp}_{pair}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise ConfigError(
        f"no free name for a run in {root} after {ATTEMPTS} attempts",
        tip="--root DIR puts runs elsewhere",
    )


def _latest_passed(root: pathlib.Path, found: list[pathlib.Path]) -> pathlib.Path:
    for folder in reversed(found):
        if has_passed(folder):
            return folder
    raise ConfigError(f"none of the {len(found)} runs in {root} has passed")


def _minute(folder: pathlib.Path) -> str:
    return folder.name[: len("2026-11-22_0201")]
