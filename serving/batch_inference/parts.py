"""The parts of a batch inference on disk: done or not done, never half.

A folder beside the output holds the list of the files, the manifest of the job, and two
files a finished part: its rows, and its record, which is written last and makes it count.
Workers, which may be other processes, also note there how far they are and what they refuse.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from common.errors import ConfigError, DataError, SlimlineError
from serving import local_model
from serving.batch_inference.listing import File
from storage import durable

FOLDER_SUFFIX = ".parts"
MANIFEST_FILE = "manifest.json"
FILES_FILE = "files.jsonl"
LOCK_FILE = "lock"
# Whole batches, so that where the parts are cut changes no batch and no rounding.
PART_FILES = 16 * local_model.BATCH_SIZE
_ERROR_FILE = "error.json"
_ROWS, _RECORD, _NOTE = "rows", "json", "files"
_NAME = re.compile(
    r"\.?(manifest\.json|files\.jsonl|error\.json|part-\d{7,}\.(rows|json|files))(\.tmp)?"
)
_MAX_NAMED = 3


class Part(NamedTuple):
    """Files that are classified together.

    Attributes:
      number: from 0, in the order of the files.
      offset: bytes before its first line in the list of the files.
      files: how many they are.
    """

    number: int
    offset: int
    files: int


@dataclasses.dataclass(frozen=True)
class Record:
    """What a finished part holds.

    Attributes:
      rows: images classified.
      rows_sha256: of the bytes of its rows.
      images_per_class: most probable class -> images.
      unreadable: path and reason of the files left out.
    """

    rows: int
    rows_sha256: str
    images_per_class: dict[str, int]
    unreadable: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The parts of a list of files.

    Attributes:
      parts: in order.
      files: how many files they have.
      files_sha256: of the list.
    """

    parts: tuple[Part, ...]
    files: int
    files_sha256: str


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Where the parts of an output lie until it is whole."""
    return output.with_name(output.name + FOLDER_SUFFIX)


def plan(files: Sequence[File]) -> Plan:
    """Parts of files that are in their order."""
    sha256 = hashlib.sha256()
    parts, offset = [], 0
    for number, some in enumerate(_chunks(_lines(files))):
        parts.append(Part(number, offset, len(some)))
        for line in some:
            sha256.update(line)
            offset += len(line)
    return Plan(tuple(parts), len(files), sha256.hexdigest())


def exists(folder: pathlib.Path) -> bool:
    """Whether there is a job that was begun and not ended."""
    return (folder / MANIFEST_FILE).is_file()


def begin(
    folder: pathlib.Path, files: Sequence[File], manifest: dict[str, Any]
) -> None:
    """Writes list and manifest of a new job into an existing folder."""
    with durable.replacing(folder / FILES_FILE) as target:
        target.writelines(_lines(files))
    text = json.dumps(manifest, indent=1, sort_keys=True)
    durable.write_text(folder / MANIFEST_FILE, text)


def differences(
    folder: pathlib.Path, files: Sequence[File], manifest: dict[str, Any]
) -> list[str]:
    """How the job begun in `folder` differs from this one, a phrase each."""
    try:
        before = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        phrases = [
            f"{name} {before[name]} then, {manifest[name]} now"
            for name in ("model", "top", "part_files")
            if before[name] != manifest[name]
        ]
        if before["model"] == manifest["model"] and (
            before["model_sha256"] != manifest["model_sha256"]
        ):
            phrases.append(f"the files of model {manifest['model']} have changed")
        if before["files_sha256"] != manifest["files_sha256"]:
            phrases += _compare(_read_all(folder), files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"its list or manifest cannot be read: {error}"]
    return phrases


def clear(folder: pathlib.Path) -> None:
    """Removes what was written into the folder, but for the lock.

    Raises:
      ConfigError: it holds something else as well.
    """
    names = sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE)
    if odd := [name for name in names if not _NAME.fullmatch(name)]:
        raise ConfigError(
            f"{folder} holds files of somebody else",
            found=", ".join(odd[:_MAX_NAMED]),
            tip="give another --output",
        )
    # Without its manifest it is no job any more, however far this comes.
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for name in names:
        (folder / name).unlink(missing_ok=True)


def remove(folder: pathlib.Path) -> None:
    """Removes the folder, whose lock is held, with all that was written into it."""
    clear(folder)
    (folder / LOCK_FILE).unlink(missing_ok=True)
    # Somebody who comes for the next job may have made a lock of his own already.
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns a failure to write into a sentence: the disk is full, or closed to this user.

    Raises:
      ConfigError: `path` could not be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}",
            tip="finished parts are kept, rerun the same command to resume",
        ) from error


def read_files(folder: pathlib.Path, part: Part) -> list[str]:
    """Paths of the files of a part."""
    with (folder / FILES_FILE).open("rb") as file:
        file.seek(part.offset)
        return [
            File(*json.loads(line)).path for line in itertools.islice(file, part.files)
        ]


def write(
    folder: pathlib.Path,
    part: Part,
    rows: bytes,
    images_per_class: dict[str, int],
    unreadable: list[tuple[str, str]],
) -> None:
    """Writes a finished part; one that was there is replaced by the same."""
    record = Record(
        rows=sum(images_per_class.values()),
        rows_sha256=hashlib.sha256(rows).hexdigest(),
        images_per_class=images_per_class,
        unreadable=unreadable,
    )
    with durable.replacing(_file(folder, part, _ROWS)) as file:
        file.write(rows)
    text = json.dumps(dataclasses.asdict(record))
    durable.write_text(_file(folder, part, _RECORD), text)
    _file(folder, part, _NOTE).unlink(missing_ok=True)


def note(folder: pathlib.Path, part: Part, files: int) -> None:
    """Notes how many files of a part under way are done."""
    _file(folder, part, _NOTE).write_text(str(files), encoding="ascii")


def count_done(folder: pathlib.Path, parts: Iterable[Part]) -> int:
    """How many files of `parts` are done, those of parts under way as far as noted."""
    names = set(os.listdir(folder))  # noqa: PTH208, of very many parts
    done = 0
    for part in parts:
        if _name_of(part, _RECORD) in names:
            done += part.files
        elif _name_of(part, _NOTE) in names:
            # It may be rewritten or go right now.
            with contextlib.suppress(OSError, ValueError):
                done += int(_file(folder, part, _NOTE).read_text(encoding="ascii"))
    return done


def refuse(folder: pathlib.Path, error: SlimlineError) -> None:
    """Puts down the error that ended a worker."""
    text = json.dumps([type(error).__name__, *error.args])
    # A full disk may be that error.
    with contextlib.suppress(OSError):
        durable.write_text(folder / _ERROR_FILE, text)


def refusal(folder: pathlib.Path) -> SlimlineError | None:
    """The error that a worker put down, once; another start may mend it."""
    try:
        text = (folder / _ERROR_FILE).read_text(encoding="utf-8")
        (folder / _ERROR_FILE).unlink()
        kind, message, found, expected, tip = json.loads(text)
        error = {"ConfigError": ConfigError, "DataError": DataError}[kind]
    except (OSError, ValueError, KeyError):
        return None
    return error(message, found=found, expected=expected, tip=tip)


def read(folder: pathlib.Path, part: Part) -> Record | None:
    """What a part holds; None where it is not done, or its record is damaged."""
    try:
        text = _file(folder, part, _RECORD).read_text(encoding="utf-8")
        record = Record(**json.loads(text))
        is_whole = record.rows + len(record.unreadable) == part.files
        is_whole &= _file(folder, part, _ROWS).is_file()
    except (OSError, ValueError, TypeError):
        return None
    return record if is_whole else None


def join(
    folder: pathlib.Path, parts: Iterable[Part], heading: bytes, output: pathlib.Path
) -> None:
    """Writes the rows of all parts into the output, whole or not at all.

    Raises:
      DataError: the rows of a part are not those of its record; it is undone.
    """
    with durable.replacing(output) as target:
        target.write(heading)
        for part in parts:
            record = read(folder, part)
            rows = _file(folder, part, _ROWS).read_bytes() if record else b""
            digest = hashlib.sha256(rows).hexdigest()
            if record is None or record.rows_sha256 != digest:
                _file(folder, part, _RECORD).unlink(missing_ok=True)
                raise DataError(
                    f"{_file(folder, part, _ROWS)} is damaged",
                    tip="rerun the same command to write that part again",
                )
            target.write(rows)


def _file(folder: pathlib.Path, part: Part, suffix: str) -> pathlib.Path:
    return folder / _name_of(part, suffix)


def _name_of(part: Part, suffix: str) -> str:
    return f"part-{part.number:07}.{suffix}"


def _lines(files: Iterable[File]) -> Iterator[bytes]:
    # ASCII, so that names which are not UTF-8 come back as they were.
    return (json.dumps(file).encode() + b"\n" for file in files)


def _chunks(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while some := list(itertools.islice(lines, PART_FILES)):
        yield some


def _read_all(folder: pathlib.Path) -> list[File]:
    with (folder / FILES_FILE).open("rb") as file:
        return [File(*json.loads(line)) for line in file]


def _compare(before: Sequence[File], now: Sequence[File]) -> list[str]:
    then_by_path = {file.path: file for file in before}
    now_by_path = {file.path: file for file in now}
    kinds = {
        "more": [path for path in now_by_path if path not in then_by_path],
        "gone": [path for path in then_by_path if path not in now_by_path],
        "changed": [
            path
            for path, file in now_by_path.items()
            if then_by_path.get(path, file) != file
        ],
    }
    return [
        f"{len(paths):,} {'file' if len(paths) == 1 else 'files'} {kind}, as {paths[0]}"
        for kind, paths in kinds.items()
        if paths
    ]
