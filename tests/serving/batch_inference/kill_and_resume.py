"""Batch inferences that kill themselves at a file event, each in a fork of one warm process.

Usage: kill_and_resume.py MODEL PHOTOS FOLDER COUNT; prints a JSON line a point. Point 0 is
the unbroken one, which counts the events in its folder (opens, renames, removals). COUNT
others, at even distances, die by SIGKILL at that event; then a second process goes on.
"""

import json
import os
import pathlib
import signal
import sys

# Loaded before the fork; none of its threads run until something is computed.
import tensorflow  # noqa: F401

from pipeline.beam import engines
from serving.batch_inference import parts, running, steps

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
parts.PART_FILES = 3
# Notes come by the clock, and the points are to be the same in every run.
steps.NOTE_SECONDS = 1e9


def watch(folder: str, point: int, counter: int) -> None:
    """Dies at the event number `point`; writes how many there were to a descriptor."""
    events = 0

    def hear(event: str, arguments: tuple) -> None:
        nonlocal events
        if event in EVENTS and str(arguments[0]).startswith(folder):
            events += 1
            if events == point:
                os.kill(os.getpid(), signal.SIGKILL)
            os.pwrite(counter, b"%9d" % events, 0)

    sys.addaudithook(hear)


def in_a_fork(
    model: pathlib.Path, photos: str, folder: pathlib.Path, point: int
) -> tuple[int, int, int]:
    """Wait status, events in the folder, and files that were done before."""
    counter = os.open(folder.parent, os.O_TMPFILE | os.O_RDWR)
    child = os.fork()
    if not child:
        try:
            watch(str(folder), point, counter)
            result = running.run(
                [photos],
                folder / "results.csv",
                model_folder=model,
                beam_arguments=engines.local(),
            )
            os.pwrite(counter, b"%9d" % result.resumed_files, 9)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    numbers = os.pread(counter, 18, 0)
    return status, int(numbers[:9] or 0), int(numbers[9:] or 0)


def run_point(
    model: pathlib.Path, photos: str, root: pathlib.Path, point: int
) -> dict[str, object]:
    """What became of an inference that is killed at `point`."""
    folder = root / str(point)
    folder.mkdir(parents=True)
    status, events, _ = in_a_fork(model, photos, folder, point)
    manifest = folder / "results.csv.parts" / parts.MANIFEST_FILE
    is_complete = (folder / "results.csv").exists() and not manifest.exists()
    resumed, again = 0, 0
    if status:
        again, _, resumed = in_a_fork(model, photos, folder, 0)
    return {
        "point": point,
        "events": events,
        "was_killed": os.WIFSIGNALED(status),
        "is_complete": is_complete,
        "code": os.waitstatus_to_exitcode(again),
        "resumed_files": resumed,
        "files": {
            path.name: path.read_text() if path.is_file() else "a folder"
            for path in sorted(folder.iterdir())
        },
    }


def main(model: str, photos: str, root: str, count: str) -> None:
    """Runs all points."""
    events = 0
    for place in range(int(count) + 1):
        point = round(1 + (events - 1) * (place - 1) / (int(count) - 1)) if place else 0
        told = run_point(pathlib.Path(model), photos, pathlib.Path(root), point)
        events = events or told["events"]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
