"""The settings of a run: layers of values, and where each value came from.

Default < experiment < --config FILE < environment < --set. Every value is checked where it
enters, so that an error names its origin.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import yaml

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import EngineConfig, PipelineConfig
from trainer.config import as_json, flatten, from_json, known_keys
from trainer.lookup import nearest
from trainer.weights import store

# SLIMLINE_TRAIN__BATCH_SIZE; names without the double underscore are not settings.
_ENVIRONMENT_NAME = re.compile(r"SLIMLINE_([A-Z0-9_]+?)__([A-Z0-9_]+)")
_DEFAULT, _EXPERIMENT, _WEIGHTS = "default", "experiment", "train.weights"

# Key, value (parsed, not yet checked), origin.
_Item = tuple[str, Any, str]


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A configuration, and where its values came from.

    Attributes:
      config: the values.
      origins: dotted key -> 'default', 'experiment', 'train.weights' (what published weights
        expect), '--tiny', '--config FILE', the name of the environment variable, '--set',
        '--data', '--beam-runner', '--beam-option' or 'settings' (from Python).
      experiment: the experiment's own values, to compare with.
    """

    config: PipelineConfig
    origins: dict[str, str]
    experiment: PipelineConfig

    def values(self) -> dict[str, Any]:
        """Dotted key -> value."""
        return flatten(as_json(self.config))

    def changes(self) -> list[str]:
        """Differences from the experiment: 'train.epochs 160 -> 30', sorted."""
        before = flatten(as_json(self.experiment))
        return [
            f"{key} {show(before[key])} -> {show(value)}"
            for key, value in sorted(self.values().items())
            if value != before[key]
        ]


def resolve(
    experiment: str,
    *,
    config_file: pathlib.Path | None = None,
    environment: Mapping[str, str] = os.environ,
    assignments: Sequence[str] = (),
    data: str | None = None,
    engine: str | None = None,
    engine_options: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    is_tiny: bool = False,
) -> Resolved:
    """The configuration of `experiment` with all layers applied.

    Args:
      experiment: name of an experiment.
      config_file: YAML, sections or dotted keys.
      environment: variables; only SLIMLINE_<SECTION>__<KEY> are read.
      assignments: 'key=value' in any order, the value as text for the field's type.
      data: `data.path`.
      engine: `engine.name`.
      engine_options: as `assignments`, without the section.
      settings: dotted key -> value, from Python.
      is_tiny: starts from the experiment's smallest version.

    Raises:
      ConfigError: an unknown experiment or key, a value that does not fit its field, one
        key given twice with different values, or an unreadable file.
    """
    own = experiments.find(experiment)
    defaults = flatten(as_json(PipelineConfig()))
    origins = {
        key: _DEFAULT if value == defaults[key] else _EXPERIMENT
        for key, value in flatten(as_json(own)).items()
    }
    own = _with_weights(own, origins, {_DEFAULT})
    if is_tiny:
        before, own = flatten(as_json(own)), experiments.tiny(own)
        after = flatten(as_json(own)).items()
        origins |= {key: "--tiny" for key, value in after if value != before[key]}
    layers: list[Iterable[_Item]] = [
        _from_file(config_file) if config_file else (),
        _from_environment(environment, own),
        _from_arguments(assignments, data, engine, engine_options, settings or {}, own),
    ]
    values = as_json(own)
    for layer in layers:
        for key, value, origin in _without_conflicts(layer, own):
            put(values, key, value)
            origins[key] = origin
    config = from_json(PipelineConfig, values)
    if config.train.weights != own.train.weights:
        # Weights that the user names override the experiment's settings, too.
        weaker = {_DEFAULT, _EXPERIMENT, _WEIGHTS}
        config = _with_weights(config, origins, weaker)
    return Resolved(config, origins, own)


