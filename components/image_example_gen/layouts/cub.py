"""CUB-200: images.txt, image_class_labels.txt, classes.txt and train_test_split.txt."""

from common.errors import DataError
from components.image_example_gen.layouts import rows
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, ListLayout
from schema import features

FORMATS = ("cub",)
_IMAGES, _LABELS, _CLASSES, _SPLITS = (
    "images.txt",
    "image_class_labels.txt",
    "classes.txt",
    "train_test_split.txt",
)


def find(listing: Listing) -> ListLayout | None:
    """The layout, by its tables of numbers.

    Raises:
      DataError: the tables name images or classes that are not there.
    """
    roots = [
        name.removesuffix(_LABELS) for name in listing.names if name.endswith(_LABELS)
    ]
    if len(roots) != 1:
        return None
    files = [roots[0] + file for file in (_IMAGES, _LABELS, _CLASSES, _SPLITS)]
    if not set(files) <= set(listing.names):
        return None
    paths, labels, names, is_train = (
        _pairs(file, data) for file, data in listing.read(files).items()
    )
    known = set(listing.images)
    entries: dict[str, tuple[Entry, ...]] = {}
    for number, path in paths.items():
        name = f"{roots[0]}images/{path}"
        word = names.get(labels.get(number, ""))
        if name not in known or word is None or number not in is_train:
            raise DataError(
                f"image {number} of {files[0]} is not whole",
                found=f"{path}, class {word or 'unknown'}",
                expected="a file in images/, a class and a split",
            )
        split = features.TRAIN if is_train[number] == "1" else features.TEST
        entries[name] = (Entry(split, word),)
    words = ("CUB: images, classes and splits by number, in four tables",)
    return ListLayout(roots[0], entries, tuple(files), words, format="cub")


def _pairs(file: str, data: bytes) -> dict[str, str]:
    """Number -> the rest of its line."""
    lines = [line.split(None, 1) for line in rows.decode(file, data)[0].splitlines()]
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}
