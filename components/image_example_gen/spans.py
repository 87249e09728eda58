"""Data that arrive in spans: finds the paths that match a pattern.

The tokens are those of TFX's ExampleGens: `{SPAN}` or `{YYYY}`, `{MM}` and `{DD}`, then
`{VERSION}`; `{SPAN:4}` has four digits. TFX resolves them in a driver, which open-source
Kubeflow Pipelines does not run, and for files only; a span of ours is a folder or an
archive, and it is resolved where it is read. No TFX here: commands look at patterns too.
"""

import dataclasses
import datetime
import functools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from common.errors import ConfigError, DataError
from schema.spelling import listed

NEWEST = -1
MAX_NAMED = 6
DATE = ("YYYY", "MM", "DD")
_EPOCH = datetime.date(1970, 1, 1)
_TOKEN = re.compile(r"\{(SPAN|VERSION)(?::(\d+))?\}|\{(YYYY|MM|DD)\}")
_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A folder or archive of images.

    Attributes:
      path: where it lies.
      span: its number, days since 1970 for a date; None where the path is no pattern.
      version: of the span; None where the pattern has no `{VERSION}`.
      is_dated: whether the span is a date.
    """

    path: pathlib.Path
    span: int | None = None
    version: int | None = None
    is_dated: bool = False

    @property
    def name(self) -> str:
        """'span 7', 'span 2026-11-26 version 2'; '' where the path is no pattern."""
        if self.span is None:
            return ""
        version = "" if self.version is None else f" version {self.version}"
        return f"span {label(self.span, is_dated=self.is_dated)}{version}"


def label(span: int, *, is_dated: bool) -> str:
    """A span as a person writes it: its number, or its date."""
    if not is_dated:
        return str(span)
    return (_EPOCH + datetime.timedelta(days=span)).isoformat()


def is_pattern(path: str | os.PathLike[str]) -> bool:
    """Whether a path has tokens."""
    return bool(_TOKEN.search(os.fspath(path)))


def without_tokens(name: str) -> str:
    """A name without its tokens and the separators before them: 'cats-{SPAN}.zip' -> 'cats.zip'."""
    return re.sub(rf"[-_. ]*(?:{_TOKEN.pattern})", "", name)


def resolve(
    path: str | os.PathLike[str], *, window: int = 1, last: int = NEWEST
) -> tuple[DataSet, ...]:
    """The newest spans behind a pattern, rising, each in its newest version.

    Args:
      path: pattern, or a plain path, which is its own only dataset.
      window: how many spans at most.
      last: the newest span that counts; NEWEST sets no limit.

    Raises:
      ConfigError: the pattern's tokens do not go together.
      DataError: no span is there, or one is there twice.
    """
    if not is_pattern(path):
        return (DataSet(pathlib.Path(path)),)
    found = find(path)
    newest = {
        data.span: data for data in found if last == NEWEST or (data.span or 0) <= last
    }
    if last != NEWEST and last not in newest:
        raise _nothing(path, found, f"no span {last} of {os.fspath(path)}")
    return tuple(newest.values())[-window:]


def find(path: str | os.PathLike[str]) -> list[DataSet]:
    """All that lies behind a pattern, by span and version, the newest last.

    Raises:
      ConfigError: the pattern's tokens do not go together.
      DataError: nothing matches, or two paths are the same version of a span.
    """
    check_pattern(path)
    place = pathlib.Path(path).expanduser()
    is_dated = "{DD}" in os.fspath(path)
    found: dict[tuple[int, int], DataSet] = {}
    for matched, values in _walk(pathlib.Path(place.anchor), place.parts, {}):
        span = _span_of(values)
        if span is None:
            continue
        version = int(values["VERSION"]) if "VERSION" in values else None
        key = (span, -1 if version is None else version)
        data = DataSet(matched, span, version, is_dated)
        if key in found:
            raise DataError(
                f"{data.name} of {os.fspath(path)} exists twice",
                found=f"{found[key].path.name} and {matched.name}",
                tip="a span has one folder or archive: rename or remove one of the two",
            )
        found[key] = data
    if not found:
        raise _nothing(path, [], f"no span matches {os.fspath(path)}")
    return [found[key] for key in sorted(found)]


def check_pattern(path: str | os.PathLike[str]) -> None:
    """Refuses tokens that do not go together.

    Raises:
      ConfigError: two of a kind, number and date together, an incomplete date, a version
        without a span, or a width of 0.
    """
    text = os.fspath(path)
    tokens = list(_TOKEN.finditer(text))
    names = [match[1] or match[3] for match in tokens]
    dates = [name for name in names if name in DATE]
    faults = {
        "a token appears twice": len(set(names)) < len(names),
        "a number and a date at once": "SPAN" in names and bool(dates),
        "an incomplete date": 0 < len(dates) < len(DATE),
        "a version without a span": not dates and "SPAN" not in names,
        "a width of 0": any(match[2] and not int(match[2]) for match in tokens),
    }
    if fault := next((fault for fault, is_there in faults.items() if is_there), ""):
        raise ConfigError(
            f"cannot read the pattern {text}: {fault}",
            expected="{SPAN}, or {YYYY}, {MM} and {DD}; then {VERSION} if there is one",
        )


def pin(data_sets: Sequence[DataSet]) -> str:
    """Text that names these datasets to `pinned`: '6 7.2', span and version; '' for none."""
    return " ".join(
        f"{data.span}" + ("" if data.version is None else f".{data.version}")
        for data in data_sets
        if data.span is not None
    )


def pinned(path: str | os.PathLike[str], text: str) -> tuple[DataSet, ...]:
    """The datasets behind a pattern that `pin` named.

    Raises:
      DataError: one of them is gone.
    """
    found = {pin([data]): data for data in find(path)}
    missing = [word for word in text.split() if word not in found]
    if missing:
        raise _nothing(
            path,
            list(found.values()),
            f"span {missing[0]} of {os.fspath(path)} is gone",
        )
    return tuple(found[word] for word in text.split())


def _walk(
    folder: pathlib.Path, parts: Sequence[str], values: Mapping[str, str]
) -> Iterator[tuple[pathlib.Path, Mapping[str, str]]]:
    """Paths below `folder` that match the parts of a pattern, with their tokens' digits."""
    if not parts:
        yield folder, values
        return
    part, *rest = parts
    if not is_pattern(part):
        if (folder / part).exists():
            yield from _walk(folder / part, rest, values)
        return
    expression = _expression(part)
    for name in _names(folder):
        if match := expression.fullmatch(name):
            yield from _walk(folder / name, rest, {**values, **match.groupdict()})


