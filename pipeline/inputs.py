"""What a run reads: the images, their contract, and whether the two fit the net."""

import dataclasses
import hashlib
import logging
import pathlib
import re

from components.image_example_gen import fingerprint, spans
from pipeline import answers, digits, evaluation, infra
from pipeline.config import PipelineConfig
from schema import contract
from schema.errors import ConfigError, DataError
from trainer import head_settings, sampling, schedules
from trainer.augmentation import limits
from trainer.nets import geometry, registry
from trainer.weights import checkpoints, store

_PROGRESS = logging.getLogger("slimline.progress")

# Words beside a token that name no data set: 'span-{SPAN}', 'v{VERSION}'.
_PLAIN_WORDS = frozenset({"", "day", "date", "span", "v", "ver", "version"})
ARCHIVE_SUFFIX = re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|zip)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Resolved inputs of a run.

    Attributes:
      name: of the data set; the pushed model bears it unless it is given another.
      path: images, absolute; a pattern where they come in spans.
      data_sets: what is read, one for each span of the window, the newest last.
      fingerprint: of their content.
      contract: schema and labels.
    """

    name: str
    path: pathlib.Path
    data_sets: tuple[spans.DataSet, ...]
    fingerprint: str
    contract: contract.Contract


def resolve(config: PipelineConfig, root: pathlib.Path) -> Inputs:
    """Checks the configuration against its data and net, before anything runs.

    Args:
      config: the experiment; `data.path` may be empty for the bundled digits.
      root: where the bundled digits are written.

    Raises:
      ConfigError: no data given, no contract found or written, or a net, size or rate that
        cannot work.
      DataError: there is nothing at `data.path`, or it holds no data set.
    """
    check(config)
    path = data_path(config, root)
    if config.data.init_contract:
        _init_contract(config, path)
    name, found = contract_for(config, path)
    data_sets = find_data_sets(config, path)
    return Inputs(
        name=name,
        path=path,
        data_sets=data_sets,
        fingerprint=fingerprint_of(data_sets),
        contract=found,
    )


def find_data_sets(
    config: PipelineConfig, path: pathlib.Path
) -> tuple[spans.DataSet, ...]:
    """What a run would read of `path`: itself, or the spans of the window.

    Raises:
      ConfigError: the pattern cannot be read.
      DataError: no span is there, or not the one of `data.span`.
    """
    return spans.resolve(path, window=config.data.window_spans, last=config.data.span)


def fingerprint_of(data_sets: tuple[spans.DataSet, ...]) -> str:
    """Of one data set `fingerprint.fingerprint`; of several a digest of theirs."""
    found = [fingerprint.fingerprint(data.path) for data in data_sets]
    if len(found) == 1:
        return found[0]
    text = "".join(
        f"{data.span} {digest}\n" for data, digest in zip(data_sets, found, strict=True)
    )
    return hashlib.sha256(text.encode()).hexdigest()


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
      ConfigError: an unknown layout or net, sizes that do not fit each other or the net, a
        schedule, an augmentation or a floor that cannot be, classes balanced twice, a
        check of the served model that cannot run here, or no contract and
        `data.init_contract` off.
      DataError: there is nothing at `data.path`.
    """
    answers.of(config.data)
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
    for name in ("mean", "deviation"):
        values = getattr(preprocessing, name)
        if len(values) not in (1, preprocessing.channels):
            raise ConfigError(
                f"setting 'preprocessing.{name}' does not fit the channels",
                found=f"{len(values)} numbers",
                expected=f"1, or {preprocessing.channels}: one a channel",
            )
    spec = registry.find(config.model.net)
    geometry.check_image_size(spec, size_px, size_px)
    geometry.check_rows(spec, config.train.freeze)
    geometry.check_rows(spec, config.train.weights_exclude)
    head_settings.check(config.trainer)
    if store.is_published(config.train.weights):
        _check_weights(config)
    elif config.train.weights not in ("", store.BLESSED):
        checkpoints.checkpoint_in(config.train.weights)
        # TensorFlow takes seconds to import; only a comparison of weights needs it here.
        from trainer import warm_start

        warm_start.check(config.trainer)
    schedules.check(config.schedule, config.train.learning_rate)
    limits.check(config.trainer)
    sampling.check(config.train)
    evaluation.check(config.evaluation)
    infra.check(config.infra)
    if spans.is_pattern(config.data.path):
        find_data_sets(config, _given_path(config))
    elif config.data.path and not _given_path(config).exists():
        raise DataError(
            f"no data at {config.data.path}",
            expected="a folder or an archive (.tar, .tar.gz, .tar.xz, .zip)",
        )
    if config.data.path and not config.data.init_contract:
        _find_contract(config, _given_path(config))


