"""Images that look odd, and images that look alike, by cleanvision.

Its `Imagelab` wants every image in a file of its own. Here its measures are taken one image
at a time, so that memory holds figures and no pixels, and archives are not unpacked.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from data_check.findings import Group, OddImage, Place, make_group

NOT_INSTALLED = (
    "near duplicates and dark, light, blurry, gray, oddly sized and uninformative images"
    " were not looked for: that takes the extra 'data'"
    " (uv pip install --editable '.[data]' in the checkout)"
)
# Of cleanvision, at its own thresholds.
KINDS = (
    "dark",
    "light",
    "low_information",
    "blurry",
    "odd_aspect_ratio",
    "odd_size",
    "grayscale",
)
# A kind of which more images are is a trait of the dataset: digits are all plain. The report
# of cleanvision has the same limit.
MAX_ODD_SHARE = 0.5
# Two images look alike if these hashes of 8 x 8 bits are equal: cleanvision's default.
_HASH = {"hash_type": "phash", "hash_size": 8}
# Dark and light are two readings of one measure.
_MEASURED = tuple(kind for kind in KINDS if kind != "light")


class Appearance:
    """Measures of images, and what follows from all of them.

    Raises:
      ImportError: cleanvision is not installed.
    """

    def __init__(self) -> None:
        # Optional, and slow to load: it brings matplotlib.
        from cleanvision.issue_managers import (
            duplicate_issue_manager,
            image_property_issue_manager,
        )

        self._manager = image_property_issue_manager.ImagePropertyIssueManager()
        self._get_hash = duplicate_issue_manager.get_hash
        self._columns: dict[str, list[Any]] = defaultdict(list)
        self._hashes: list[int] = []

    def add(self, pixels: np.ndarray) -> None:
        """Measures the next image, uint8 [height, width, 1 or 3]."""
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        for kind in _MEASURED:
            measured = self._manager.image_properties[kind].calculate(image)
            for name, value in measured.items():
                self._columns[name].append(value)
        self._hashes.append(int(self._get_hash(image, _HASH), 16))

    def find_odd(
        self, places: Sequence[Place]
    ) -> tuple[dict[str, tuple[OddImage, ...]], dict[str, int]]:
        """Images that stand out.

        Args:
          places: of the images, in the order in which they were added.

        Returns:
          Kind -> images of that kind, the worst first, for every kind; and kind -> images,
          for kinds so common that no image stands out.
        """
        measures = pd.DataFrame(self._columns)
        self._manager.issues = pd.DataFrame(index=measures.index)
        self._manager.update_issues(measures, list(KINDS))
        table = self._manager.issues
        odd, usual = {}, {}
        for kind in KINDS:
            is_odd = table[f"is_{kind}_issue"].to_numpy(bool)
            if is_odd.mean() > MAX_ODD_SHARE:
                usual[kind] = int(is_odd.sum())
                is_odd = np.zeros_like(is_odd)
            scores = table[f"{kind}_score"].to_numpy(float)
            images = [
                OddImage(places[row], round(float(scores[row]), 4))
                for row in np.flatnonzero(is_odd)
            ]
            odd[kind] = tuple(
                sorted(images, key=lambda found: (found.score, found.image))
            )
        return odd, usual

    def find_alike(
        self, places: Sequence[Place], digests: Sequence[Hashable]
    ) -> tuple[Group, ...]:
        """Groups of images that look the same, at least two of them with other pixels.

        Args:
          places: of the images, in the order in which they were added.
          digests: equal for equal pixels.
        """
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, value in enumerate(self._hashes):
            rows_of[value].append(row)
        groups = [
            make_group(places[row] for row in rows)
            for rows in rows_of.values()
            if len({digests[row] for row in rows}) > 1
        ]
        return tuple(sorted(groups, key=lambda group: group.images))
