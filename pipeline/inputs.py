"""Inputs of a run: the images, their contract, and checks of both against the settings."""

import dataclasses
import hashlib
import os
import pathlib
import re

from common.errors import ConfigError, DataError, os_errors_as
from components.image_example_gen import fingerprint, spans
from pipeline import answers, digits, evaluation, infra, progress
from pipeline.config import PipelineConfig
from pipeline.runs import runs
from pushed_models import versions
from schema import contract
from storage import remote, remote_data
from trainer import (
    head_settings,
    plan,
    sampling,
    schedules,
    variable_groups,
    whitening,
)
from trainer.augmentation import limits
from trainer.nets import geometry, registry
from trainer.weights import checkpoints, store

# Words beside a token that do not name a data set: 'span-{SPAN}', 'v{VERSION}'.
_PLAIN_WORDS = frozenset({"", "day", "date", "span", "v", "ver", "version"})
_PLAIN_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# The longest name of a pipeline that TFX takes.
MAX_IDENTITY = 63
_DIGEST_CHARACTERS = 8
ARCHIVE_SUFFIX = re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|zip)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Resolved inputs of a run.

    Attributes:
      model_name: folder of the pushed model under the serving folder.
      identity: see `identity`.
      path: images, absolute; a pattern where they come in spans.
      data_sets: the images, or one for each span of the window, the newest last.
      fingerprint: of their content.
      contract: schema and labels.
    """

    model_name: str
    identity: str
    path: pathlib.Path
    data_sets: tuple[spans.DataSet, ...]
    fingerprint: str
    contract: contract.Contract


def resolve(config: PipelineConfig, root: pathlib.Path) -> Inputs:
    """Checks the configuration against its data and net; writes a missing contract.

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
    data_sets = find_data_sets(config, path)
    if _find_contract(config, path, root):
        found = contract_for(config, path, root)
    else:
        found = _init_contract(config, path, data_sets[-1].path)
    return Inputs(
        model_name=model_name(config, path),
        identity=identity(config, path),
        path=path,
        data_sets=data_sets,
        fingerprint=fingerprint_of(data_sets),
        contract=found,
    )


def look(config: PipelineConfig, root: pathlib.Path) -> None:
    """Finds mistakes in the settings and the names of the files; writes nothing.

    Args:
      config: the experiment.
      root: of the runs.

    Raises:
      ConfigError: as `check`; no data given; images of other channels than the experiment
        expects; or a contract that is missing or does not fit the settings.
      DataError: there is nothing at `data.path`, it holds no data set, or its classes are
        not those of the contract.
    """
    check(config)
    path = expected_path(config, root)
    labels: tuple[str, ...] = ()
    if not config.data.init_contract or _find_contract(config, path, root):
        labels = contract_for(config, path, root).labels
    if config.data.path:
        # Takes seconds to load, which bundled data do without.
        from components.image_example_gen import acceptance, layouts

        data_sets = find_data_sets(config, path)
        found = layouts.plan(str(data_sets[-1].path), answers.of(config.data))
        acceptance.check_channels(found.layout, config.preprocessing.channels)
        # A class may have its images in another span of the window.
        if found.classes and len(data_sets) == 1:
            acceptance.check_classes(found.classes, labels)


def find_data_sets(
    config: PipelineConfig, path: pathlib.Path
) -> tuple[spans.DataSet, ...]:
    """The data at `path`, or the spans of the window where it is a pattern.

    Raises:
      ConfigError: the pattern cannot be parsed.
      DataError: there is no span, or not the one of `data.span`.
    """
    return spans.resolve(path, window=config.data.window_spans, last=config.data.span)


