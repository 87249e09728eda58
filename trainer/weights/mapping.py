"""Converts foreign tensors to the variables of a net, by the rules of its table.

See `trainer.nets.published.Source`. Each tensor of the file becomes a variable unless the
table lists it as ignored, and each variable of the net comes from one tensor. Only the class
layer may be missing as a whole.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from common.errors import ConfigError
from trainer.nets import builder
from trainer.nets.blocks import CLASS_LAYER, NetSpec
from trainer.nets.published import Layout, Source
from trainer.weights.opening import LAYOUTS, Opened
from trainer.weights.tensors import Tensors, shown

Shapes = Mapping[str, tuple[int, ...]]
# Foreign name -> the names of variables that it may stand for, the likeliest first.
Names = dict[str, tuple[str, ...]]
LOGITS = f"{CLASS_LAYER}/"
SHOWN = 4
DEPTHWISE = "depthwise_weights"
_NORM = "BatchNorm/"
_LAYER = re.compile(rf"(.*?)/((?:{_NORM})?[^/]+)")
_NUMBER = re.compile(r"([0-9]{1,9})")
# Last part of a foreign name -> ours, where the layer is no batch norm, and where it is.
_KERAS = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": DEPTHWISE,
    "pointwise_kernel": "pointwise_weights",
}
_PYTORCH = {"weight": "weights", "bias": "biases"}
_PYTORCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_PYTORCH_COUNTER = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Mapped:
    """Weights of a net in its own names.

    Attributes:
      source: by whose rules.
      arrays: float32 by full name of a variable, as 'vgg_16/conv1/conv1_1/weights'. Without
        those of the class layer where the file has none.
      num_classes: of the class layer, 0 where the file has none.
      missing: variables without a tensor. left_over: tensors without a variable.
      misshapen: tensors that do not have the shape of their variable.
    """

    source: Source
    arrays: Tensors
    num_classes: int
    missing: list[str]
    left_over: list[str]
    misshapen: list[str]

    @property
    def problems(self) -> int:
        """How many tensors and variables do not fit; 0 for what `convert` returns."""
        return len(self.missing) + len(self.left_over) + len(self.misshapen)


def convert(opened: Opened, spec: NetSpec, origin: str = "") -> Mapped:
    """The weights of `spec` in a file.

    Args:
      opened: the file.
      spec: the net; its `sources` say how others name its tensors.
      origin: `Source.origin` of the one to take, for files that fit several.

    Raises:
      ConfigError: no source is of the file's layout; or none fits, and the error names what
        is missing, left over or misshapen; or several fit and `origin` names none.
    """
    layouts = LAYOUTS[opened.format]
    sources = [source for source in spec.sources if source.layout in layouts]
    if origin:
        sources = [source for source in sources if source.origin == origin]
    if not sources:
        known = ", ".join(f"{s.origin} ({s.layout})" for s in spec.sources)
        raise ConfigError(
            f"the net {spec.name!r} has no rules for these weights",
            found=f"{opened.format}{f' by {origin}' if origin else ''}",
            expected=known or "none: its weights are not published",
        )
    attempts = [_attempt(opened.tensors, spec, source) for source in sources]
    fitting = [attempt for attempt in attempts if not attempt.problems]
    if not fitting:
        raise _misfit(spec, min(attempts, key=lambda attempt: attempt.problems))
    if len(fitting) > 1:
        origins = ", ".join(attempt.source.origin for attempt in fitting)
        raise ConfigError(
            f"the weights fit several published forms of {spec.name!r}",
            found=origins,
            tip="--origin names the one they are of",
        )
    return fitting[0]


@functools.lru_cache(maxsize=8)
def expected_shapes(spec: NetSpec, num_classes: int) -> Shapes:
    """Shape of each variable by its name below the net's scope, in the order of the graph.

    Args:
      spec: built at the size of images of its reference.
      num_classes: at least 2.
    """
    return {
        variable.op.name.removeprefix(f"{spec.name}/"): tuple(variable.shape.as_list())
        for variable in builder.variables(spec, num_classes)
    }


def _attempt(foreign: Tensors, spec: NetSpec, source: Source) -> Mapped:
    names = _rename(foreign, source)
    classes = _count_classes(foreign, names)
    shapes = expected_shapes(spec, max(classes, 2))
    names |= _in_order(names, shapes, source.ordered)
    first_kernel, first_dense = _first(shapes, rank=4), _first(shapes, rank=2)
    arrays: Tensors = {}
    left_over, misshapen = [], []
    for name, candidates in names.items():
        target = next((name for name in candidates if name in shapes), "")
        if not target or f"{spec.name}/{target}" in arrays:
            here = candidates[0]
            left_over.append(name if here == name else f"{name} ({here})")
            continue
        flattened = source.flattened_maps if target == first_dense else ()
        array = _arrange(
            foreign[name], source.layout, target, shapes[target], flattened
        )
        if array is None:
            misshapen.append(
                f"{name} {_shape_text(foreign[name].shape)}, {target}"
                f" {_shape_text(shapes[target])}"
            )
            continue
        if target == first_kernel and source.reversed_channels:
            array = array[:, :, ::-1]
        arrays[f"{spec.name}/{target}"] = np.ascontiguousarray(array, np.float32)
    reached = _targets(names, shapes)
    missing = [
        name
        for name in shapes
        if name not in reached and (classes or not name.startswith(LOGITS))
    ]
    return Mapped(source, arrays, classes, missing, left_over, misshapen)


def _targets(names: Names, shapes: Shapes) -> set[str]:
    return {name for found in names.values() for name in found} & shapes.keys()


def _rename(foreign: Tensors, source: Source) -> Names:
    ignored = [re.compile(pattern) for pattern in source.ignored]
    norms = _norm_layers(foreign, source.layout)
    renamed = {}
    for name, array in foreign.items():
        if any(pattern.search(name) for pattern in ignored):
            continue
        if source.layout == "pytorch" and name.rpartition(".")[2] == _PYTORCH_COUNTER:
            continue
        candidates = _by_layout(name, array, source.layout, norms)
        renamed[name] = tuple(map(source.renamed, candidates))
    return renamed


def _in_order(names: Names, shapes: Shapes, ordered: str) -> Names:
    """Foreign name -> variable, for the layers that `Source.ordered` describes.

    Where there are more of a kind on one side, its last ones stay without a partner.
    """
    if not ordered:
        return {}
    pattern = re.compile(ordered)
    reached = _targets(names, shapes)
    foreign: dict[str, list[tuple[str, str]]] = {}
    for name, candidates in names.items():
        layer, kind = _split(candidates[0])
        if candidates[0] not in reached and pattern.fullmatch(layer):
            foreign.setdefault(kind, []).append((layer, name))
    ours: dict[str, list[str]] = {}
    for name in shapes:
        if name not in reached and not name.startswith(LOGITS):
            ours.setdefault(_split(name)[1], []).append(name)
    return {
        name: (target,)
        for kind, found in foreign.items()
        for (_, name), target in zip(
            sorted(found, key=_by_number), ours.get(kind, ()), strict=False
        )
    }


def _split(name: str) -> tuple[str, str]:
    """Layer and last part of a name of ours: 'conv1' and 'BatchNorm/beta'."""
    parts = _LAYER.fullmatch(name)
    return (parts[1], parts[2]) if parts else (name, "")


def _by_number(found: tuple[str, str]) -> list[str | int]:
    """Sorts by the name of the layer, numbers in it by value."""
    parts = _NUMBER.split(found[0])
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _norm_layers(foreign: Iterable[str], layout: Layout) -> set[str]:
    """Layers that are batch norms: they have moving averages."""
    separator = "." if layout == "pytorch" else "/"
    average = {"pytorch": "running_mean", "keras": "moving_mean", "slim": ""}[layout]
    parts = (name.rpartition(separator) for name in foreign)
    return {layer for layer, _, last in parts if average and last == average}


def _by_layout(
    name: str, array: np.ndarray, layout: Layout, norms: set[str]
) -> tuple[str, ...]:
    """A foreign name after the first step: our last part behind the foreign layer."""
    if layout == "slim":
        return (name,)
    separator = "." if layout == "pytorch" else "/"
    layer, _, last = name.rpartition(separator)
    scope = layer.replace(separator, "/")
    if layer in norms:
        ours = _PYTORCH_NORM.get(last, last) if layout == "pytorch" else last
        return (f"{scope}/{_NORM}{ours}",)
    ours = (_PYTORCH if layout == "pytorch" else _KERAS).get(last, last)
    # Keras 3 and PyTorch call the kernel of a depthwise convolution as any other.
    axis = 1 if layout == "pytorch" else 3
    if ours == "weights" and array.ndim == 4 and array.shape[axis] == 1:
        return (f"{scope}/{DEPTHWISE}", f"{scope}/{ours}")
    return (f"{scope}/{ours}",)


def _count_classes(foreign: Tensors, names: Names) -> int:
    """Length of the class layer's biases, 0 where there is no class layer."""
    for name, candidates in names.items():
        if candidates[0] == f"{LOGITS}biases" and foreign[name].ndim == 1:
            return len(foreign[name])
    return 0


