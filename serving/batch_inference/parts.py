"""The parts of a batch inference on disk, each finished or absent.

A folder beside the output holds the list of the files, the manifest of the job, and two
files for each finished part: its rows, and its record, which is written last and marks the
part as finished. Workers, which may be other processes, also write their progress and errors
there.
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

from common.errors import ConfigError, DataError, SlimlineError, os_errors_as
from serving import local_model
from serving.batch_inference.listing import File
from storage import durable

FOLDER_SUFFIX = ".parts"
MANIFEST_FILE = "manifest.json"
FILES_FILE = "files.jsonl"
LOCK_FILE = "lock"
# Whole batches, so that the cut into parts changes no batch and hence no rounding.
PART_FILES = 16 * local_model.BATCH_SIZE
_ERROR_FILE = "error.json"
_ROWS, _RECORD, _NOTE = "rows", "json", "files"
_NAME = re.compile(
    r"\.?(manifest\.json|files\.jsonl|error\.json|part-\d{7,}\.(rows|json|files))(\.tmp)?"
)
_MAX_NAMED = 3


class Part(NamedTuple):
    """Files that are classified together."""

    number: int  # from 0, in the order of the files
    offset: int  # bytes before its first line in the list of the files
    files: int  # number of files


@dataclasses.dataclass(frozen=True)
class Record:
    """The record of a finished part."""

    rows: int  # number of images classified
    rows_sha256: str  # of the bytes of its rows
    images_per_class: dict[str, int]  # most probable class -> images
    unreadable: list[tuple[str, str]]  # path and reason of each file left out


@dataclasses.dataclass(frozen=True)
class Plan:
    """The parts of a list of files."""

    parts: tuple[Part, ...]  # in order
    files: int  # number of files
    files_sha256: str  # of the list


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Folder of the parts of an output until it is complete."""
    return output.with_name(output.name + FOLDER_SUFFIX)


def plan(files: Sequence[File]) -> Plan:
    """Parts of files in their final order."""
    sha256 = hashlib.sha256()
    parts: list[Part] = []
    offset, lines = 0, _lines(files)
    while some := list(itertools.islice(lines, PART_FILES)):
        parts.append(Part(len(parts), offset, len(some)))
        for line in some:
            sha256.update(line)
            offset += len(line)
    return Plan(tuple(parts), len(files), sha256.hexdigest())


def exists(folder: pathlib.Path) -> bool:
    """Whether the folder holds a job that began and has not ended."""
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
            with (folder / FILES_FILE).open("rb") as lines:
                phrases += _compare([File(*json.loads(line)) for line in lines], files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"its list or manifest cannot be read: {error}"]
    return phrases


def clear(folder: pathlib.Path) -> None:
    """Removes all files of the job but the lock.

    Raises:
      ConfigError: the folder holds other files.
    """
    names = sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE)
    if odd := [name for name in names if not _NAME.fullmatch(name)]:
        raise ConfigError(
            f"{folder} holds other files",
            found=", ".join(odd[:_MAX_NAMED]),
            tip="give another --output",
        )
    # Without its manifest it is no job, even if a kill leaves some of its files.
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for name in names:
        (folder / name).unlink(missing_ok=True)


