"""Which files count as images by their names alone."""

import posixpath

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"}
)
# Images that nobody decodes here: they are listed as unreadable and not passed over.
OTHER_IMAGE_SUFFIXES = frozenset(
    {".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".psd", ".svg", ".ppm", ".pgm"}
)
# What tools leave behind beside the images; hidden names are ignored as well.
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "__pycache__"})


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image by its name."""
    suffix = posixpath.splitext(name)[1].lower()
    return not is_litter(name) and (
        suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGE_SUFFIXES
    )


def is_litter(name: str) -> bool:
    """Whether a path has a hidden part or one that only tools leave behind."""
    return any(
        part.startswith(".") or part.lower() in LITTER for part in name.split("/")
    )
