"""Files that this package does not read: what they are, and how to convert them."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

from components.image_example_gen.layouts.layout import Listing

_MAX_NOTES = 3
_MAX_READ = 20
_MAX_NAMES = 50
_HEAD_BYTES = 100_000
_BOXES = "boxes or outlines of objects, not classes of images"
_TO_CSV = "write a CSV of files and classes from it"
# Annotations by the endings of their names.
_ANNOTATIONS = {
    ".xml": f"as Pascal VOC's: {_BOXES}",
    ".yaml .yml": f"as YOLO's: {_BOXES}",
    ".xlsx .xls .ods": "a spreadsheet: save it as CSV",
    ".mat": f"MATLAB: {_TO_CSV}",
    ".db .sqlite": f"a database: {_TO_CSV}",
}
_ARRAYS = "save x_train and y_train with numpy.savez_compressed as .npz"
# What else datasets come in, and how it becomes something that is read.
_CONVERT = {
    ".npy": f"arrays of pixels and classes: {_ARRAYS}",
    ".mat": f"MATLAB files, as SVHN's: read them with scipy.io.loadmat and {_ARRAYS}",
    ".h5 .hdf5": f"HDF5 files: read them with h5py and {_ARRAYS}",
    ".pkl .pickle .p": f"pickles, which can run code and are not read: {_ARRAYS}",
    ".pt": f"PyTorch files, which can run code and are not read: {_ARRAYS}",
    ".bin": f"binary batches of an unknown form, as STL-10's: {_ARRAYS}",
    ".arrow": "Arrow files of `datasets`: write Parquet with Dataset.to_parquet",
    ".cls": "WebDataset shards: unpack them, and put the images into class folders",
    ".csv": f"a table that names no files; pixels as numbers are not read: {_ARRAYS}",
    ".dcm": "DICOM: export the images as PNG",
    ".mp4 .avi .mov": "videos: write their frames as images"
    " (ffmpeg -i FILE frame-%05d.png)",
    "": "files without an ending: give the images theirs, as .jpg or .png",
}


def _by_ending(table: dict[str, str], ending: str) -> str:
    """The text of a table for an ending; '' for none."""
    found = (text for endings, text in table.items() if ending in endings.split(" "))
    return next(found, "")


def notes(listing: Listing) -> list[str]:
    """Sentences about the files beside the images that may know their classes."""
    sentences = []
    images = {posixpath.splitext(name)[0] for name in listing.images}
    stems = [
        re.escape(posixpath.basename(stem)) for stem in sorted(images)[:_MAX_NAMES]
    ]
    named = re.compile(rf"(?:^|[\s/\\\\,;\"])(?:{'|'.join(stems)})(?:[.\s,;\"]|$)")
    texts = []
    kinds: dict[str, list[str]] = {}
    for name in listing.names:
        suffix = posixpath.splitext(name)[1].lower()
        if _by_ending(_ANNOTATIONS, suffix):
            kinds.setdefault(suffix, []).append(name)
        elif suffix == ".txt" and _has_image(name, images):
            kinds.setdefault("text", []).append(name)
        elif suffix in (".json", ".jsonl", ".csv", ".tsv", ".txt"):
            texts.append(name)
    for kind, names in kinds.items():
        what = _by_ending(_ANNOTATIONS, kind) or f"a text an image, as YOLO's: {_BOXES}"
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        sentences.append(f"{names[0]}{more} ({what})")
    if len(texts) <= _MAX_READ:
        for name, data in listing.read(texts).items():
            if what := _of_text(data[:_HEAD_BYTES], named):
                sentences.append(f"{name} ({what})")
    return sentences[:_MAX_NOTES]


def how_to_convert(names: Iterable[str]) -> str:
    """How to convert the most frequent kind of file; '' if it is unknown."""
    kinds = Counter(posixpath.splitext(name)[1].lower() for name in names)
    found = (_by_ending(_CONVERT, kind) for kind, _ in kinds.most_common())
    return next(filter(None, found), "")


def _has_image(name: str, images: set[str]) -> bool:
    """Whether a text belongs to one image, beside it or in a folder of labels."""
    stem = posixpath.splitext(name)[0]
    return stem in images or stem.replace("labels/", "images/") in images


def _of_text(data: bytes, named: re.Pattern[str]) -> str:
    text = data.decode("utf-8", "replace")
    if '"categories"' in text and '"annotations"' in text:
        return f"as COCO's: {_BOXES}"
    if '"shapes"' in text and '"points"' in text:
        return f"as LabelMe's: {_BOXES}"
    if named.search(text):
        return "names images, in a form that is not known"
    return ""