def remove(folder: pathlib.Path) -> None:
    """Removes the folder of a job, whose lock the caller holds."""
    clear(folder)
    (folder / LOCK_FILE).unlink(missing_ok=True)
    # The next job may have made its lock already.
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns an OSError, as of a full disk, into a ConfigError that names `path`."""
    with os_errors_as(
        ConfigError,
        f"cannot write {path}",
        tip="finished parts are kept, rerun the same command to resume",
    ):
        yield


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
    """Writes a finished part; an older copy of it is replaced."""
    digest = hashlib.sha256(rows).hexdigest()
    count = sum(images_per_class.values())
    record = Record(count, digest, images_per_class, unreadable)
    with durable.replacing(_file(folder, part, _ROWS)) as file:
        file.write(rows)
    text = json.dumps(dataclasses.asdict(record))
    durable.write_text(_file(folder, part, _RECORD), text)
    _file(folder, part, _NOTE).unlink(missing_ok=True)


def note(folder: pathlib.Path, part: Part, files: int) -> None:
    """Records how many files of an unfinished part are done."""
    _file(folder, part, _NOTE).write_text(str(files), encoding="ascii")


def count_done(folder: pathlib.Path, parts: Iterable[Part]) -> int:
    """How many files of `parts` are done, including noted ones of unfinished parts."""
    names = set(os.listdir(folder))  # noqa: PTH208, of very many parts
    done = 0
    for part in parts:
        if _file(folder, part, _RECORD).name in names:
            done += part.files
        elif (note := _file(folder, part, _NOTE)).name in names:
            # A worker may rewrite or remove it right now.
            with contextlib.suppress(OSError, ValueError):
                done += int(note.read_text(encoding="ascii"))
    return done


def refuse(folder: pathlib.Path, error: SlimlineError) -> None:
    """Writes the error that ended a worker, for the process that started the job."""
    text = json.dumps([type(error).__name__, *error.args])
    # The error may be a full disk.
    with contextlib.suppress(OSError):
        durable.write_text(folder / _ERROR_FILE, text)


def refusal(folder: pathlib.Path) -> SlimlineError | None:
    """The error that a worker wrote, or None; the error is removed for the next start."""
    try:
        text = (folder / _ERROR_FILE).read_text(encoding="utf-8")
        (folder / _ERROR_FILE).unlink()
        kind, message, found, expected, tip = json.loads(text)
        error = {"ConfigError": ConfigError, "DataError": DataError}[kind]
    except (OSError, ValueError, KeyError):
        return None
    return error(message, found=found, expected=expected, tip=tip)


def read(folder: pathlib.Path, part: Part) -> Record | None:
    """Record of a part; None if the part is not finished, or its record is damaged."""
    try:
        text = _file(folder, part, _RECORD).read_text(encoding="utf-8")
        record = Record(**json.loads(text))
        is_complete = record.rows + len(record.unreadable) == part.files
        is_complete &= _file(folder, part, _ROWS).is_file()
    except (OSError, ValueError, TypeError):
        return None
    return record if is_complete else None


def join(
    folder: pathlib.Path, parts: Iterable[Part], heading: bytes, output: pathlib.Path
) -> None:
    """Writes the rows of all parts into the output, completely or not at all.

    Raises:
      DataError: the rows of a part differ from its record; its record is removed.
    """
    with durable.replacing(output) as target:
        target.write(heading)
        for part in parts:
            record, file = read(folder, part), _file(folder, part, _ROWS)
            rows = file.read_bytes() if record else b""
            digest = hashlib.sha256(rows).hexdigest()
            if record is None or record.rows_sha256 != digest:
                _file(folder, part, _RECORD).unlink(missing_ok=True)
                raise DataError(
                    f"{file} is damaged",
                    tip="rerun the same command to write that part again",
                )
            target.write(rows)


def _file(folder: pathlib.Path, part: Part, suffix: str) -> pathlib.Path:
    return folder / f"part-{part.number:07}.{suffix}"


def _lines(files: Iterable[File]) -> Iterator[bytes]:
    # ASCII, so that names which are not UTF-8 come back as they were.
    return (json.dumps(file).encode() + b"\n" for file in files)


def _compare(before: Sequence[File], now: Sequence[File]) -> list[str]:
    old, new = ({file.path: file for file in files} for files in (before, now))
    kinds = {
        "more": new.keys() - old.keys(),
        "gone": old.keys() - new.keys(),
        "changed": {path for path in old.keys() & new.keys() if old[path] != new[path]},
    }
    return [
        f"{len(paths):,} file{'s' * (len(paths) > 1)} {kind}, as {min(paths)}"
        for kind, paths in kinds.items()
        if paths
    ]
