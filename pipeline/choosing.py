"""Chooses the experiment where a command names none, or names data in its place."""

import dataclasses
import pathlib

from common.errors import ConfigError, DataError
from components.image_example_gen import spans
from pipeline import experiments, inputs

OWN_IMAGES = "photos"
# Layouts that one published data set has -> its name, and the experiment for it.
KNOWN = {
    "cifar10_binary": ("CIFAR-10", "cifar10_resnet_20"),
    "cifar10_python": ("CIFAR-10", "cifar10_resnet_20"),
    "idx": ("MNIST, or one of its kind,", "mnist_resnet_34"),
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """An experiment and its data.

    Attributes:
      experiment: its name.
      data: path of the images, None for bundled data or a path in the settings.
      reason: a sentence where the user did not name the experiment, else ''.
    """

    experiment: str
    data: str | None
    reason: str = ""


def choose(experiment: str | None, data: str | None) -> Choice:
    """What `slimline run EXPERIMENT --data DATA` means.

    Args:
      experiment: as given; the path of data counts where `data` is None and no experiment
        has that name.
      data: as given.

    Raises:
      ConfigError: the data are a published set that has its own experiment.
    """
    if experiment is not None and (data is not None or not _is_path(experiment)):
        return Choice(experiment, data)
    data = data if experiment is None else experiment
    if data is None:
        return Choice(experiments.DEFAULT, None)
    place = inputs.fetched(data)
    if place.exists():  # else `inputs.check` reports it
        _ask_of_known(data, place)
    return Choice(
        OWN_IMAGES,
        data,
        f"experiment {OWN_IMAGES}, for images of your own; slimline experiments lists all",
    )


def _is_path(text: str) -> bool:
    if text in experiments.EXPERIMENTS:
        return False
    path = pathlib.Path(text).expanduser()
    is_written_as_path = "/" in text or bool(inputs.ARCHIVE_SUFFIX.search(text))
    return is_written_as_path or spans.is_pattern(text) or path.exists()


def _ask_of_known(data: str, place: pathlib.Path) -> None:
    # Takes seconds to load.
    from components.image_example_gen import layouts

    try:
        found = layouts.plan(str(place)).layout.format
    except (ConfigError, DataError):
        return  # `inputs.look` reports it, unless the settings solve it
    if found in KNOWN:
        name, experiment = KNOWN[found]
        raise ConfigError(
            f"which experiment? {data} holds {name} by its layout",
            expected=f"slimline run {experiment} --data {data}, made for it, or"
            f" slimline run {OWN_IMAGES} --data {data}",
        )