@functools.cache
def _expression(part: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for match in _TOKEN.finditer(part):
        name = match[1] or match[3]
        width = match[2] or _DIGITS.get(name)
        digits = f"{{{width}}}" if width else "+"
        pieces += [re.escape(part[end : match.start()]), f"(?P<{name}>[0-9]{digits})"]
        end = match.end()
    return re.compile("".join([*pieces, re.escape(part[end:])]))


def _names(folder: pathlib.Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except NotADirectoryError:
        return []
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error


def _span_of(values: Mapping[str, str]) -> int | None:
    """Number of a span; None for an impossible date."""
    if "SPAN" in values:
        return int(values["SPAN"])
    try:
        date = datetime.date(*(int(values[name]) for name in DATE))
    except ValueError:
        return None
    return (date - _EPOCH).days


def _nothing(
    path: str | os.PathLike[str], found: Sequence[DataSet], message: str
) -> DataError:
    if found:
        named = ", ".join(data.name for data in found[-MAX_NAMED:])
        last = "the last of them: " if len(found) > MAX_NAMED else ""
        return DataError(message, found=f"{len(found)} there, {last}{named}")
    folder = pathlib.Path(path).expanduser()
    while is_pattern(folder):
        folder = folder.parent
    if not folder.is_dir():
        return DataError(message, found=f"there is no folder {folder}")
    names = [
        f"{name}/" if (folder / name).is_dir() else name for name in _names(folder)
    ]
    return DataError(
        message,
        found=f"in {folder}: {listed(names, MAX_NAMED) or 'nothing'}",
        expected="digits in place of {SPAN} and {VERSION}, a date in place of"
        " {YYYY}, {MM} and {DD}",
    )
