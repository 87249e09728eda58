"""Groups of images that stay together: of a patient, a product, a burst (`data.group_by`)."""

import dataclasses
import functools
import re

from common.errors import ConfigError

COLUMN, PATH, LOOKS = "column", "path", "looks"
EXPECTED = (
    "column:NAME of a table, path:N for the N-th folder below the class, path:REGEX with"
    " one group, which is looked for in the path, or looks"
)


@dataclasses.dataclass(frozen=True)
class Grouping:
    """What an image's group is named by; all empty for no groups.

    Attributes:
      text: as `data.group_by` has it.
      column: of the table, or field of the records.
      folder: which one below the class, from 1.
      pattern: regular expression with one group.
      is_by_looks: whether images that look alike are a group (`looks`).
    """

    text: str = ""
    column: str = ""
    folder: int = 0
    pattern: str = ""
    is_by_looks: bool = False

    @property
    def is_by_path(self) -> bool:
        return bool(self.folder or self.pattern)

    def of_path(self, key: str, word: str) -> str:
        """Group of an image by its path.

        Args:
          key: path of the image, without the folder that wraps all of the data.
          word: class.

        Raises:
          ConfigError: the path lacks that part.
        """
        if self.pattern:
            found = _compiled(self.pattern).search(key)
            if not found or not found[1]:
                raise ConfigError(
                    f"data.group_by finds no group in the path '{key}'",
                    found=f"path:{self.pattern}",
                    expected="a part that fits in the path of every image",
                )
            return found[1]
        folders = key.split("/")[:-1]
        place = folders.index(word) + 1 if word in folders else len(folders)
        below = folders[place:]
        if len(below) < self.folder:
            raise ConfigError(
                f"the path '{key}' has no folder {self.folder} below its class '{word}'",
                found=", ".join(below) or "no folder there",
                expected="one in the path of every image",
                tip="--set 'data.group_by=path:REGEX' takes another part of the path",
            )
        return below[self.folder - 1]


def parse(text: str) -> Grouping:
    """The grouping in a text, as `EXPECTED` describes it; '' for no groups.

    Raises:
      ConfigError: the text is none.
    """
    if not text:
        return Grouping()
    kind, _, what = text.partition(":")
    if text == LOOKS:
        return Grouping(text, is_by_looks=True)
    if kind == COLUMN and what:
        return Grouping(text, column=what)
    if kind == PATH and what.isdecimal() and int(what):
        return Grouping(text, folder=int(what))
    try:
        if kind == PATH and _compiled(what).groups == 1:
            return Grouping(text, pattern=what)
    except re.error as error:
        text = f"{text}: {error}"
    raise ConfigError(
        "setting 'data.group_by' names no groups", found=text, expected=EXPECTED
    )


_compiled = functools.cache(re.compile)
