"""Where the profile of a model's training data lies: beside the pushed model.

It goes with every version, so that the next training can measure how far new data have
drifted, on this machine and on a cluster that shares nothing but the models.
"""

import pathlib

from storage import manifest

FILE_NAME = "data_profile.pb"  # a DatasetFeatureStatisticsList


def of_version(folder: pathlib.Path) -> pathlib.Path:
    """The file in the folder of a version; versions of other tools have none."""
    return folder / manifest.EXTRA_FOLDER / FILE_NAME
