"""The interface of layouts, and what recognises them: listings, answers, questions."""

import abc
import dataclasses
import fnmatch
import functools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from common.errors import ConfigError
from components.image_example_gen import grouping, records
from components.image_example_gen.layouts import rows
from components.image_example_gen.sources.source import Member
from schema import image_names

AUTO = "auto"
# Items of a list in a setting that need no quotes.
_PLAIN = re.compile(r"\w[\w ./+-]*=\w+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(abc.ABC):
    """How the images lie in a source.

    Attributes:
      format: its name, for `data.format`.
      words: what was recognised, a sentence a line.
      files: files without images that the layout was read from, such as lists.
      channels: of raw pixels; 0 where every image has its own.
    """

    format: str
    words: tuple[str, ...]
    files: tuple[str, ...] = ()
    channels: int = 0

    @abc.abstractmethod
    def units(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Parts of a source with random access, each for one worker."""

    def classes(self, names: Sequence[str]) -> frozenset[str]:
        """Classes of the image files; empty where they are known only by reading."""
        return frozenset()

    @abc.abstractmethod
    def read(self, members: Iterable[Member]) -> Iterator[records.Found]:
        """The images among `members`.

        Raises:
          DataError: a file is damaged, or not of the layout.
        """


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a person says where the files leave a question open.

    Attributes:
      format: one of `registry.FORMATS`, or 'auto'.
      subset: which of several datasets that lie together; '' where there is one.
      class_from: 'folder' (the top one), 'parent' (the one that the image lies in), 'name'
        (of the file, before its number), or 'auto'.
      splits: name of a folder, or a word of a table -> 'train', 'eval', 'test' or 'none'.
        To leave out files, a path or a pattern with * will do, too.
      path_column: column of a table that names the files; '' where it is looked for.
      label_column: the one with the classes. split_column: the one with the splits.
      group_by: what the groups of the images are named by (`grouping`); '' for none.
    """

    format: str = AUTO
    subset: str = ""
    class_from: str = AUTO
    splits: tuple[tuple[str, str], ...] = ()
    path_column: str = ""
    label_column: str = ""
    split_column: str = ""
    group_by: str = ""

    @classmethod
    def from_json(cls, text: str) -> "Answers":
        """The answers in a text that `to_json` wrote; '' holds none."""
        values = json.loads(text or "{}")
        splits = tuple((name, split) for name, split in values.pop("splits", ()))
        return cls(**values, splits=splits)

    @property
    def grouping(self) -> grouping.Grouping:
        """The parsed `group_by`."""
        return grouping.parse(self.group_by)

    @functools.cached_property
    def _left_out(self) -> frozenset[str]:
        return frozenset(name for name, split in self.splits if split == "none")

    def leave_out(self, name: str) -> bool:
        """Whether a person said 'none' of a file, or of a folder above it."""
        if not self._left_out:
            return False
        parts = name.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        return not self._left_out.isdisjoint(above.union(parts)) or any(
            fnmatch.fnmatchcase(part, pattern)
            for pattern in self._left_out
            if "*" in pattern
            for part in parts
        )

    def columns(self) -> set[str]:
        """Names of columns that a person gave, in lower case."""
        given = (self.path_column, self.label_column, self.split_column)
        return {name.lower() for name in given if name}

    def to_json(self) -> str:
        """A text that an execution property can carry."""
        return json.dumps(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a source, to recognise their layout by.

    Attributes:
      names: all that can be read, are no litter and were not left out, in the order of
        the source.
      answers: to questions that were asked before.
      read: content of files by name.
      unreadable: files and folders that are there and cannot be read.
    """

    names: tuple[str, ...]
    answers: Answers
    read: Callable[[Sequence[str]], dict[str, bytes]]
    unreadable: tuple[str, ...] = ()

    @functools.cached_property
    def images(self) -> list[str]:
        """Names of image files."""
        return list(filter(image_names.is_image_name, self.names))

    @functools.cached_property
    def listable(self) -> list[str]:
        """Names of images that a list may name: those that cannot be read are there, too."""
        return [*self.images, *filter(image_names.is_image_name, self.unreadable)]

    def lines(self, names: Sequence[str]) -> dict[str, dict[int, str]]:
        """File -> number of a line -> the line, stripped; without blank ones.

        Raises:
          DataError: a file is no text.
        """
        texts = {
            name: rows.decode(name, data) for name, data in self.read(names).items()
        }
        return {
            name: {
                number: line.strip()
                for number, line in enumerate(text.splitlines(), start=1)
                if line.strip()
            }
            for name, (text, _) in texts.items()
        }


def setting(key: str, value: str) -> str:
    """The flag that gives a setting, as a shell takes it."""
    return f"--set {shlex.quote(f'{key}={value}')}"


def splits_setting(splits: Mapping[str, str]) -> str:
    """The flag that says which splits names stand for, or 'none'."""
    items = [f"{name}={split}" for name, split in splits.items()]
    plain = [
        item if _PLAIN.fullmatch(item) else json.dumps(item, ensure_ascii=False)
        for item in items
    ]
    return setting("data.splits", f"[{', '.join(plain)}]")


def question(message: str, *, found: str, answers: Sequence[str]) -> ConfigError:
    """The error that asks which of several readings is right.

    Args:
      message: what is unclear.
      found: what the files show.
      answers: settings that decide, each with what it means.
    """
    return ConfigError(
        message, found=found, tip="\n    ".join(("say which:", *answers))
    )
