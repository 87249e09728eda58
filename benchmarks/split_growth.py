"""Which images change their split while a data set grows, class by class.

Each class begins with some images and grows by a quarter at a time, ten times. Counted are
the moves between splits, and the share of test images that the training before the last
growth has seen: the model that is live then.
"""

import argparse
import hashlib
import json
import pathlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import machine

from components.image_example_gen import splits

CUT = splits.Cut(0.1, 0.15)  # the defaults of data.eval_fraction and data.test_fraction
STARTS = (2, 3, 4, 5, 10, 20, 100)
GROWTHS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts and writes; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, default=500_000, help="in all classes, at the end"
    )
    parser.add_argument("--starts", type=int, nargs="*", default=STARTS)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args(arguments)
    header = machine.header("split_growth")
    rows = [grow(start, options.images) for start in options.starts]
    if options.json:
        options.json.write_text(json.dumps(header | {"rows": rows}, indent=1) + "\n")
    return 0


def grow(start: int, images: int) -> dict[str, Any]:
    """Moves in classes that begin with `start` images, `images` at the end in all.

    Returns:
      `classes`, how many; `end`, images of each; `moves`, 'from to' -> images a class over
      all growths; `seen`, share of the test images, over all growths, that were in train
      before the growth. Printed, too.
    """
    sizes = [start]
    for _ in range(GROWTHS):
        sizes.append(max(sizes[-1] + 1, round(sizes[-1] * 1.25)))
    classes = max(1, images // sizes[-1])
    moves: Counter[tuple[str, str]] = Counter()
    before: dict[bytes, str] = {}
    in_test = 0
    for size in sizes:
        rows = [_row(text, number) for text in range(classes) for number in range(size)]
        rule = splits.assign(rows, CUT)
        after = {row.digest: rule.split_of(row.digest, row.split) for row in rows}
        moves.update((split, after[image]) for image, split in before.items())
        in_test += bool(before) * Counter(after.values())["test"]
        before = after
    found = {
        "start": start,
        "end": sizes[-1],
        "classes": classes,
        "moves": {
            f"{one} {other}": count / classes
            for (one, other), count in sorted(moves.items())
            if one != other
        },
        "seen": moves["train", "test"] / in_test,
    }
    print(json.dumps(found), flush=True)
    return found


def _row(text: int, number: int) -> splits.Row:
    digest = hashlib.sha256(f"{text}/{number}".encode()).digest()
    return splits.Row(digest, "", str(text), f"{text}/{number}", False, 1, 1)


if __name__ == "__main__":
    sys.exit(main())
