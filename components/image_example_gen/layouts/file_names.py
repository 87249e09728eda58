"""Classes in file names (`dog.12.jpg`): only where a setting asks for them."""

from common.errors import DataError
from components.image_example_gen.layouts import image_files, split_names
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.layouts.listed import Entry, FileLayout


def find(listing: Listing) -> FileLayout | None:
    """Layout by the names of the files, where `class_from` or the format asks for it.

    Raises:
      DataError: no name holds a class.
    """
    if listing.answers.class_from != "name" and listing.answers.format != "names":
        return None
    given = dict(listing.answers.splits)
    entries = {
        name: (Entry(split_names.of_path(name.split("/")[:-1], given), text),)
        for name in listing.images
        if (text := image_files.class_of(name))
    }
    if not entries:
        raise DataError(
            "no file name holds a class",
            found=", ".join(listing.images[:3]),
            expected="a class, then a number: dog.12.jpg, beagle_7.jpg",
        )
    words = ["the class is the file's name before its number"]
    if left_out := len(listing.images) - len(entries):
        words.append(
            f"{left_out:,} images have no class in their name and are left out"
        )
    return FileLayout(format="names", words=tuple(words), entries=entries)
