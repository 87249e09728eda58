"""Tiny ImageNet: train/<synset>/images, and val/ with a table of annotations."""

import posixpath

from common.errors import DataError
from components.image_example_gen.layouts import class_files, rows
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, ListLayout
from schema import features

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
    ids = {entry.word for of_image in entries.values() for entry in of_image}
    names, names_file = class_files.find(listing, ids, files)
    if names:
        entries = {
            image: tuple(entry._replace(word=names[entry.word]) for entry in of_image)
            for image, of_image in entries.items()
        }
        files.append(names_file)
    words = (
        "Tiny ImageNet: train/ in class folders, val/ by its annotations",
        f"{names_file} has the names of the classes"
        if names
        else "classes are called by their synset, as n01443537",
        "test/ has no classes and is left out",
    )
    return ListLayout(root, entries, tuple(files), words, format="tiny_imagenet")
