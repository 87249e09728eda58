"""A few images of a source, to look at."""

import itertools
import random
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from common.errors import DataError
from components.image_example_gen import layouts, records
from schema import images


class Sample(NamedTuple):
    """An image and its class.

    Attributes:
      text: class as the dataset spells it; its number where it has none.
      encoded: JPEG or PNG.
    """

    text: str
    encoded: bytes


def draw(
    path: str, count: int, seed: int, answers: layouts.Answers = layouts.Answers()
) -> list[Sample]:
    """Readable images of as many classes as `count` allows.

    Args:
      path: folder or archive.
      count: images wanted.
      seed: decides about the order in which parts of the source are read.
      answers: what a person decided about the layout.

    Returns:
      At most `count`, ordered by class; fewer where there are not as many images.

    Raises:
      ConfigError: the format is unknown.
      DataError: nothing readable is there, or the data break their format.
    """
    plan = layouts.plan(path, answers)
    units = list(plan.units)
    random.Random(seed).shuffle(units)
    chosen: dict[str, Sample] = {}
    spare: list[Sample] = []
    for sample in _read(plan, units, chosen):
        if sample.text not in chosen:
            chosen[sample.text] = sample
        elif len(spare) < count:
            spare.append(sample)
        if len(chosen) == count:
            break
    found = [*chosen.values(), *spare][:count]
    if not found:
        raise DataError(f"no readable image in {path}")
    return sorted(found, key=lambda sample: sample.text)


def _read(
    plan: layouts.Plan,
    units: Sequence[tuple[str, ...] | None],
    known: Collection[str],
) -> Iterator[Sample]:
    for found in itertools.chain.from_iterable(map(plan.read, units)):
        if isinstance(found, records.PixelBatch):
            yield from _of_pixels(found, known)
        elif isinstance(found, records.ImageFile):
            verdict = images.check_image(found.data)
            if not verdict.reason:
                yield Sample(found.word, verdict.encoded)


def _of_pixels(batch: records.PixelBatch, known: Collection[str]) -> Iterator[Sample]:
    """One image of each class that is new in the batch, or else its first."""
    firsts: dict[str, int] = {}
    for offset, index in enumerate(batch.indices.tolist()):
        firsts.setdefault(batch.class_name(index), offset)
    wanted = {text: first for text, first in firsts.items() if text not in known}
    for text, offset in (wanted or firsts).items():
        (encoded,) = images.encode_pngs(batch.pixels[offset : offset + 1])
        yield Sample(text, encoded)
