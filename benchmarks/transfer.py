"""How well `slimline run photos` does with all images of a class, with twenty and with five.

    python benchmarks/transfer.py --data caltech101-16.tar.gz --json results/transfer.json

Of an archive of class folders. With all images the splits are cut by the pipeline, another
cut for each seed. With n images a class the folder `train` holds n of each class, drawn at
random, and `test` all others; of the n the pipeline takes its share for eval.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from typing import Any

import machine

ALL = 0
Images = dict[str, list[tuple[str, bytes]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[ALL, 20, 5], help="a class; 0: all"
    )
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--json", dest="path", type=pathlib.Path)
    given = parser.parse_args()
    header = machine.header("transfer")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for count in given.images:
            for seed in range(1, given.seeds + 1):
                row = {"images_a_class": count, "seed": seed}
                row |= measure(given.data, count, seed, given.assignments, root)
                rows.append(row)
                print(json.dumps(row), flush=True)
    for count in given.images:
        found = [row["top_1"] for row in rows if row["images_a_class"] == count]
        print(
            f"{count or 'all'} images a class: mean top-1 {statistics.mean(found):.4f},"
            f" {min(found):.4f} to {max(found):.4f}, {len(found)} draws"
        )
    machine.write(given.path, header, rows)


def measure(
    archive: pathlib.Path,
    count: int,
    seed: int,
    assignments: list[str],
    root: pathlib.Path,
) -> dict[str, Any]:
    """One run in a folder of its own; its figures."""
    folder = root / f"{count}-{seed}"
    folder.mkdir()
    data = archive.resolve()
    settings = [f"train.seed={seed}", "data.check_images=0", *assignments]
    if count == ALL:
        settings.append(f"data.split_seed={seed}")
    else:
        data = write_draw(read(archive), count, seed, folder / "photos")
    slimline = pathlib.Path(sys.executable).with_name("slimline")
    command = [str(slimline), "run", "photos"]
    command += ["--data", str(data), "--root", "runs", "--json", "-q"]
    for setting in settings:
        command += ["--set", setting]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    summary = json.loads(done.stdout)["summary"]
    return {
        "top_1": summary["metrics"]["top_1"],
        "eval_top_1": summary["eval_top_1"],
        "head_top_1": summary["head_top_1"],
        "best_step": summary["best_step"],
        "test_images": summary["metrics"]["example_count"],
        "train_images": summary["images"]["train"],
        "seconds": time.monotonic() - started,
    }


def read(archive: pathlib.Path) -> Images:
    """Class -> name and content of its files."""
    images: Images = defaultdict(list)
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            file = tar.extractfile(member)
            path = pathlib.PurePosixPath(member.name)
            if file and path.suffix in (".jpg", ".png"):
                images[path.parent.name].append((path.name, file.read()))
    return images


def write_draw(
    images: Images, count: int, seed: int, folder: pathlib.Path
) -> pathlib.Path:
    """Folders `train` and `test` of class folders; returns `folder`."""
    for label, files in images.items():
        shuffled = random.Random(f"{seed} {label}").sample(files, len(files))
        for split, chosen in (("train", shuffled[:count]), ("test", shuffled[count:])):
            place = folder / split / label
            place.mkdir(parents=True)
            for name, content in chosen:
                (place / name).write_bytes(content)
    return folder


if __name__ == "__main__":
    main()
