"""What a batch inference costs: its images/s against a loop over the same files, in turn.

Both are whole, from the list of the files to the last answer; the batch inference also
loads the model again, starts Beam and writes its table.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import machine

from common.errors import SlimlineError
from pipeline.beam import engines
from serving import local_model
from serving.batch_inference import listing, running

LOOP = "loop"
BATCH = "batch_inference"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="folder of a SavedModel")
    parser.add_argument("photos", help="folder, pattern or list of images")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args(arguments)
    header = machine.header("batch_inference")
    try:
        images, speeds = _measure(options.model, options.photos, options.rounds)
    except SlimlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = [
        {
            "contender": name,
            "images": images,
            "images_per_second": statistics.median(rounds),
            "rounds": rounds,
        }
        for name, rounds in speeds.items()
    ]
    for result in results:
        told = " ".join(f"{speed:,.0f}" for speed in result["rounds"])
        print(
            f"{result['contender']:<16} {result['images_per_second']:,.0f} images/s"
            f" ({told})"
        )
    ratio = statistics.median(speeds[BATCH]) / statistics.median(speeds[LOOP])
    print(f"{'ratio':<16} {ratio:.2f}")
    machine.write(options.json, header, results)
    return 0


def _measure(
    folder: pathlib.Path, photos: str, rounds: int
) -> tuple[int, dict[str, list[float]]]:
    """Images, and images/s of each round."""
    model = local_model.LocalModel.load(folder)
    paths = [file.path for file in listing.find([photos]).files]
    # The first call builds the graph's function.
    model.predict(paths[: local_model.BATCH_SIZE])
    speeds: dict[str, list[float]] = {LOOP: [], BATCH: []}
    with tempfile.TemporaryDirectory() as scratch:
        output = pathlib.Path(scratch) / "rows.csv"

        def batch() -> None:
            running.run(
                [photos],
                output,
                model_folder=folder,
                beam_arguments=engines.local(),
                replaces=True,
            )

        for _ in range(rounds):
            speeds[LOOP].append(len(paths) / _seconds(lambda: model.predict(paths)))
            speeds[BATCH].append(len(paths) / _seconds(batch))
    return len(paths), speeds


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