def _first(shapes: Shapes, rank: int) -> str:
    return next((name for name, shape in shapes.items() if len(shape) == rank), "")


def _arrange(
    array: np.ndarray,
    layout: Layout,
    target: str,
    shape: tuple[int, ...],
    flattened: tuple[int, ...],
) -> np.ndarray | None:
    """`array` with its axes as ours, None where it cannot have `shape`.

    Our axes: [height, width, in, out] of a convolution, [height, width, channels,
    multiplier] of a depthwise one, [in, out] of a dense layer. A convolution over the whole
    map, 1x1 above all, becomes a dense layer and the other way round.
    """
    if layout == "pytorch":
        if array.ndim == 4 and target.endswith(DEPTHWISE):
            outputs, inputs, height, width = array.shape
            if inputs != 1 or shape[2] == 0 or outputs % shape[2]:
                return None
            array = array.reshape(shape[2], outputs // shape[2], height, width)
            array = array.transpose(2, 3, 0, 1)
        elif array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            array = array.transpose()
            array = _turn_flattened(array, flattened)
    if array.shape == shape:
        return array
    is_kernel_and_matrix = {array.ndim, len(shape)} == {2, 4}
    fits = array.size == np.prod(shape) and array.shape[-1:] == shape[-1:]
    return array.reshape(shape) if is_kernel_and_matrix and fits else None


def _turn_flattened(matrix: np.ndarray, maps: tuple[int, ...]) -> np.ndarray:
    """Rows of channels first, [channels * height * width, out], in our order."""
    if not maps or matrix.shape[0] != np.prod(maps):
        return matrix
    height, width, channels = maps
    turned = matrix.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
    return turned.reshape(matrix.shape)


def _misfit(spec: NetSpec, attempt: Mapped) -> ConfigError:
    lines = [
        f"{len(names)} {kind}: {', '.join(map(_shown, names[:SHOWN]))}"
        + (", ..." if len(names) > SHOWN else "")
        for kind, names in (
            ("missing", attempt.missing),
            ("left over", attempt.left_over),
            ("misshapen", attempt.misshapen),
        )
        if names
    ]
    return ConfigError(
        f"the weights are not those of the net {spec.name!r}",
        found="; ".join(lines),
        expected=f"those of {attempt.source.origin}",
        tip="slimline nets lists the nets; --net names the one the weights are of",
    )


def _shown(name: str) -> str:
    return shown(name).strip("'")


def _shape_text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
