"""All layouts, in the order in which they are looked for.

A new layout is a module with a function that finds it, and a line here.
"""

from collections.abc import Callable

from components.image_example_gen.layouts import (
    arrays,
    cifar,
    file_names,
    folders,
    idx,
    parquet,
    path_lists,
    published,
    tables,
    tfrecords,
)
from components.image_example_gen.layouts.layout import AUTO, Layout, Listing

# Formats, and what finds them: it gives None where the files are not of that kind, raises
# ConfigError where several readings fit, and DataError where the files break the format.
FINDERS: dict[tuple[str, ...], Callable[[Listing], Layout | None]] = {
    cifar.FORMATS: cifar.find,
    ("idx",): idx.find,
    ("tfrecord",): tfrecords.find,
    ("parquet",): parquet.find,
    ("npz",): arrays.find,
    ("names",): file_names.find,
    ("tiny_imagenet",): published.find_tiny_imagenet,
    ("cub",): published.find_cub,
    ("oxford_pets",): published.find_oxford_pets,
    ("path_lists",): path_lists.find,
    ("list",): tables.find,
    ("folder",): folders.find,
}
FORMATS = tuple(format for formats in FINDERS for format in formats)


def find(listing: Listing) -> Layout | None:
    """The first layout that the files are in, among those that were asked for.

    Raises:
      ConfigError: several readings fit.
      DataError: the files break the layout that they are in.
    """
    for formats, find_layout in FINDERS.items():
        if listing.answers.format in (AUTO, *formats) and (
            layout := find_layout(listing)
        ):
            return layout
    return None
