"""The limits of the server: one table, from which `--limit` and the documentation take them."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator

from common.errors import ConfigError
from schema import images
from serving.local_server import errors

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_NUMBER = re.compile("([0-9]{1,18})([KMG]?)", re.IGNORECASE)


def _limit(default: int, help_text: str) -> int:
    field: int = dataclasses.field(default=default, metadata={"help": help_text})
    return field


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits, each with its help text; docs/serving.md repeats them.

    Raises:
      ConfigError: a limit is less than 1.
    """

    request_bytes: int = _limit(32 << 20, "body of a request, or gRPC message")
    request_seconds: int = _limit(30, "for a body to arrive, or an answer to be read")
    answer_seconds: int = _limit(30, "for an answer, unless the client asks for less")
    header_bytes: int = _limit(8 << 10, "an HTTP header, or all gRPC metadata")
    idle_seconds: int = _limit(30, "for the headers of the next request to arrive")
    json_depth: int = _limit(8, "lists and objects within each other")
    json_values: int = _limit(1 << 20, "in a body, at any depth")
    instances: int = _limit(1_024, "images, or other rows, of a request")
    image_bytes: int = _limit(images.MAX_FILE_BYTES, "of an encoded image")
    image_pixels: int = _limit(16_000_000, "of an image, by its header")
    request_pixels: int = _limit(256_000_000, "of all images of a request")
    in_flight_bytes: int = _limit(256 << 20, "of all unfinished requests")
    connections: int = _limit(1_024, "simultaneous ones of REST; the longest idle goes")
    calls: int = _limit(256, "simultaneous ones of gRPC")
    max_batch_size: int = _limit(32, "rows that a version answers together")
    max_queue: int = _limit(1_024, "rows that may wait for a version")

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ConfigError(f"limit {name} must be at least 1, not {value}")


def describe() -> dict[str, tuple[int, str]]:
    """Name of each limit -> its default and help text."""
    fields = dataclasses.fields(Limits)
    return {
        one.name: (getattr(Limits, one.name), one.metadata["help"]) for one in fields
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
        number = _NUMBER.fullmatch(text)
        if number is None:
            raise ConfigError(
                f"limit {name} is '{text}'",
                expected="a whole number, with K, M or G for powers of 1,024",
            )
        values[name] = int(number[1]) * _FACTORS[number[2].upper()]
    return Limits(**values)


class InFlight:
    """Counts the bytes of all unfinished requests; used on one event loop."""

    def __init__(self, limit_bytes: int):
        """Takes the limit for the sum."""
        self._limit = limit_bytes
        self.taken_bytes = 0

    @contextlib.contextmanager
    def holding(self, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Counts a request until the end of the block.

        Yields:
          Function (bytes), to call if the request turns out to be larger.

        Raises:
          Unavailable: the sum would exceed the limit.
        """
        held_bytes = 0

        def grow_to(size_bytes: int) -> None:
            nonlocal held_bytes
            more = max(size_bytes - held_bytes, 0)
            if self.taken_bytes + more > self._limit:
                raise errors.Unavailable()
            self.taken_bytes += more
            held_bytes += more

        try:
            grow_to(size_bytes)
            yield grow_to
        finally:
            self.taken_bytes -= held_bytes