def _check_weights(config: PipelineConfig) -> None:
    manifest = store.find(config.train.weights)
    if config.model.net != manifest.net:
        raise ConfigError(
            f"the weights {config.train.weights!r} belong to another net",
            found=f"model.net {config.model.net}",
            expected=manifest.net,
            tip=f"--set model.net={manifest.net}",
        )
    channels = manifest.preprocessing["channels"]
    if config.preprocessing.channels != channels:
        raise ConfigError(
            f"the weights {config.train.weights!r} expect {channels} channels",
            found=f"preprocessing.channels {config.preprocessing.channels}",
            tip="gray images are read as colour, too; leave preprocessing.channels out",
        )
    if not config.model.batch_norm:
        raise ConfigError(
            f"the weights {config.train.weights!r} are those of the net with batch norm",
            found="model.batch_norm false",
            expected="true",
        )


def name_of(path: pathlib.Path) -> str:
    """Data set name of a folder or archive: 'Cats & dogs.tar.gz' -> 'cats-dogs'.

    Of a pattern what stays without its tokens: 'cats/{SPAN}/v{VERSION}.zip' -> 'cats'.
    """
    words = [ARCHIVE_SUFFIX.sub("", spans.without_tokens(part)) for part in path.parts]
    stem = ARCHIVE_SUFFIX.sub("", path.name)
    if spans.is_pattern(path):
        named = [word for word in words if word.lower() not in _PLAIN_WORDS]
        stem = named[-1] if named else ""
    return re.sub(r"[^a-z0-9_.]+", "-", stem.lower()).strip("-.") or "data"


def model_name(config: PipelineConfig, path: pathlib.Path) -> str:
    """Folder of the pushed model under the serving folder.

    Args:
      config: the experiment.
      path: of its data, or their pattern.
    """
    name = config.data.contract or name_of(path)
    return config.serving.model_name or pathlib.PurePath(name).name


def _given_path(config: PipelineConfig) -> pathlib.Path:
    return pathlib.Path(config.data.path).expanduser().resolve()


def find_data(config: PipelineConfig, root: pathlib.Path) -> pathlib.Path:
    """As `data_path`, but the newest span of a pattern.

    Raises:
      ConfigError: no data given, and the experiment brings none.
      DataError: no span is there.
    """
    return find_data_sets(config, data_path(config, root))[-1].path


def data_path(config: PipelineConfig, root: pathlib.Path) -> pathlib.Path:
    """Where the images are, absolute, or the pattern of their spans.

    The bundled digits are written below `root`.

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
    if found := _contract_by_name(path):
        return found
    name = name_of(path)
    raise ConfigError(
        f"no data contract for '{name}'",
        expected=f"schema/{name}/ with {contract.SCHEMA_FILE} and {contract.LABELS_FILE}",
        tip=f"slimline data init {path} writes them after a look at the data;"
        " or --set data.contract=NAME",
    )


def _contract_by_name(path: pathlib.Path) -> pathlib.Path | None:
    name = name_of(path)
    for candidate in (str(_own_contract(path)), name):
        try:
            return contract.find(candidate)
        except ConfigError:
            continue
    return None


def _own_contract(path: pathlib.Path) -> pathlib.Path:
    """Folder of the contract that `slimline data init` writes."""
    return pathlib.Path("schema") / name_of(path)


def _init_contract(config: PipelineConfig, path: pathlib.Path) -> None:
    """Writes the contract of data that have none, after a look at them."""
    if config.data.contract or _contract_by_name(path):
        return
    # Loads TensorFlow, whose decoder has the last word on images.
    from components.image_example_gen import inspection

    newest = find_data_sets(config, path)[-1].path
    made = inspection.make_contract(
        inspection.inspect(str(newest), answers.of(config.data))
    )
    folder = _own_contract(path)
    try:
        contract.save(made, folder)
    except OSError as error:
        raise ConfigError(
            f"cannot write the data contract to {folder}: {error.strerror or error}",
            tip=f"slimline data init {path} --output DIR writes it elsewhere",
        ) from error
    _PROGRESS.info(
        "contract_written",
        extra={"fields": {"folder": str(folder), "classes": len(made.labels)}},
    )
