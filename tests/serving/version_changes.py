"""Changes of versions that are killed at a file event, or made by two processes at once.

Usage: version_changes.py kill FOLDER ACTION, or version_changes.py interleave FOLDER SEED...;
prints a JSON line a kill or a seed. Each change runs in a fork of this one warm process.
"""

import json
import os
import pathlib
import random
import select
import signal
import sys
from collections.abc import Callable

from components.model_pusher import publishing
from pushed_models import models, models_config, version_history, versions
from pushed_models.models_config import Entry
from storage import manifest

NAME = "cats"
# `open` of anything below the folder; the others have relative names in shutil.rmtree, and
# nothing else runs in a fork.
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
Hit = Callable[[], None]


def watch(folder: pathlib.Path, hit: Hit) -> None:
    def hook(event: str, arguments: tuple) -> None:
        is_below = event == "open" and str(arguments[0]).startswith(str(folder))
        if is_below or event in EVENTS:
            hit()

    sys.addaudithook(hook)


def prepare(root: pathlib.Path) -> pathlib.Path:
    """Versions 1 to 4, of which 2 is stable and 3 canary, and a model to push."""
    model = root / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "variables.index").write_bytes(b"index")
    serving = root / "serving"
    for version in range(1, 5):
        folder = serving / NAME / str(version)
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph %d" % version)
        (folder / "variables" / "variables.index").write_bytes(b"index")
        manifest.write(folder)
    for row in ((version_history.PUSH, 1, None), (version_history.PROMOTE, 2, 1)):
        version_history.append(serving / NAME, version_history.now(*row))
    return serving


def pin(serving: pathlib.Path) -> None:
    models_config.write(serving, {NAME: Entry((1, 2, 3), {"stable": 2, "canary": 3})})


def actions(root: pathlib.Path) -> dict[str, Callable[[], object]]:
    serving = root / "serving"
    cats = models.PushedModel(serving, NAME)
    return {
        "push": lambda: publishing.publish(root / "model", serving / NAME),
        "push_unpinned": lambda: publishing.publish(root / "model", serving / NAME),
        "promote": lambda: cats.promote(4),
        "canary": lambda: cats.canary(4),
        "rollback": lambda: cats.rollback(to=1),
        "prune": lambda: cats.prune(0),
    }


def in_a_fork(folder: pathlib.Path, action: Callable[[], object], hit: Hit) -> int:
    child = os.fork()
    if not child:
        watch(folder, hit)
        run(action)
    return os.waitpid(child, 0)[1]


def run(action: Callable[[], object]) -> None:
    try:
        action()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def state(serving: pathlib.Path) -> dict:
    """What a server would find."""
    folder = serving / NAME
    entry = models_config.read(serving)[NAME]
    there = versions.numbers(folder)
    return {
        "live": models_config.live(folder),
        "versions": list(entry.versions),
        "labels": dict(entry.labels),
        "there": there,
        "incomplete": sorted(set(versions.present(folder)) - set(there)),
        "broken": [
            number for number in there if manifest.problems(folder / str(number))
        ],
        "rows": [
            [row.action, row.version, row.former]
            for row in version_history.read(folder)
        ],
        "hidden": sorted(
            path.name[: len(".staging-pruned")]
            for path in folder.iterdir()
            if path.name.startswith(".staging")
        ),
    }


def kill(root: pathlib.Path, name: str) -> None:
    """Dies at the first file event, then at the second, until one comes to its end."""
    point, was_killed = 0, True
    while was_killed:
        point += 1
        place = root / name / str(point)
        serving = prepare(place)
        if name != "push_unpinned":
            pin(serving)
        before = state(serving)
        events = 0

        def hit(point: int = point) -> None:
            nonlocal events
            events += 1
            if events == point:
                os.kill(os.getpid(), signal.SIGKILL)

        status = in_a_fork(serving, actions(place)[name], hit)
        was_killed = os.WIFSIGNALED(status)
        after = state(serving)
        mended = in_a_fork(serving, actions(place)[name], lambda: None)
        told = {
            "point": point,
            "was_killed": was_killed,
            "ended_well": was_killed or status == 0,
            "before": before,
            "after": after,
            "is_mended": mended == 0,
            "at_last": state(serving),
        }
        print(json.dumps(told), flush=True)


def interleave(root: pathlib.Path, seed: int) -> None:
    """Two processes change versions; the seed decides at each file event who goes on."""
    place = root / str(seed)
    serving = prepare(place)
    pin(serving)
    cats = models.PushedModel(serving, NAME)
    chooser = random.Random(seed)
    first, second = chooser.sample(
        [
            lambda: cats.promote(3),
            lambda: cats.promote(4),
            lambda: cats.rollback(to=1),
            lambda: publishing.publish(place / "model", serving / NAME),
        ],
        2,
    )
    turns, ended_well = take_turns(serving, first, second, chooser)
    told = {"seed": seed, "turns": turns, "ended_well": ended_well, **state(serving)}
    print(json.dumps(told), flush=True)


def take_turns(
    serving: pathlib.Path,
    first: Callable[[], object],
    second: Callable[[], object],
    chooser: random.Random,
) -> tuple[str, bool]:
    """Runs both, one at a time from event to event.

    Returns:
      Who went when, as '01101', and whether both ended well.
    """
    waiting: dict[int, tuple[int, int, int]] = {}
    for number, action in enumerate((first, second)):
        (asks, ask), (goes, go) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:

            def hit(ask: int = ask, goes: int = goes) -> None:
                os.write(ask, b".")
                os.read(goes, 1)

            watch(serving, hit)
            run(action)
        os.close(ask)
        os.close(goes)
        waiting[asks] = (number, go, child)
    turns, ended_well = "", True
    asking: set[int] = set()
    while waiting:
        # All that still run stand at an event before one of them is chosen.
        while unheard := waiting.keys() - asking:
            for asks in select.select(list(unheard), [], [])[0]:
                if os.read(asks, 1):
                    asking.add(asks)
                    continue
                _, go, child = waiting.pop(asks)
                os.close(go)
                ended_well &= os.waitpid(child, 0)[1] == 0
        if asking:
            chosen = chooser.choice(sorted(asking))
            asking.remove(chosen)
            turns += str(waiting[chosen][0])
            os.write(waiting[chosen][1], b".")
    return turns, ended_well


def main(mode: str, root: pathlib.Path, words: list[str]) -> None:
    for word in words:
        if mode == "kill":
            kill(root, word)
        else:
            interleave(root, int(word))


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:])
