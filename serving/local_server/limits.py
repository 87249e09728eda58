"""What one client may take of the server: every budget, settable, none of them endless."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

from schema import images
from schema.errors import ConfigError
from serving.local_server import errors

_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _limit(default: int, help_text: str) -> int:
    field: int = dataclasses.field(default=default, metadata={"help": help_text})
    return field


@dataclasses.dataclass(frozen=True)
class Limits:
    """The budgets; the help text of each stands beside it and in docs/serving.md.

    Raises:
      ConfigError: a budget is less than 1.
    """

    request_bytes: int = _limit(32 << 20, "body of a request, or gRPC message")
    request_seconds: int = _limit(30, "for a body or message to arrive")
    answer_seconds: int = _limit(30, "for an answer, where the client asks no less")
    header_bytes: int = _limit(16 << 10, "HTTP headers of a request")
    header_seconds: int = _limit(10, "for the headers to arrive, or a gRPC greeting")
    idle_seconds: int = _limit(75, "that a connection is kept between two requests")
    chunks: int = _limit(16_384, "of a body that comes in chunks")
    json_depth: int = _limit(8, "lists and objects within each other")
    json_values: int = _limit(65_536, "in a body, whatever their depth")
    instances: int = _limit(1_024, "images of a request")
    image_bytes: int = _limit(images.MAX_FILE_BYTES, "of an encoded image")
    image_pixels: int = _limit(16_000_000, "of an image, by its header")
    request_pixels: int = _limit(256_000_000, "of all images of a request")
    in_flight_bytes: int = _limit(256 << 20, "of all requests under way")
    connections: int = _limit(1_024, "of REST at a time; the longest idle one goes")
    calls: int = _limit(256, "of gRPC at a time")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise ConfigError(f"limit {field.name} must be at least 1, not {value}")


def describe() -> dict[str, tuple[int, str]]:
    """Name of each budget -> its default and what it is of."""
    return {
        field.name: (getattr(Limits, field.name), field.metadata["help"])
        for field in dataclasses.fields(Limits)
    }


def parse(assignments: Iterable[str]) -> Limits:
    """Limits from NAME=VALUE: whole numbers, with K, M or G for powers of 1,024.

    Raises:
      ConfigError: an unknown name, or no such number.
    """
    known = describe()
    values = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ConfigError(f"no limit '{name}'", expected=", ".join(known))
        digits, factor = text, 1
        if text[-1:].upper() in _SUFFIXES:
            digits, factor = text[:-1], _SUFFIXES[text[-1].upper()]
        if not digits.isdecimal() or len(digits) > 18:
            raise ConfigError(
                f"limit {name} is '{text}'",
                expected="a whole number, with K, M or G for powers of 1,024",
            )
        values[name] = int(digits) * factor
    return Limits(**values)


class InFlight:
    """Counts the bytes of all requests that are under way; used on one event loop."""

    def __init__(self, limit_bytes: int):
        """Takes the most that may be under way."""
        self._limit = limit_bytes
        self.taken_bytes = 0

    @contextlib.contextmanager
    def take(self) -> Iterator["Share"]:
        """The share of one request, given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken_bytes -= share.taken_bytes

    def has_room(self, more_bytes: int) -> bool:
        """Whether `more_bytes` fit."""
        return self.taken_bytes + more_bytes <= self._limit


class Share:
    """What one request holds of the bytes under way."""

    def __init__(self, whole: InFlight):
        """Holds nothing yet."""
        self._whole = whole
        self.taken_bytes = 0

    def grow_to(self, size_bytes: int) -> None:
        """Holds `size_bytes` at least.

        Raises:
          Overloaded: there is no room for them.
        """
        more = size_bytes - self.taken_bytes
        if more <= 0:
            return
        if not self._whole.has_room(more):
            raise errors.Overloaded()
        self._whole.taken_bytes += more
        self.taken_bytes = size_bytes
