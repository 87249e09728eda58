"""What a run reads: the images, their contract, and whether the two fit the net."""

import dataclasses
import pathlib
import re

from components.image_example_gen import fingerprint
from pipeline import digits, evaluation, infra
from pipeline.config import PipelineConfig
from schema import contract
from schema.errors import ConfigError, DataError
from trainer import sampling, schedules, weights
from trainer.augmentation import limits
from trainer.nets import geometry, registry

# Value of train.warm_start that means the version that is live.
BLESSED = "blessed"
ARCHIVE_SUFFIX = re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|zip)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Resolved inputs of a run.

    Attributes:
      name: of the data set; the pushed model bears it unless it is given another.
      path: images, absolute.
      fingerprint: of their content.
      contract: schema and labels.
    """

    name: str
    path: pathlib.Path
    fingerprint: str
    contract: contract.Contract


def resolve(config: PipelineConfig, root: pathlib.Path) -> Inputs:
    """Checks the configuration against its data and net, before anything runs.

    Args:
      config: the experiment; `data.path` may be empty for the bundled digits.
      root: where the bundled digits are written.

    Raises:
      ConfigError: no data given, no contract found, or a net, size or rate that cannot
        work.
      DataError: there is nothing at `data.path`.
    """
    check(config)
    path = find_data(config, root)
    name, found = contract_for(config, path)
    return Inputs(
        name=name,
        path=path,
        fingerprint=fingerprint.fingerprint(path),
        contract=found,
    )


def contract_for(
    config: PipelineConfig, path: pathlib.Path
) -> tuple[str, contract.Contract]:
    """Name of the data set at `path`, which need not exist here, and its contract.

    Raises:
      ConfigError: there is none, or a floor of the gate is for a class that it lacks.
    """
    name = config.data.contract or name_of(path)
    found = contract.load(_find_contract(config, path))
    evaluation.check(config.evaluation, found.labels)
    return pathlib.PurePath(name).name, found


def check(config: PipelineConfig) -> None:
    """Finds the mistakes that show without a look into the data; writes nothing.

    Raises:
      ConfigError: an unknown net, sizes that do not fit each other or the net, a
        schedule, an augmentation or a floor that cannot be, classes balanced twice, or
        a check of the served model that cannot run here.
      DataError: there is nothing at `data.path`.
    """
    preprocessing = config.preprocessing
    if preprocessing.crop_px > preprocessing.resize_px:
        raise ConfigError(
            "setting 'preprocessing.crop_px' is larger than the resized image",
            found=f"crop_px {preprocessing.crop_px}, resize_px {preprocessing.resize_px}",
            tip=f"--set preprocessing.resize_px={preprocessing.crop_px}",
        )
    size_px = config.trainer.image_size_px
    if size_px > preprocessing.crop_px:
        raise ConfigError(
            "setting 'model.image_size_px' is larger than the preprocessed image",
            found=f"image_size_px {size_px}, crop_px {preprocessing.crop_px}",
            tip=f"--set preprocessing.resize_px={size_px}"
            f" --set preprocessing.crop_px={size_px}",
        )
    spec = registry.find(config.model.net)
    geometry.check_image_size(spec, size_px, size_px)
    geometry.check_rows(spec, config.train.freeze)
    geometry.check_rows(spec, config.train.warm_start_exclude)
    if config.train.warm_start not in ("", BLESSED):
        weights.checkpoint_in(config.train.warm_start)
    schedules.check(config.schedule, config.train.learning_rate)
    limits.check(config.trainer)
    sampling.check(config.train)
    evaluation.check(config.evaluation)
    infra.check(config.infra)
    if config.data.path and not _given_path(config).exists():
        raise DataError(
            f"no data at {config.data.path}",
            expected="a folder or an archive (.tar, .tar.gz, .tar.xz, .zip)",
        )


def name_of(path: pathlib.Path) -> str:
    """Data set name of a folder or archive: 'Cats & dogs.tar.gz' -> 'cats-dogs'."""
    stem = ARCHIVE_SUFFIX.sub("", path.name)
    return re.sub(r"[^a-z0-9_.]+", "-", stem.lower()).strip("-.") or "data"


def _given_path(config: PipelineConfig) -> pathlib.Path:
    return pathlib.Path(config.data.path).expanduser().resolve()


def find_data(config: PipelineConfig, root: pathlib.Path) -> pathlib.Path:
    """Where the images are, absolute; the bundled digits are written below `root`.

    Raises:
      ConfigError: no data given, and the experiment brings none.
    """
    if config.data.path:
        return _given_path(config)
    if config.data.contract == digits.NAME:
        return digits.write_folders((root / "data" / digits.NAME).resolve())
    raise ConfigError(
        f"experiment '{config.name}' needs images",
        tip="--data PATH with a folder or an archive; slimline data inspect PATH shows"
        " what is seen in it",
    )


def _find_contract(config: PipelineConfig, path: pathlib.Path) -> pathlib.Path:
    if config.data.contract:
        return contract.find(config.data.contract)
    name = name_of(path)
    for candidate in (str(pathlib.Path("schema") / name), name):
        try:
            return contract.find(candidate)
        except ConfigError:
            continue
    raise ConfigError(
        f"no data contract for '{name}'",
        expected=f"schema/{name}/ with {contract.SCHEMA_FILE} and {contract.LABELS_FILE}",
        tip=f"slimline data init {path} writes them after a look at the data;"
        " or --set data.contract=NAME",
    )
