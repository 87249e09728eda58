"""Which files count as images by their names alone, and which are litter."""

import posixpath

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"}
    | {".tif", ".tiff", ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
# Images that are not decoded here: they are listed as unreadable, not ignored.
OTHER_IMAGE_SUFFIXES = frozenset(
    {".jp2", ".jxl", ".psd", ".svg", ".tga", ".exr", ".dcm"}
)
# What systems and tools leave beside the images, by names in lower case.
LITTER = {
    "@eadir": "thumbnails of a Synology NAS",
    "@tmp": "working files of a Synology NAS",
    "#recycle": "deleted files of a Synology NAS",
    "#snapshot": "snapshots of a Synology NAS",
    "@recycle": "deleted files of a QNAP NAS",
    "@recently-snapshot": "snapshots of a QNAP NAS",
    ".@__thumb": "thumbnails of a QNAP NAS",
    "$recycle.bin": "deleted files of Windows",
    "recycler": "deleted files of Windows",
    "system volume information": "files of Windows",
    "thumbs.db": "thumbnails of Windows",
    "ehthumbs.db": "thumbnails of Windows",
    "desktop.ini": "settings of Windows",
    "__macosx": "attributes of macOS files",
    ".ds_store": "settings of macOS",
    ".appledouble": "attributes of macOS files",
    ".trashes": "deleted files of macOS",
    "icon\r": "settings of macOS",
    "lost+found": "what a check of the disk found",
    ".thumbnails": "thumbnails of a desktop",
    ".ipynb_checkpoints": "copies made by Jupyter",
    "__pycache__": "compiled Python",
    ".git": "version control",
    ".dvc": "version control of data",
}
_LITTER_STARTS = {
    "._": "attributes of macOS files",
    ".trash": "deleted files of a desktop",
    ".": "hidden",
}


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image by its name."""
    suffix = posixpath.splitext(name)[1].lower()
    return not is_litter(name) and (
        suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGE_SUFFIXES
    )


def is_litter(name: str) -> bool:
    """Whether a path has a hidden part or one that only tools leave."""
    return bool(litter_in(name))


def litter_in(name: str) -> str:
    """The path down to its first part that is litter; '' where none is.

    All that lies below such a folder counts as one.
    """
    parts = name.split("/")
    for count, part in enumerate(parts, start=1):
        if _litter(part):
            return "/".join(parts[:count])
    return ""


def why_ignored(name: str) -> str:
    """Why a file does not belong to a dataset, judging by its name."""
    if litter := litter_in(name):
        return _litter(posixpath.basename(litter))
    if is_image_name(name):
        return "no part of the layout"
    return "no image by its name"


def _litter(part: str) -> str:
    folded = part.lower()
    if what := LITTER.get(folded):
        return what
    if folded[:1] != "." or folded in (".", ".."):
        return ""
    return next(
        what for start, what in _LITTER_STARTS.items() if folded.startswith(start)
    )
