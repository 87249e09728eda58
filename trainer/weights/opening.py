"""Reads a file of weights, whose format it finds by the content."""

import dataclasses
import hashlib
import pathlib
from typing import Literal

from common.errors import ConfigError
from trainer.nets.published import Layout
from trainer.weights import checkpoints, pytorch, safetensors, tensors
from trainer.weights.tensors import Tensors

Format = Literal["pytorch", "safetensors", "keras_h5", "tf_checkpoint"]

EXPECTED = (
    "a PyTorch state dict (.pth), .safetensors, Keras weights (.h5, .weights.h5) or a"
    " TensorFlow checkpoint"
)
LAYOUTS: dict[Format, tuple[Layout, ...]] = {
    "pytorch": ("pytorch",),
    "safetensors": ("pytorch", "keras", "slim"),
    "keras_h5": ("keras",),
    "tf_checkpoint": ("slim",),
}
_BEGINNING_BYTES = 512
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ARCHIVE_TIP = "unpack it and name the file of weights in it"
# Of files that hold no weights: a place in bytes, what is there, what they are, what to do.
_OTHERS = (
    (0, b"\x1f\x8b", "a gzip archive", _ARCHIVE_TIP),
    (0, b"BZh", "a bzip2 archive", _ARCHIVE_TIP),
    (0, b"\xfd7zXZ\0", "an xz archive", _ARCHIVE_TIP),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE_TIP),
    (0, b"Rar!", "a rar archive", _ARCHIVE_TIP),
    (257, b"ustar", "a tar archive", _ARCHIVE_TIP),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch it with git lfs pull"),
    (0, b"<!DOCTYPE", "a web page", "download the file itself"),
    (0, b"<html", "a web page", "download the file itself"),
    (0, b"\x93NUMPY", "a numpy array", ""),
    (4, b"TFL3", "a TFLite model", ""),
    (
        0,
        b"\x80",
        "a pickle that is no PyTorch state dict",
        "save one with torch.save(model.state_dict(), 'net.pth')",
    ),
)


@dataclasses.dataclass(frozen=True)
class Opened:
    """Weights of another system, as its file names them.

    Attributes:
      tensors: by foreign name.
      format: of the file.
      sha256: of the file; of a checkpoint in several files, of all of them in order of
        their names.
      note: for the manifest, or ''.
    """

    tensors: Tensors
    format: Format
    sha256: str
    note: str = ""


def read(path: pathlib.Path) -> Opened:
    """Reads the weights at `path`.

    Raises:
      ConfigError: there is no file, its format is unknown, or it is refused.
    """
    form = recognise(path)
    if form == "tf_checkpoint":
        # TensorFlow takes seconds to import, and the other forms do not need it.
        from trainer.weights import tf_checkpoint

        found, note = tf_checkpoint.read(path)
        files = checkpoints.files_of(tf_checkpoint.locate(path))
        return Opened(found, form, sha256(*files), note)
    digest = sha256(path)
    if form == "keras_h5":
        from trainer.weights import keras_h5

        return Opened(keras_h5.read(path), form, digest)
    read_tensors = pytorch.read if form == "pytorch" else safetensors.read
    return Opened(read_tensors(path), form, digest)


def recognise(path: pathlib.Path) -> Format:
    """The format of the weights at `path`, by their first and last bytes.

    Raises:
      ConfigError: there is no file, or it holds something else.
    """
    if path.is_dir() or checkpoints.find(path) is not None:
        return "tf_checkpoint"
    if not path.is_file():
        raise ConfigError(f"there are no weights at {path}", expected=EXPECTED)
    with tensors.refusing(path, "weights"), path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    if beginning.startswith(_HDF5_MAGIC):
        return "keras_h5"
    if beginning.startswith(pytorch.ZIP_MAGIC):
        if pytorch.is_state_dict(path):
            return "pytorch"
        raise _unknown(path, "a zip archive", _ARCHIVE_TIP)
    if beginning.startswith(pytorch.LEGACY_MAGIC):
        return "pytorch"
    if beginning[safetensors.LENGTH_BYTES :].startswith(b"{"):
        return "safetensors"
    for place, magic, what, tip in _OTHERS:
        if beginning[place:].startswith(magic):
            raise _unknown(path, what, tip)
    raise _unknown(path, f"a file that begins with {beginning[:8]!r}", "")


def sha256(*paths: pathlib.Path) -> str:
    """SHA-256 of the content of files, one behind the other, in hex digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _unknown(path: pathlib.Path, found: str, tip: str) -> ConfigError:
    return ConfigError(
        f"{path} is not a file of weights", found=found, expected=EXPECTED, tip=tip
    )
