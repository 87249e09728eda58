"""Oxford-IIIT Pets: images/<Breed>_<n>.jpg, named in annotations/trainval.txt and test.txt."""

import posixpath

from common.errors import DataError
from components.image_example_gen.layouts import rows
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, ListLayout
from schema import features

FORMATS = ("oxford_pets",)
_LIST = "annotations/list.txt"
_SPLITS = {
    "annotations/trainval.txt": features.TRAIN,
    "annotations/test.txt": features.TEST,
}


def find(listing: Listing) -> ListLayout | None:
    """The layout, by annotations/list.txt: image, number of the class, and more.

    The class is the name before the last '_'; the numbers must say the same.

    Raises:
      DataError: the lists name images that are not there, or numbers and names differ.
    """
    roots = [name.removesuffix(_LIST) for name in listing.names if name.endswith(_LIST)]
    if len(roots) != 1:
        return None
    root = roots[0]
    images = {
        posixpath.splitext(posixpath.basename(name))[0]: name
        for name in listing.images
        if posixpath.dirname(name) == f"{root}images"
    }
    files = [root + file for file in _SPLITS if root + file in listing.names]
    splits = {file: _SPLITS[file.removeprefix(root)] for file in files}
    files = files or [root + _LIST]
    entries: dict[str, tuple[Entry, ...]] = {}
    numbers: dict[str, str] = {}
    for file, data in listing.read(files).items():
        for line in rows.decode(file, data)[0].splitlines():
            if line.startswith("#") or not line.strip():
                continue
            cells = line.split()
            text = cells[0].rpartition("_")[0]
            if len(cells) < 2 or cells[0] not in images:
                if not entries:
                    return None
                raise DataError(
                    f"{file} names an image that is not there", found=line[:80]
                )
            if numbers.setdefault(text, cells[1]) != cells[1]:
                raise DataError(
                    f"{file} gives the class {text} two numbers",
                    found=f"{numbers[text]}, {cells[1]}",
                )
            entries[images[cells[0]]] = (Entry(splits.get(file, ""), text),)
    splits_in_words = (
        "annotations/trainval.txt is train, test.txt is test" if splits else "no splits"
    )
    words = [
        f"Oxford pets: the class is the name before the last '_'; {splits_in_words}"
    ]
    if unlisted := len(images) - len(entries):
        words.append(f"{unlisted:,} images are in no list and are left out")
    return ListLayout(
        root, entries, (*files, root + _LIST), tuple(words), format="oxford_pets"
    )
