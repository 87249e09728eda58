"""One pass over a dataset, and what it shows."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from common.errors import ConfigError, DataError
from components.image_example_gen import inspection, records
from data_check import appearance, wrong_labels
from data_check.findings import Findings, Group, Place, make_group
from data_check.labelled_images import LabelledImage
from data_check.wrong_labels import WrongLabel
from schema import features, images, orientation

_DIGEST_BYTES = 16


def check(
    source: str,
    labelled_images: Iterable[LabelledImage | records.Unreadable],
    evaluation_uri: str | None = None,
) -> Findings:
    """Looks over images one at a time; memory grows by 1 to 2 KB per image.

    Args:
      source: what they come from, for findings and messages.
      labelled_images: from `labelled_images.from_path` or `from_examples`.
      evaluation_uri: the evaluation of a run on these images, for likely wrong labels.

    Raises:
      ConfigError: the evaluation is of other images.
      DataError: no image is readable.
    """
    # Before the long look at images: it may be refused.
    doubts = wrong_labels.of_evaluation(evaluation_uri) if evaluation_uri else None
    looks, left_out = _open_appearance()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    widths: Counter[int] = Counter()
    heights: Counter[int] = Counter()
    places: list[Place] = []
    digests: list[bytes] = []
    unreadable: list[records.Unreadable] = []
    for image in labelled_images:
        if isinstance(image, records.Unreadable):
            unreadable.append(image)
            continue
        verdict = images.check_image(image.encoded)
        if verdict.reason:
            unreadable.append(records.Unreadable(image.key, verdict.reason))
            continue
        decoded = _decode(verdict)
        places.append(Place(image.key, image.split, image.text))
        digests.append(_digest_of(decoded))
        counts[image.split][image.text] += 1
        widths[verdict.width] += 1
        heights[verdict.height] += 1
        if looks:
            looks.add(decoded)
    if not places:
        raise DataError(
            f"no readable image in {source}",
            found="; ".join(f"{key}: {reason}" for key, reason in unreadable[:3]),
        )
    _check_same(source, doubts, places)
    odd_images, usual = looks.find_odd(places) if looks else (None, None)
    return Findings(
        source=source,
        images={split: _in_class_order(counts[split]) for split in sorted(counts)},
        width_px=inspection.size_range(widths),
        height_px=inspection.size_range(heights),
        unreadable=tuple(sorted(unreadable)),
        exact_duplicates=_find_equal(places, digests),
        near_duplicates=looks.find_alike(places, digests) if looks else None,
        odd_images=odd_images,
        usual=usual,
        wrong_labels=doubts,
        left_out=left_out,
    )


def _open_appearance() -> tuple[appearance.Appearance | None, tuple[str, ...]]:
    try:
        return appearance.Appearance(), ()
    except ImportError:
        return None, (appearance.NOT_INSTALLED,)


def _check_same(
    source: str, doubts: Sequence[WrongLabel] | None, places: Sequence[Place]
) -> None:
    known = {place.key for place in places}
    if doubts and known.isdisjoint(doubt.key for doubt in doubts):
        raise ConfigError(
            f"the run was not made with the images of {source}",
            found=f"none of its test images, as {doubts[0].key}, is there",
            tip="give the data that the run was given with --data",
        )


def _in_class_order(counts: Counter[str]) -> dict[str, int]:
    order = inspection.order_classes(dict.fromkeys(counts, features.UNKNOWN_LABEL))
    return {text: counts[text] for text in order}


def _find_equal(places: Sequence[Place], digests: Sequence[bytes]) -> tuple[Group, ...]:
    by_digest: dict[bytes, list[Place]] = defaultdict(list)
    for place, digest in zip(places, digests, strict=True):
        by_digest[digest].append(place)
    groups = [make_group(found) for found in by_digest.values() if len(found) > 1]
    return tuple(sorted(groups, key=lambda group: group.images))


def _decode(verdict: images.Verdict) -> np.ndarray:
    """Pixels of an image that was found readable, upright, by the decoder of training.

    Returns:
      uint8 [height, width, channels]: one channel for gray, even where the file holds
      three equal ones; else 3. Alpha is dropped.
    """
    with tf.device("/cpu:0"):
        pixels = tf.io.decode_image(
            verdict.encoded, channels=verdict.channels, expand_animations=False
        ).numpy()
    pixels = orientation.turn(pixels, orientation.read(verdict.encoded))
    is_gray = (pixels == pixels[..., :1]).all()
    return pixels[..., :1] if is_gray else pixels


def _digest_of(pixels: np.ndarray) -> bytes:
    """Hash that two images share if and only if size and pixels are equal."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=_DIGEST_BYTES)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
