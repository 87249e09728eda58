"""Image classification from labelled images to a served model.

import slimline as sl

run = sl.run("cifar10_resnet_20", data="cifar-10-binary.tar.gz")
model = sl.load("cifar10")
model.predict(["cat.png"])
"""

import logging
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimline import errors
from slimline.run_result import Run, Sweep

if TYPE_CHECKING:
    from pipeline.run_comparison import Comparison
    from serving.local_model import LocalModel

__all__ = ["Run", "Sweep", "compare", "errors", "load", "run", "sweep"]

logging.getLogger("slimline").addHandler(logging.NullHandler())


def run(
    experiment: str,
    data: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    root: str | os.PathLike[str] = "runs",
) -> Run:
    """Trains, evaluates, gates and pushes one experiment; see `slimline run`.

    Args:
      experiment: name of an experiment.
      data: folder or archive of the images; None for an experiment that brings its own.
      settings: dotted key -> value, as {"train.epochs": 30}. They go before
        SLIMLINE_<SECTION>__<KEY> of the environment.
      root: folder of the runs.

    Returns:
      The outcome. A model that was refused is one too: `passed` is False then.

    Raises:
      ConfigError, DataError, TrainError: what the caller can mend.
    """
    from pipeline import inputs, runs
    from pipeline import settings as pipeline_settings
    from slimline import session

    resolved = pipeline_settings.resolve(
        experiment,
        data=None if data is None else os.fspath(data),
        settings=settings,
    )
    inputs.check(resolved.config)
    root = pathlib.Path(root)
    folder = runs.create(root, resolved.values(), resolved.origins)
    return Run(session.execute(resolved, root, folder))


def sweep(
    name: str,
    data: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    root: str | os.PathLike[str] = "runs",
) -> Sweep:
    """Trains the members of a sweep and compares them; see `slimline sweep`.

    Args:
      name: of the sweep.
      data: folder or archive of the images.
      settings: dotted key -> value, for all members.
      root: folder of the runs.

    Returns:
      A row a member. One that failed has a note instead of figures.

    Raises:
      ConfigError, DataError: what the caller can mend.
    """
    from pipeline import inputs, runs, sweeps
    from pipeline import settings as pipeline_settings
    from slimline import session

    sweeps.find(name)
    resolved = pipeline_settings.resolve(
        name, data=None if data is None else os.fspath(data), settings=settings
    )
    members = sweeps.configs(name, resolved.config)
    for config in members.values():
        inputs.check(config)
    root = pathlib.Path(root)
    folder = runs.create(root, resolved.values(), resolved.origins)
    rows = session.execute_sweep(members, resolved, root, folder)
    return Sweep(folder, tuple(rows))


def compare(*names: str, root: str | os.PathLike[str] = "runs") -> "Comparison":
    """Finished runs side by side; see `slimline compare`.

    Args:
      *names: two runs or more: names, their two words, prefixes, or 'run/member' of a
        sweep. The others are held against the first.
      root: folder of the runs.

    Returns:
      Settings that differ, differences with intervals; `to_frame()` has the figures.

    Raises:
      ConfigError: fewer than two, or one is unknown, not finished, or given twice.
    """
    from pipeline import run_comparison

    return run_comparison.compare(pathlib.Path(root), names)


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] = "runs",
) -> "LocalModel":
    """A pushed model.

    Args:
      name_or_path: 'cifar10' (newest version), 'cifar10@6', or the folder of a SavedModel;
        None for the only model under `root`.
      root: folder of the runs.

    Raises:
      ConfigError: there is no such model.
    """
    from serving import local_model

    wanted = None if name_or_path is None else os.fspath(name_or_path)
    return local_model.LocalModel.load(
        local_model.find_model(pathlib.Path(root), wanted)
    )
