"""Tiny ImageNet: train/<synset>/images, and val/ with a table of annotations."""

import posixpath

from components.image_example_gen.layouts import rows
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, ListLayout
from schema import features
from schema.errors import DataError

FORMATS = ("tiny_imagenet",)
ANNOTATIONS = "val_annotations.txt"


def find(listing: Listing) -> ListLayout | None:
    """The layout, by val/val_annotations.txt.

    Raises:
      DataError: the annotations name an image that is not there.
    """
    files = [
        name
        for name in listing.names
        if name.endswith(f"val/{ANNOTATIONS}") and "/" in name
    ]
    if len(files) != 1:
        return None
    root = files[0][: -len(f"val/{ANNOTATIONS}")]
    entries: dict[str, tuple[Entry, ...]] = {}
    for name in listing.images:
        parts = name.removeprefix(root).split("/")
        if parts[0] == "train" and len(parts) > 2:
            entries[name] = (Entry(features.TRAIN, parts[1]),)
    known = set(listing.images)
    text, _ = rows.decode(files[0], listing.read(files)[files[0]])
    for number, line in enumerate(text.splitlines(), start=1):
        image, _, rest = line.partition("\t")
        name = f"{root}val/images/{image}"
        if line.strip() and name not in known:
            raise DataError(
                f"line {number} of {files[0]} names an image that is not there",
                found=line[:80],
                expected=f"a file of {posixpath.dirname(name)}/",
            )
        if line.strip():
            entries[name] = (Entry(features.EVAL, rest.split("\t")[0]),)
    words = (
        "Tiny ImageNet: train/ in class folders, val/ by its annotations",
        "classes are called by their synset, as n01443537; words.txt has their names",
        "test/ has no classes and is left out",
    )
    return ListLayout(root, entries, (files[0],), words, format="tiny_imagenet")
