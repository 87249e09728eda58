"""Published datasets with lists of their own form: Tiny ImageNet, CUB-200, Oxford pets."""

import dataclasses
import posixpath

from common.errors import DataError
from components.image_example_gen.layouts import class_files, listed
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, FileLayout
from schema import features


def find_tiny_imagenet(listing: Listing) -> FileLayout | None:
    """The layout of Tiny ImageNet: train/<synset>/images, and val/ with annotations.

    Raises:
      DataError: the annotations name an image that is not there.
    """
    root = _root(listing, "val/val_annotations.txt")
    if root is None:
        return None
    known = set(listing.images)
    entries: dict[str, tuple[Entry, ...]] = {}
    for name in listing.images:
        parts = name.removeprefix(root).split("/")
        if parts[0] == "train" and len(parts) > 2:
            entries[name] = (Entry(features.TRAIN, parts[1]),)
    file = f"{root}val/val_annotations.txt"
    for number, line in listing.lines([file])[file].items():
        image, _, rest = line.partition("\t")
        name = f"{root}val/images/{image}"
        if name not in known:
            raise _missing(file, number, line, f"a file of {root}val/images/")
        entries[name] = (Entry(features.EVAL, rest.split("\t")[0]),)
    layout = FileLayout(
        format="tiny_imagenet",
        words=(
            "Tiny ImageNet: train/ in class folders, val/ by its annotations",
            "test/ has no classes and is left out",
        ),
        files=(file,),
        entries=entries,
        root=root,
    )
    named = class_files.name_classes(layout, listing)
    if named is not layout:
        return named
    words = (*layout.words, "classes are called by their synset, as n01443537")
    return dataclasses.replace(layout, words=words)


def find_cub(listing: Listing) -> FileLayout | None:
    """The layout of CUB-200: paths, classes and splits of images by number, in tables.

    Raises:
      DataError: the tables name images or classes that are not there.
    """
    root = _root(listing, "image_class_labels.txt")
    if root is None:
        return None
    names = ("images", "image_class_labels", "classes", "train_test_split")
    files = [f"{root}{name}.txt" for name in names]
    if not set(files) <= set(listing.names):
        return None
    paths, labels, texts, is_train = (
        dict(cells for line in lines.values() if len(cells := line.split(None, 1)) == 2)
        for lines in listing.lines(files).values()
    )
    known = set(listing.images)
    entries: dict[str, tuple[Entry, ...]] = {}
    for number, path in paths.items():
        name = f"{root}images/{path}"
        word = texts.get(labels.get(number, ""))
        if name not in known or word is None or number not in is_train:
            raise DataError(
                f"image {number} of {files[0]} is not whole",
                found=f"{path}, class {word or 'unknown'}",
                expected="a file in images/, a class and a split",
            )
        split = features.TRAIN if is_train[number] == "1" else features.TEST
        entries[name] = (Entry(split, word),)
    words = ("CUB: images, classes and splits by number, in four tables",)
    return FileLayout(
        format="cub", words=words, files=tuple(files), entries=entries, root=root
    )


def find_oxford_pets(listing: Listing) -> FileLayout | None:
    """The layout of Oxford-IIIT Pets: lists of images, each with the number of its class.

    The class is the name before the last '_'; the numbers must say the same.

    Raises:
      DataError: the lists name images that are not there, or numbers and names differ.
    """
    root = _root(listing, "annotations/list.txt")
    if root is None:
        return None
    of_list = f"{root}annotations/list.txt"
    splits = {
        f"{root}annotations/trainval.txt": features.TRAIN,
        f"{root}annotations/test.txt": features.TEST,
    }
    files = [file for file in splits if file in listing.names] or [of_list]
    images = {
        posixpath.splitext(posixpath.basename(name))[0]: name
        for name in listing.images
        if posixpath.dirname(name) == f"{root}images"
    }
    entries: dict[str, tuple[Entry, ...]] = {}
    numbers: dict[str, str] = {}
    for file, lines in listing.lines(files).items():
        for number, line in lines.items():
            if line.startswith("#"):
                continue
            stem, *cells = line.split()
            if not cells or stem not in images:
                if not entries:
                    return None
                raise _missing(file, number, line, f"a file of {root}images/")
            text = stem.rpartition("_")[0]
            if numbers.setdefault(text, cells[0]) != cells[0]:
                raise DataError(
                    f"{file} gives the class {text} two numbers",
                    found=f"{numbers[text]}, {cells[0]}",
                )
            entries[images[stem]] = (Entry(splits.get(file, ""), text),)
    which = "annotations/trainval.txt is train, test.txt is test"
    return FileLayout(
        format="oxford_pets",
        words=(
            "Oxford pets: the class is the name before the last '_';"
            f" {'no splits' if files == [of_list] else which}",
            *listed.left_out(len(images) - len(entries)),
        ),
        files=(*files, of_list),
        entries=entries,
        root=root,
    )


def _root(listing: Listing, marker: str) -> str | None:
    """Folder of the one file at `marker` in it, with a slash; None without just one."""
    found = [name for name in listing.names if f"/{name}".endswith(f"/{marker}")]
    return found[0].removesuffix(marker) if len(found) == 1 else None


def _missing(file: str, number: int, line: str, expected: str) -> DataError:
    return DataError(
        f"line {number} of {file} names an image that is not there",
        found=line[:80],
        expected=expected,
    )
