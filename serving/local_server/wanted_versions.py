"""What the models folder asks for: which versions of which models, under which labels."""

import dataclasses
import logging
import pathlib
from collections.abc import Iterable, Mapping

from schema import models_config, versions
from schema.errors import ConfigError
from serving.local_server import errors

# A folder that is not there in a single look, as while another is put in its place, is not
# gone yet.
GONE_LOOKS = 3
_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for of one model.

    Attributes:
      candidates: versions that are there, the most urgent first: those that models.config
        names, or all, of which the newest sound one is meant.
      there: all versions that are there.
      is_pinned: whether they are named, and all are meant.
      labels: label -> version.
      missing: versions that are named, but not there.
      is_gone: whether the model was removed, folder and all.
    """

    candidates: tuple[int, ...]
    there: tuple[int, ...] = ()
    is_pinned: bool = False
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: tuple[int, ...] = ()
    is_gone: bool = False


GONE = Wanted((), is_gone=True)


class Watcher:
    """Looks at the folder, again and again; one look is a few calls of the file system.

    Attributes:
      problem: why the last look failed, without paths, or ''.
    """

    def __init__(self, serving_folder: pathlib.Path):
        """Looks at nothing yet."""
        self._folder = serving_folder
        self._look = 0
        # When a version was last there.
        self._seen: dict[tuple[str, int], int] = {}
        self._wanted: dict[str, Wanted] = {}
        self._strange: set[str] = set()
        self.problem = ""

    def look(self) -> dict[str, Wanted]:
        """What each model is to serve, by name; models that are gone are left out.

        Where the folder or models.config cannot be read, it is what it was before. A model
        whose folder is there without any version is not gone.
        """
        try:
            if self._wanted and not self._folder.is_dir():
                raise FileNotFoundError("the folder of the models is not there")
            entries = models_config.read(self._folder)
            names = {*entries, *filter(self._is_there, self._wanted)}
            found = {
                name: versions.numbers(self._folder / name)
                for name in names
                if self._can_be_asked(name)
            }
        except (ConfigError, OSError) as error:
            problem = (
                f"{getattr(error, 'message', error)}; what was served is served on"
            )
            self._tell(problem.replace(f"{self._folder}/", ""))
            return self._wanted
        self._tell("")
        self._remember(found)
        self._wanted = {
            name: _wanted(
                entries.get(name, models_config.Entry()),
                [number for model, number in self._seen if model == name],
            )
            for name in sorted({*found, *(name for name, _ in self._seen)})
        }
        return self._wanted

    def _remember(self, found: Mapping[str, Iterable[int]]) -> None:
        self._look += 1
        for name, numbers in found.items():
            self._seen |= {(name, number): self._look for number in numbers}
        self._seen = {
            key: last
            for key, last in self._seen.items()
            if self._look - last < GONE_LOOKS
        }

    def _is_there(self, name: str) -> bool:
        return (self._folder / name).is_dir()

    def _can_be_asked(self, name: str) -> bool:
        if errors.NAME.fullmatch(name) and not name.startswith("."):
            return True
        if name not in self._strange:
            self._strange.add(name)
            _LOGGER.warning(
                "model %r is left out: a name has 1 to 64 letters, digits, '_', '.', '-'",
                name,
            )
        return False

    def _tell(self, problem: str) -> None:
        if problem and problem != self.problem:
            _LOGGER.warning("%s", problem)
        elif self.problem and not problem:
            _LOGGER.info("the folder of the models can be read again")
        self.problem = problem


def _wanted(entry: models_config.Entry, complete: list[int]) -> Wanted:
    labels = dict(entry.labels)
    named = {*entry.versions, *labels.values()}
    newest_first = tuple(sorted(complete, reverse=True))
    pinned = tuple(number for number in newest_first if number in named)
    stable = labels.get(models_config.STABLE)
    return Wanted(
        # As `Entry.live`: pins that lead nowhere leave the newest.
        candidates=tuple(sorted(pinned, key=lambda number: number != stable))
        or newest_first,
        there=newest_first,
        is_pinned=bool(pinned),
        labels=labels,
        missing=tuple(sorted(named - set(complete))),
    )