def fingerprint_of(data_sets: tuple[spans.DataSet, ...]) -> str:
    """`fingerprint.fingerprint` of one data set; of several a digest of theirs."""
    found = [fingerprint.fingerprint(data.path) for data in data_sets]
    if len(found) == 1:
        return found[0]
    text = "".join(
        f"{data.span} {digest}\n" for data, digest in zip(data_sets, found, strict=True)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def contract_for(
    config: PipelineConfig, path: pathlib.Path, root: pathlib.Path | None = None
) -> contract.Contract:
    """The contract of the data set at `path`, which need not exist here.

    Args:
      config: the experiment.
      path: of its data.
      root: of the runs; its `schema/` and the one beside it are searched, too.

    Raises:
      ConfigError: there is none, or a floor of the gate is for a class that it lacks.
    """
    folder = _find_contract(config, path, root)
    if folder is None:
        raise _no_contract(path)
    found = contract.load(folder)
    evaluation.check(config.evaluation, found.labels)
    return found


def check(config: PipelineConfig) -> None:
    """Finds mistakes in the settings without reading the data; writes nothing.

    Raises:
      ConfigError: an unknown layout or net, sizes that do not fit each other or the net, an
        impossible schedule, augmentation or floor, classes balanced twice, a check of the
        served model that cannot run here, or no contract and `data.init_contract` off.
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
    plan.check_batch(config.train)
    if store.is_published(config.train.weights):
        _check_weights(config)
    elif config.train.weights not in ("", store.BLESSED):
        checkpoints.checkpoint_in(config.train.weights)
        # TensorFlow takes seconds to import; only a comparison of weights needs it here.
        from trainer import warm_start

        warm_start.check(config.trainer)
    schedules.check(config.schedule, config.train.learning_rate)
    limits.check(config.trainer)
    whitening.layer_of(config.trainer)
    sampling.check(config.train)
    variable_groups.check(config.trainer)
    evaluation.check(config.evaluation)
    infra.check(config.infra)
    if not config.data.path:
        return
    path = _given_path(config)
    if spans.is_pattern(config.data.path):
        find_data_sets(config, path)
    elif not path.exists():
        raise DataError(
            f"no data at {config.data.path}",
            expected="a folder or an archive (.tar, .tar.gz, .tar.xz, .zip)",
        )
    if not config.data.init_contract and not _find_contract(config, path):
        raise _no_contract(path)


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
            tip="leave preprocessing.channels out: gray images are read as colour",
        )
    if not config.model.batch_norm:
        raise ConfigError(
            f"the weights {config.train.weights!r} are those of the net with batch norm",
            found="model.batch_norm false",
            expected="true",
        )


def name_of(path: pathlib.Path) -> str:
    """Data set name of a folder or archive: 'Cats & dogs.tar.gz' -> 'cats-dogs'.

    A pattern is named without its tokens: 'cats/{SPAN}/v{VERSION}.zip' -> 'cats'.
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
      config: the experiment; its tiny form has a model of its own.
      path: of its data, or their pattern.
    """
    name = config.serving.model_name or data_set_name(config, path)
    return f"{name}{versions.TINY_SUFFIX}" if config.is_tiny else name


def identity(config: PipelineConfig, path: pathlib.Path) -> str:
    """Name of the runs that train one model on one data set by one experiment.

    They share lock, artifact folder, cache and pipeline on Kubeflow under this name. Runs
    of different names may run side by side.

    Args:
      config: the experiment; its tiny form has a name of its own.
      path: of its data, or their pattern.

    Returns:
      'photos-flowers', [a-z0-9-], at most `MAX_IDENTITY` characters. Ends with a digest
      where another model could have the same words.
    """
    data_set = data_set_name(config, path)
    model = config.serving.model_name or data_set
    tail = versions.TINY_SUFFIX if config.is_tiny else ""
    words = "-".join(dict.fromkeys((config.name, data_set, model)))
    plain = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    is_exact = model == data_set and _PLAIN_NAME.fullmatch(data_set)
    if not is_exact or len(plain + tail) > MAX_IDENTITY:
        text = "\0".join((config.name, data_set, model))
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        room = MAX_IDENTITY - len(tail) - len(digest) - 1
        plain = f"{plain[:room].rstrip('-')}-{digest}"
    return plain + tail


def data_set_name(config: PipelineConfig, path: pathlib.Path) -> str:
    """Name of the data set: of its contract, else of its folder or archive."""
    return pathlib.PurePath(config.data.contract or name_of(path)).name


def fetched(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where data are on this machine; those in an object store are fetched.

    Raises:
      ConfigError: the store gives no answer.
      DataError: it has nothing there.
    """
    if remote.is_uri(path):
        return remote_data.local(os.fspath(path))
    return pathlib.Path(path).expanduser()


def _given_path(config: PipelineConfig) -> pathlib.Path:
    # Path.resolve raises RuntimeError for a circular link.
    return pathlib.Path(os.path.realpath(fetched(config.data.path)))


def data_path(config: PipelineConfig, root: pathlib.Path) -> pathlib.Path:
    """Where the images are, absolute, or the pattern of their spans.

    The bundled digits are written below `root`.

    Raises:
      ConfigError: no data given, and the experiment brings none.
    """
    path = expected_path(config, root)
    return path if config.data.path else digits.write_folders(path)


def expected_path(config: PipelineConfig, root: pathlib.Path) -> pathlib.Path:
    """As `data_path`, but writes nothing.

    Raises:
      ConfigError: no data given, and the experiment brings none.
    """
    if config.data.path:
        return _given_path(config)
    if config.data.contract == digits.NAME:
        return (root / "data" / digits.NAME).resolve()
    raise ConfigError(
        f"experiment '{config.name}' needs images",
        tip="--data PATH with a folder or an archive; slimline data inspect PATH shows"
        " what is in it",
    )


def _find_contract(
    config: PipelineConfig, path: pathlib.Path, root: pathlib.Path | None = None
) -> pathlib.Path | None:
    """Folder of the contract of the data at `path`; None where they have none yet.

    Raises:
      ConfigError: `data.contract` names none, or the data have the name of a packaged
        contract, which may be another data set's.
    """
    name = config.data.contract or name_of(path)
    own = [place / name for place in _contract_places(root)]
    own = [folder for folder in own if (folder / contract.SCHEMA_FILE).is_file()]
    if config.data.contract:
        return own[0] if own and name not in contract.names() else contract.find(name)
    # A checkout's own `schema/` holds the packaged contracts.
    own = [folder for folder in own if folder.resolve() != contract.ROOT / name]
    if own:
        return own[0]
    if name in contract.names():
        raise ConfigError(
            f"which contract? the data are called '{name}', as a contract of slimline's",
            found=str(path),
            expected=f"--set data.contract={name} for that one, or another name of the"
            " folder or archive for data of your own",
        )
    return None


def _contract_places(root: pathlib.Path | None) -> list[pathlib.Path]:
    """Contract folders: in the working folder, in the root and beside the root."""
    places = [] if root is None else [root, root.resolve().parent]
    return [place / runs.SCHEMA_FOLDER for place in (pathlib.Path(), *places)]


def _no_contract(path: pathlib.Path) -> ConfigError:
    name = name_of(path)
    return ConfigError(
        f"no data contract for '{name}'",
        expected=f"schema/{name}/ with {contract.SCHEMA_FILE} and {contract.LABELS_FILE}",
        tip=f"slimline data init {path} writes them after a look at the data;"
        " or --set data.contract=NAME",
    )


def _init_contract(
    config: PipelineConfig, path: pathlib.Path, images: pathlib.Path
) -> contract.Contract:
    """Writes the contract of data that have none, after a look at `images`.

    Raises:
      ConfigError: a floor of the gate is for a class that they lack, or the contract cannot
        be written.
    """
    # Loads TensorFlow, whose decoder decides which images are readable.
    from components.image_example_gen import inspection

    inspected = inspection.inspect(str(images), answers.of(config.data))
    made = inspection.make_contract(inspected)
    evaluation.check(config.evaluation, made.labels)
    folder = pathlib.Path(runs.SCHEMA_FOLDER) / name_of(path)
    with os_errors_as(
        ConfigError,
        f"cannot write the data contract to {folder}",
        tip="slimline data init PATH --output DIR writes it elsewhere",
    ):
        contract.save(made, folder)
    progress.tell("contract_written", folder=str(folder), classes=len(made.labels))
    return made
