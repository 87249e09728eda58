"""Reads the weights of Keras models from HDF5 files.

Two forms are read. Keras 2's `.h5`, of a model or of its weights alone, names a group for
each layer and its weights below: `conv1/conv1/kernel:0`. The `.weights.h5` of Keras 3 has
`layers/conv2d_7/vars/0`, and the name of the layer as an attribute of `vars`; without that
attribute (tf_keras, early Keras 3) nothing in the file tells which layer it is.

A process of its own asks the HDF5 library where the tensors are (`trainer.weights.h5_places`);
their bytes are read from the file itself. What Keras does not write is refused: links to
other places, external, virtual, chunked or compressed data, and types other than numbers.

Reference: keras/src/saving/saving_lib.py and legacy/saving/legacy_h5_format.py of
Keras 3.15.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

from trainer.weights import tensors
from trainer.weights.tensors import Place, Refused, Tensors, shown

KIND = "Keras weights"
# -P: a file called h5py.py beside the weights must not win.
COMMAND = (sys.executable, "-P", "-m", "trainer.weights.h5_places")
TIMEOUT_SECONDS = 30.0
# Keras 3: what the numbered variables of a layer are, by its class and how many they are.
# Batch norm with three has no gamma: in Keras's own nets none lacks the beta.
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_VARIABLES: dict[str, dict[int, tuple[str, ...]]] = {
    "batch_normalization": {3: _NORM[1:], 4: _NORM},
    "conv2d": {1: ("kernel",), 2: ("kernel", "bias")},
    "dense": {1: ("kernel",), 2: ("kernel", "bias")},
    "depthwise_conv2d": {1: ("depthwise_kernel",), 2: ("depthwise_kernel", "bias")},
    "separable_conv2d": {
        2: ("depthwise_kernel", "pointwise_kernel"),
        3: ("depthwise_kernel", "pointwise_kernel", "bias"),
    },
    "normalization": {3: ("mean", "variance", "count")},
}
_NUMBERED = re.compile(r"(?:.*/)?(?P<layer>[^/]+)/vars/(?P<place>\d+)")
# Keras 1 wrote 'block1_conv1_W_1:0'.
_KERAS_1 = re.compile(r".*_(?P<kind>[Wb])(_\d+)?")
_KERAS_1_KINDS = {"W": "kernel", "b": "bias"}


def read(path: pathlib.Path) -> Tensors:
    """Tensors in `path` as '<layer>/<kind>', as in 'conv1/kernel' or 'bn1/moving_mean'.

    Raises:
      ConfigError: the file holds more than plain tensors, contradicts itself, or does not
        say which layer its tensors belong to.
    """
    with tensors.refusing(path, KIND):
        size = path.stat().st_size
        answer = _ask(path, size)
        if "refused" in answer:
            raise Refused(answer["refused"])
        places = [Place(*values) for values in answer["places"]]
        _check(places, size)
        names = _names(places, answer["layers"])
        found: Tensors = {}
        with path.open("rb") as file:
            for place in places:
                file.seek(place.offset)
                found[names[place.path]] = tensors.read_array(
                    file,
                    tensors.READ_TYPES[place.type_name],
                    tuple(place.shape),
                    is_big_endian=place.is_big_endian,
                )
        return found


def _ask(path: pathlib.Path, size: int) -> dict[str, Any]:
    """What `h5_places` prints; Refused where its process crashes, hangs or prints too much."""
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(
                [*COMMAND, str(path.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise Refused(
                f"it is damaged (HDF5 found no end of it in {TIMEOUT_SECONDS:.0f} s)"
            ) from error
        if code:
            raise Refused(f"it is damaged (HDF5 ended with exit code {code})")
        if output.seek(0, 2) > size + tensors.SLACK_BYTES // 4:
            raise Refused("it holds more names than tensors")
        output.seek(0)
        return json.loads(output.read())


def _check(places: list[Place], size: int) -> None:
    """Refuses tensors that overlap or pass the end of the file."""
    if not places:
        raise Refused("it holds no tensors")
    end = 0
    for place in sorted(places, key=lambda place: place.offset):
        if place.offset < end:
            raise Refused(f"the tensor {shown(place.path)} overlaps another one")
        end = place.offset + place.size
    if end > size:
        raise Refused(f"its tensors end at byte {end:,}, the file at {size:,}")
    tensors.check_total(
        ((tensors.READ_TYPES[place.type_name], place.shape) for place in places), size
    )


def _names(places: list[Place], layers: dict[str, str]) -> dict[str, str]:
    """'<layer>/<kind>' by path of a dataset."""
    counts = collections.Counter(place.path.rpartition("/")[0] for place in places)
    names: dict[str, str] = {}
    known: set[str] = set()
    for place in places:
        folder, _, last = place.path.rpartition("/")
        numbered = _NUMBERED.fullmatch(place.path)
        if numbered is None:
            name = _named(place.path)
        else:
            if folder not in layers:
                raise Refused(
                    "it does not say which layers its tensors belong to, as tf_keras and"
                    " early Keras 3 write it; save the model as '.h5' instead"
                )
            kind = _numbered_kind(numbered["layer"], counts[folder], int(last))
            name = f"{layers[folder]}/{kind}"
        if name in known:
            raise Refused(f"it holds {shown(name)} twice")
        known.add(name)
        names[place.path] = name
    return names


def _named(path: str) -> str:
    """'conv1/kernel' of 'conv1/conv1/kernel:0'; names of layers may have slashes."""
    *folders, last = path.split("/")
    half = len(folders) // 2
    is_doubled = half > 0 and folders[:half] == folders[half:]
    layer = "/".join(folders[:half] if is_doubled else folders[:1])
    last = last.removesuffix(":0")
    old = _KERAS_1.fullmatch(last)
    if old and last.startswith(layer):
        last = _KERAS_1_KINDS[old["kind"]]
    if not layer or not last:
        raise Refused(f"the tensor {shown(path)} belongs to no layer")
    return f"{layer}/{last}"


def _numbered_kind(layer: str, count: int, place: int) -> str:
    kind = re.sub(r"_\d+$", "", layer)
    kinds = _VARIABLES.get(kind, {}).get(count, ())
    if place >= len(kinds):
        raise Refused(f"a layer {shown(kind)} of {count} variables is not known")
    return kinds[place]
