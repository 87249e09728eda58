"""Inspects images, checks them, and writes their contract; see `slimline data`."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import os_errors_as
from slimline import errors, roots
from slimline.roots import StrPath

if TYPE_CHECKING:
    from components.image_example_gen.inspection import Inspection
    from components.image_example_gen.records import Unreadable
    from data_check.findings import Findings
    from data_check.labelled_images import LabelledImage
    from pipeline.config import DataConfig

    Images = Iterable[LabelledImage | Unreadable]

__all__ = ["check", "init", "inspect"]

Settings = Mapping[str, Any]


def inspect(path: StrPath, settings: Settings | None = None) -> "Inspection":
    """Layout, classes and images found at `path`; writes nothing.

    Args:
      path: folder or archive; of a pattern of spans the newest is taken.
      settings: about the layout, dotted key -> value, as {"data.format": "idx"}.

    Raises:
      ConfigError, DataError: there are no images, or they cannot be read.
    """
    from slimline import notebook

    with notebook.without_noise():
        return look(path, config(settings))


def init(
    path: StrPath,
    output: StrPath | None = None,
    settings: Settings | None = None,
    *,
    replaces: bool = False,
) -> pathlib.Path:
    """Writes schema and labels for the data at `path`; returns their folder.

    Args:
      path: folder or archive.
      output: folder of the contract; None for schema/<name of the data>.
      settings: about the layout, dotted key -> value, as {"data.format": "idx"}.
      replaces: replace an existing contract.

    Raises:
      ConfigError, DataError: there is a contract already, or the data cannot be read.
    """
    _, folder = make_contract(path, output, config(settings), replaces=replaces)
    return folder


def check(
    path: StrPath,
    run: str | pathlib.Path | None = None,
    root: StrPath = "runs",
    settings: Settings | None = None,
) -> "Findings":
    """Hints at what is wrong with images and labels; writes nothing.

    Args:
      path: folder or archive.
      run: one on these images; its model points at doubtful labels of the test split.
      root: folder of the runs.
      settings: about the layout, dotted key -> value, as {"data.format": "idx"}.

    Raises:
      ConfigError, DataError: there are no images, or no such run.
    """
    from slimline import notebook

    with notebook.without_noise():
        return look_for_faults(path, run, root, config(settings))


def look_for_faults(
    path: StrPath,
    run: str | pathlib.Path | None,
    root: StrPath,
    config: "DataConfig",
    watch: "Callable[[Images], Images]" = iter,
) -> "Findings":
    """See `check`.

    Args:
      path, run, root: see `check`.
      config: about layout and splits.
      watch: takes the images and yields them again, to show progress.
    """
    from data_check import checking, labelled_images
    from pipeline import answers
    from pipeline.runs import runs

    evaluation_uri = None
    if run is not None:
        summary = runs.read_summary(runs.find(roots.local(root), run))
        (evaluation_uri,) = summary["artifacts"]["evaluate"]["evaluation"]
    found = labelled_images.from_path(find(path), answers.of(config))
    return checking.check(os.fspath(path), watch(found), evaluation_uri)


def look(path: StrPath, config: "DataConfig") -> "Inspection":
    """See `inspect`; `config` is about layout and splits."""
    from components.image_example_gen import inspection
    from pipeline import answers

    return inspection.inspect(find(path), answers.of(config), answers.cut(config))


def make_contract(
    path: StrPath,
    output: StrPath | None,
    config: "DataConfig",
    *,
    replaces: bool,
) -> "tuple[Inspection, pathlib.Path]":
    """See `init`; also returns the inspection."""
    from pipeline import inputs
    from schema import contract

    name = inputs.name_of(inputs.fetched(path).resolve())
    folder = pathlib.Path("schema") / name if output is None else pathlib.Path(output)
    files = [folder / contract.SCHEMA_FILE, folder / contract.LABELS_FILE]
    existing = [str(file) for file in files if file.exists()]
    if existing and not replaces:
        raise errors.ConfigError(
            f"there is a contract in {folder} already",
            found=", ".join(existing),
            tip="--force replaces it, --output DIR writes elsewhere",
        )
    found = look(path, config)
    from components.image_example_gen import inspection

    made = inspection.make_contract(found)
    with os_errors_as(
        errors.ConfigError,
        f"cannot write to {folder}",
        tip="--output DIR writes elsewhere",
    ):
        contract.save(made, folder)
    return found, folder


def config(
    settings: Settings | None = None, assignments: Sequence[str] = ()
) -> "DataConfig":
    """What a caller and the environment say about the data.

    Args:
      settings: dotted key -> value.
      assignments: 'key=value', as --set takes them.

    Raises:
      ConfigError: an unknown setting, or a value that does not fit it.
    """
    from pipeline import experiments
    from pipeline import settings as pipeline_settings

    return pipeline_settings.resolve(
        experiments.DEFAULT, settings=settings, assignments=assignments
    ).config.data


def find(path: StrPath) -> str:
    """The folder or archive at `path`; of a pattern of spans the newest.

    Raises:
      ConfigError: the pattern is malformed.
      DataError: there is none, or its permissions forbid reading.
    """
    from components.image_example_gen import spans
    from pipeline import inputs

    place = spans.resolve(inputs.fetched(path))[-1].path
    if not os.path.exists(place):  # noqa: PTH110, pathlib raises below closed folders
        raise errors.DataError(
            f"no data at {path}",
            expected="a folder or an archive (.tar, .tar.gz, .tar.xz, .zip)",
        )
    if not os.access(place, os.R_OK):
        raise errors.DataError(
            f"cannot read {path}", tip="its permissions forbid it to this user"
        )
    return str(place)