def accepting_classes(resolved: Resolved) -> Resolved:
    """`resolved` for a run that may push a model whose classes are not the live one's.

    Raises:
      ConfigError: `evaluation.class_changes` is 'refuse'.
    """
    key, evaluation = "evaluation.class_changes", resolved.config.evaluation
    if evaluation.class_changes == "refuse":
        raise ConfigError(
            f"--accept-classes, but {key} is 'refuse' ({resolved.origins[key]})",
            tip=f"--set {key}=ask lets the flag decide",
        )
    accepting = dataclasses.replace(evaluation, class_changes="allow")
    return dataclasses.replace(
        resolved,
        config=dataclasses.replace(resolved.config, evaluation=accepting),
        origins={**resolved.origins, key: "--accept-classes"},
    )


def engine(name: str | None, options: Sequence[str] = ()) -> EngineConfig:
    """The engine of a command that runs no experiment, from its options and the environment.

    Raises:
      ConfigError: as for `resolve`.
    """
    default = experiments.DEFAULT
    return resolve(default, engine=name, engine_options=options).config.engine


def show(value: Any) -> str:
    """A value as a person types it: whole floats without '.0', booleans in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "''"


def _with_weights(
    config: PipelineConfig, origins: dict[str, str], weaker: Collection[str]
) -> PipelineConfig:
    """The configuration with the net and the preprocessing of its published weights.

    Args:
      config: names the weights.
      origins: of its values; updated for those that the weights set.
      weaker: origins of the values that the weights may override.
    """
    if not store.is_published(config.train.weights):
        return config
    manifest = store.find(config.train.weights)
    expected = {"model.net": manifest.net, "model.image_size_px": 0} | {
        f"preprocessing.{name}": value for name, value in manifest.preprocessing.items()
    }
    values = as_json(config)
    for key, value in expected.items():
        if origins[key] in weaker:
            put(values, key, value)
            origins[key] = _WEIGHTS
    return from_json(PipelineConfig, values)


def _from_file(path: pathlib.Path) -> Iterator[_Item]:
    origin = f"--config {path}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path} is not YAML: {' '.join(str(error).split())}"
        ) from error
    if content is None:
        return
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds no settings",
            found=type(content).__name__,
            expected="sections with keys, like train: {epochs: 30}",
        )
    for key, value in _pairs(content):
        yield key, value, origin


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a repeated key: YAML would take the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """See base class."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"'{key}' stands twice, again in line {line}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _pairs(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    known = known_keys(PipelineConfig)
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in known:
            yield from _pairs(value, f"{key}.")
        elif value is not None or key not in _sections():
            yield key, value  # an empty section sets nothing


def is_variable(name: str) -> bool:
    """Whether an environment variable of this name sets a setting."""
    return _ENVIRONMENT_NAME.fullmatch(name) is not None


def _from_environment(
    environment: Mapping[str, str], own: PipelineConfig
) -> Iterator[_Item]:
    for variable, text in sorted(environment.items()):
        if match := _ENVIRONMENT_NAME.fullmatch(variable):
            key = ".".join(match.groups()).lower()
            yield key, _parse(key, text, variable, own), variable


def _from_arguments(
    assignments: Sequence[str],
    data: str | None,
    engine: str | None,
    engine_options: Sequence[str],
    settings: Mapping[str, Any],
    own: PipelineConfig,
) -> Iterator[_Item]:
    for key, value in flatten(settings).items():
        yield key, value, "settings"
    for assignment in assignments:
        yield from _assigned(*_split(assignment, "--set", "train.epochs=30"), own)
    if data is not None:
        yield "data.path", data, "--data"
    if engine is not None:
        yield "engine.name", engine, "--beam-runner"
    origin = "--beam-option"
    for option in engine_options:
        name, text = _split(option, origin, "workers=4")
        key = f"engine.{name}"
        yield key, _parse(key, text, origin, own), origin


def _assigned(key: str, text: str, own: PipelineConfig) -> Iterator[_Item]:
    """The setting of --set; a section takes several, as data.columns={path: id, label: x}."""
    if key not in _sections() or not text.strip().startswith("{"):
        yield key, _parse(key, text, "--set", own), "--set"
        return
    try:
        values = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{key}' is not a mapping", found=text) from error
    for name, value in flatten(values).items():
        yield f"{key}.{name}", value, "--set"


def _split(assignment: str, flag: str, example: str) -> tuple[str, str]:
    """Key and text of 'key=text'."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"{flag} takes key=value", found=assignment, tip=f"as in {flag} {example}"
        )
    return key.strip(), text


def _without_conflicts(items: Iterable[_Item], own: PipelineConfig) -> Iterator[_Item]:
    """The items of one layer, checked, whose order has no effect."""
    given: dict[str, _Item] = {}
    for key, raw, origin in items:
        value = _check(key, raw, origin, own)
        if key in given and given[key][1] != value:
            raise ConfigError(
                f"setting '{key}' is given twice",
                found=f"{show(given[key][1])} ({given[key][2]})"
                f" and {show(value)} ({origin})",
                expected="one value",
            )
        given.setdefault(key, (key, value, origin))
    return iter(given.values())


def _parse(key: str, text: str, origin: str, own: PipelineConfig) -> Any:
    """The value of a setting: its text for a text or a number, else a YAML scalar.

    YAML 1.1 reads 1e-3 as text, 010 as 8 and 1:30 as 90; pydantic reads numbers right.
    """
    known = known_keys(PipelineConfig)
    if key not in known:
        raise _unknown(key, origin, own)
    kind = known[key].type
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if kind in (str, int, float) and not is_quoted:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _check(key: str, value: Any, origin: str, own: PipelineConfig) -> Any:
    """The value as its field holds it."""
    if key not in known_keys(PipelineConfig):
        raise _unknown(key, origin, own)
    if key == "name" and value != own.name:
        raise ConfigError(
            f"the name of experiment '{own.name}' is fixed ({origin})",
            found=str(value),
            tip="it names the folder of its artifacts; --root keeps runs apart",
        )
    if key == "is_tiny" and value != own.is_tiny:
        raise ConfigError(
            f"setting '{key}' cannot be changed ({origin})",
            tip="the option 'tiny' of the command line sets it, with related settings",
        )
    nested: dict[str, Any] = {}
    put(nested, key, value)
    try:
        checked = from_json(PipelineConfig, nested)
    except ConfigError as error:
        raise ConfigError(
            f"{error.message} ({origin})",
            found=error.found,
            expected=error.expected,
            tip=error.tip,
        ) from error
    return flatten(as_json(checked))[key]


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key in a nested dict."""
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


def _unknown(key: str, origin: str, own: PipelineConfig) -> ConfigError:
    """The error for an unknown key, with the nearest key and its value."""
    now = flatten(as_json(own))
    where = "" if origin == "--set" else f" ({origin})"
    tail = f"all settings: slimline experiments {own.name}"
    if key in _sections():
        members = ", ".join(known for known in now if known.startswith(f"{key}."))
        return ConfigError(
            f"'{key}' is a section, not a setting{where}", expected=members, tip=tail
        )
    near = _nearest(key, now)
    guess = f"did you mean '{near}' (now {show(now[near])})?   " if near else ""
    return ConfigError(f"unknown setting '{key}'{where}", tip=guess + tail)


def _nearest(key: str, known: Iterable[str]) -> str:
    """The likeliest known key: one of the same last name first, 'epochs' -> 'train.epochs'."""
    last = key.rpartition(".")[2]
    by_last: dict[str, list[str]] = {}
    for candidate in known:
        by_last.setdefault(candidate.rpartition(".")[2], []).append(candidate)
    if same := by_last.get(last):
        return nearest(key, same) or same[0]
    return nearest(key, known) or by_last.get(nearest(last, by_last), [""])[-1]


def _sections() -> set[str]:
    return {key.rpartition(".")[0] for key in known_keys(PipelineConfig)} - {""}
