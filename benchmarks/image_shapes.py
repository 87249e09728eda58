"""What images of odd shapes cost: memory and time of the verdict and of the served graph.

PNGs of random shapes, from 1x1 to 20,000 px a side, go through the verdict and through the
graph, in one process, the smallest first. Ends with 1 where the process ever holds more than
four times the decoded image and 100 MB beyond what it held before.
"""

import argparse
import io
import pathlib
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import machine
import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
from PIL import Image

from schema import images
from trainer import preprocessing
from trainer.config import PreprocessingConfig

MAX_SIDE_PX = 20_000
MAX_PIXELS = 20_000_000
CHANNELS = 3
# Times the decoded image, and bytes beside it.
MAX_FACTOR, MAX_BYTES_BESIDE = 4, 100_000_000
# Always among them: the narrowest images whose sides are accepted.
NARROWEST = ((images.MAX_SIDE_PX, 1), (1, images.MAX_SIDE_PX))


class Shape(NamedTuple):
    """Width and height in px."""

    width: int
    height: int


_WARM_UP = Shape(64, 48)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 1 where an image takes more memory than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the shapes")
    parser.add_argument("--resize", type=int, default=224, help="preprocessing.*_px")
    parser.add_argument(
        "--interpolation", choices=["bilinear", "bicubic"], default="bilinear"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args(arguments)
    header = machine.header("image_shapes")
    config = PreprocessingConfig(
        options.resize, options.resize, CHANNELS, interpolation=options.interpolation
    )
    with tf.Graph().as_default(), v1.Session() as session:
        encoded = v1.placeholder(tf.string, [None])
        graph = session.make_callable(
            preprocessing.decode_and_crop(encoded, config), [encoded]
        )
        shapes = draw(options.shapes, np.random.default_rng(options.seed))
        _measure(_WARM_UP, graph)
        base_bytes = _peak_bytes()
        results = [
            _measure(shape, graph, base_bytes)
            for shape in sorted(shapes, key=lambda shape: shape.width * shape.height)
        ]
    machine.write(options.json, header, results)
    return _tell(results)


def draw(count: int, random: np.random.Generator) -> list[Shape]:
    """Shapes with sides of any order of magnitude and at most `MAX_PIXELS`."""
    shapes = [Shape(*sides) for sides in NARROWEST]
    while len(shapes) < count:
        sides = np.exp(random.uniform(0.0, np.log(MAX_SIDE_PX + 1), 2)).astype(int)
        if sides.prod() <= MAX_PIXELS:
            shapes.append(Shape(*sides.tolist()))
    return shapes


def _measure(
    shape: Shape, graph: Callable[[list[bytes]], Any], base_bytes: int = 0
) -> dict[str, Any]:
    """Figures of one image; the memory is the peak of the process so far."""
    file = io.BytesIO()
    Image.new("RGB", shape, "teal").save(file, "PNG", compress_level=1)
    data = file.getvalue()
    start = time.perf_counter()
    reason = images.check_image(data).reason
    middle = time.perf_counter()
    try:
        graph([data])
        is_refused = False
    except tf.errors.InvalidArgumentError:
        is_refused = True
    end = time.perf_counter()
    return {
        "width": shape.width,
        "height": shape.height,
        "reason": reason,
        "is_refused_by_graph": is_refused,
        "verdict_seconds": middle - start,
        "graph_seconds": end - middle,
        "peak_bytes": _peak_bytes() - base_bytes,
        "max_bytes": MAX_FACTOR * shape.width * shape.height * CHANNELS
        + MAX_BYTES_BESIDE,
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(results: list[dict[str, Any]]) -> int:
    refused = [each for each in results if each["reason"]]
    seconds = max(each["verdict_seconds"] for each in refused)
    slowest = max(results, key=lambda each: each["graph_seconds"])
    nearest = max(results, key=lambda each: each["peak_bytes"] - each["max_bytes"])
    print(
        f"{len(results):,} shapes, {len(refused):,} refused, each within"
        f" {1000 * seconds:.1f} ms\n"
        f"graph: at most {slowest['graph_seconds']:.2f} s, for"
        f" {slowest['width']}x{slowest['height']} px\n"
        f"memory: {results[-1]['peak_bytes'] / 1e6:.0f} MB at the peak; nearest to its"
        f" bound is {nearest['width']}x{nearest['height']} px with"
        f" {nearest['peak_bytes'] / 1e6:.0f} of {nearest['max_bytes'] / 1e6:.0f} MB"
    )
    return int(nearest["peak_bytes"] > nearest["max_bytes"])


if __name__ == "__main__":
    sys.exit(main())
