"""A look at images, a check of them, and the contract made from them; see `slimline data`."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from slimline import errors, roots

if TYPE_CHECKING:
    from components.image_example_gen.inspection import Inspection
    from components.image_example_gen.layouts import Answers
    from components.image_example_gen.records import Unreadable
    from data_check.findings import Findings
    from data_check.labelled_images import LabelledImage
    from pipeline.config import DataConfig

    Images = Iterable[LabelledImage | Unreadable]

__all__ = ["check", "init", "inspect"]

Settings = Mapping[str, Any]


def inspect(
    path: str | os.PathLike[str], settings: Settings | None = None
) -> "Inspection":
    """What is seen at `path`; writes nothing.

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
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    *,
    replaces: bool = False,
) -> pathlib.Path:
    """Writes schema and labels for the data at `path`; returns their folder.

    Args:
      path: folder or archive.
      output: folder of the contract; None for schema/<name of the data>.
      settings: about the layout, dotted key -> value, as {"data.format": "idx"}.
      replaces: an existing contract may go.

    Raises:
      ConfigError, DataError: there is a contract already, or the data cannot be read.
    """
    _, folder = make_contract(path, output, config(settings), replaces=replaces)
    return folder


def check(
    path: str | os.PathLike[str],
    run: str | pathlib.Path | None = None,
    root: str | os.PathLike[str] = "runs",
    settings: Settings | None = None,
) -> "Findings":
    """What is wrong with images and labels: hints, and nothing is changed.

    Args:
      path: folder or archive.
      run: on these images, whose model doubts labels of its test images.
      root: folder of the runs.
      settings: about the layout, dotted key -> value, as {"data.format": "idx"}.

    Raises:
      ConfigError, DataError: there are no images, or no such run.
    """
    from slimline import notebook

    with notebook.without_noise():
        return look_for_faults(path, run, root, layout_answers(settings))


def look_for_faults(
    path: str | os.PathLike[str],
    run: str | pathlib.Path | None,
    root: str | os.PathLike[str],
    answers: "Answers",
    watch: "Callable[[Images], Images]" = iter,
) -> "Findings":
    """See `check`.

    Args:
      path, run, root: see `check`.
      answers: about the layout.
      watch: sees each image on its way, to show progress.
    """
    from data_check import checking, labelled_images
    from pipeline.runs import runs

    evaluation_uri = None
    if run is not None:
        summary = runs.read_summary(runs.find(roots.local(root), run))
        (evaluation_uri,) = summary["artifacts"]["evaluate"]["evaluation"]
    found = labelled_images.from_path(find(path), answers)
    return checking.check(os.fspath(path), watch(found), evaluation_uri)


def look(path: str | os.PathLike[str], config: "DataConfig") -> "Inspection":
    """See `inspect`; `config` is about layout and splits."""
    from components.image_example_gen import inspection
    from pipeline import answers

    return inspection.inspect(find(path), answers.of(config), answers.cut(config))


def make_contract(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    config: "DataConfig",
    *,
    replaces: bool,
) -> "tuple[Inspection, pathlib.Path]":
    """See `init`; also returns what was seen."""
    from pipeline import inputs
    from schema import contract

    name = inputs.name_of(inputs.fetched(path).resolve())
    folder = pathlib.Path("schema") / name if output is None else pathlib.Path(output)
    existing = [
        folder / file
        for file in (contract.SCHEMA_FILE, contract.LABELS_FILE)
        if (folder / file).exists()
    ]
    if existing and not replaces:
        raise errors.ConfigError(
            f"there is a contract in {folder} already",
            found=", ".join(map(str, existing)),
            tip="--force replaces it, --output DIR writes elsewhere",
        )
    found = look(path, config)
    from components.image_example_gen import inspection

    made = inspection.make_contract(found)
    try:
        contract.save(made, folder)
    except OSError as error:
        raise errors.ConfigError(
            f"cannot write to {folder}: {error.strerror or error}",
            tip="--output DIR writes elsewhere",
        ) from error
    return found, folder


def config(settings: Settings | None) -> "DataConfig":
    """Settings about the data, over those of the environment."""
    from pipeline import experiments
    from pipeline import settings as pipeline_settings

    resolved = pipeline_settings.resolve(experiments.DEFAULT, settings=settings)
    return resolved.config.data


def layout_answers(settings: Settings | None) -> "Answers":
    """What `settings` and the environment say about the layout."""
    from pipeline import answers

    return answers.of(config(settings))


def find(path: str | os.PathLike[str]) -> str:
    """The folder or archive that `path` means; of a pattern of spans the newest.

    Raises:
      ConfigError: the pattern cannot be read.
      DataError: there is none, or it may not be read.
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
            f"cannot read {path}", tip="its permissions do not let this user"
        )
    return str(place)
