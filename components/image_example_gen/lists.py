"""Images named in list files (`path label` a line) or in CSV tables."""

import csv
import dataclasses
import io
import posixpath
from collections.abc import Callable, Iterable, Iterator

from components.image_example_gen import folders, records, splits
from components.image_example_gen.sources.source import Member
from schema import image_names, spelling
from schema.errors import DataError

MAX_NAMED = 3
_PATH_COLUMN, _LABEL_COLUMN, _SPLIT_COLUMN = "path", "label", "split"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a list: split ('' for none), class, and the name of the list."""

    split: str
    word: str
    file: str
    line: int


@dataclasses.dataclass(frozen=True)
class ListLayout:
    """Images named in lists.

    Attributes:
      root: folder of the lists ('' or with a slash at its end); paths start there.
      entries: name in the source -> its lines; an image may be listed more than once.
      files: names of the lists.
    """

    root: str
    entries: dict[str, tuple[Entry, ...]]
    files: tuple[str, ...]
    format: str = "list"
    channels: int = 0

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: some hundred images each."""
        return folders.chunks([name for name in names if name in self.entries])

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.ImageFile | records.Unreadable | records.Ignored]:
        """The listed images among `members`."""
        for member in members:
            lines = self.entries.get(member.name, ())
            if not lines and member.name not in self.files:
                yield records.Ignored(member.name)
            image: records.ImageFile | records.Unreadable | None = None
            for number, entry in enumerate(lines):
                key = member.name[len(self.root) :] + (f"#{number}" if number else "")
                if image is None:
                    image = folders.read_image(
                        member, entry.split, key, entry.word, may_be_index=True
                    )
                elif isinstance(image, records.ImageFile):
                    image = image._replace(split=entry.split, key=key, word=entry.word)
                else:
                    image = image._replace(key=key)
                yield image


def is_list_name(name: str) -> bool:
    """Whether a file may be a list, by its name: Train.txt, val.txt, or any .csv."""
    stem, suffix = posixpath.splitext(posixpath.basename(name).lower())
    return not image_names.is_litter(name) and (
        suffix == ".csv" or (suffix == ".txt" and stem in splits.SPLIT_OF_NAME)
    )


def find(
    names: set[str], read: Callable[[list[str]], dict[str, bytes]]
) -> ListLayout | None:
    """Layout of the lists highest up among `names`, or None.

    Args:
      names: all files of the source.
      read: gives the content of files by name.

    Raises:
      DataError: a list names images that are not there, or a line has no label.
    """
    candidates = [name for name in names if is_list_name(name)]
    if not candidates:
        return None
    depth = min(name.count("/") for name in candidates)
    contents = read(sorted(name for name in candidates if name.count("/") == depth))
    entries: dict[str, list[Entry]] = {}
    files, missing, root = [], [], ""
    for file, data in contents.items():
        parsed = _parse(file, data)
        if not parsed:
            continue
        files.append(file)
        root = file[: len(file) - len(posixpath.basename(file))]
        for path, entry in parsed:
            name = posixpath.normpath(posixpath.join(root, path.replace("\\", "/")))
            if name in names:
                entries.setdefault(name, []).append(entry)
            else:
                missing.append(f"line {entry.line} of {file}: {path}")
    if not files:
        return None
    if missing:
        raise DataError(
            f"{len(missing):,} listed images are not there",
            found="; ".join(missing[:MAX_NAMED]),
            expected="paths relative to the folder of the list",
        )
    return ListLayout(
        root, {name: tuple(lines) for name, lines in entries.items()}, tuple(files)
    )


def _parse(file: str, data: bytes) -> list[tuple[str, Entry]]:
    try:
        text = spelling.normalise(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not text: {error.reason} at byte {error.start:,}",
            expected="UTF-8",
        ) from error
    base = posixpath.basename(file).lower()
    split = splits.SPLIT_OF_NAME.get(posixpath.splitext(base)[0], "")
    if base.endswith(".csv"):
        return _parse_csv(file, text, split)
    parsed = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        path, _, word = line.strip().rpartition(" ")
        if not path.strip():
            raise DataError(
                f"line {number} of {file} has no label",
                found=line.strip()[:80],
                expected="path, a blank, label",
            )
        parsed.append((path.strip(), Entry(split, word, file, number)))
    return parsed


def _parse_csv(file: str, text: str, split_of_file: str) -> list[tuple[str, Entry]]:
    """Lines of a table; nothing where the header is not ours (some other table)."""
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        if _PATH_COLUMN not in header or _LABEL_COLUMN not in header:
            return []
        path_at, label_at = header.index(_PATH_COLUMN), header.index(_LABEL_COLUMN)
        split_at = header.index(_SPLIT_COLUMN) if _SPLIT_COLUMN in header else None
        parsed = []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
            if not cells[path_at] or not cells[label_at]:
                raise DataError(
                    f"line {rows.line_num} of {file} has no path or no label",
                    expected="path,label[,split]",
                )
            split = split_of_file
            if split_at is not None and cells[split_at]:
                split = splits.SPLIT_OF_NAME.get(cells[split_at].lower(), "?")
            if split == "?":
                raise DataError(
                    f"line {rows.line_num} of {file} names the split"
                    f" '{cells[split_at or 0]}'",
                    expected=", ".join(splits.SPLIT_OF_NAME),
                )
            entry = Entry(split, cells[label_at], file, rows.line_num)
            parsed.append((cells[path_at], entry))
    except csv.Error as error:
        raise DataError(f"{file} is not a CSV table: {error}") from error
    return parsed
