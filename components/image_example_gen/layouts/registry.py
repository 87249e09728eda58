"""All layouts, in the order in which they are looked for.

A new layout is a module with `FORMATS` and `find` (`layout.Recogniser`) and a line here.
"""

from components.image_example_gen.layouts import (
    arrays,
    cifar,
    cub,
    file_names,
    folders,
    idx,
    oxford_pets,
    parquet,
    path_lists,
    tables,
    tfrecords,
    tiny_imagenet,
)
from components.image_example_gen.layouts.layout import (
    AUTO,
    Layout,
    Listing,
    Recogniser,
)

RECOGNISERS: tuple[Recogniser, ...] = (
    cifar,
    idx,
    tfrecords,
    parquet,
    arrays,
    file_names,
    tiny_imagenet,
    cub,
    oxford_pets,
    path_lists,
    tables,
    folders,
)
# Few large files, known by name: a tar of them need not be unpacked to its end.
EARLY: tuple[Recogniser, ...] = (cifar,)
FORMATS = tuple(name for module in RECOGNISERS for name in module.FORMATS)


def find(
    listing: Listing, recognisers: tuple[Recogniser, ...] = RECOGNISERS
) -> Layout | None:
    """The first layout that the files are in, among those that were asked for.

    Raises:
      ConfigError: several readings fit.
      DataError: the files break the layout that they are in.
    """
    for module in recognisers:
        if listing.answers.format in (AUTO, *module.FORMATS) and (
            layout := module.find(listing)
        ):
            return layout
    return None
