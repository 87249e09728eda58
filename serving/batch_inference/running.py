"""One batch inference from files to the finished table, wherever it was broken off."""

import contextlib
import dataclasses
import hashlib
import logging
import pathlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import filelock
from apache_beam.options import pipeline_options
from apache_beam.utils import shared

from common.errors import ConfigError, DataError, find_user_error
from serving import local_model
from serving.batch_inference import listing, parts, rows, steps
from storage import durable, locks, manifest

UNREADABLE_SUFFIX = ".unreadable.csv"
COMPONENT = "predict"
MAX_NAMED = 3
PROGRESS_SECONDS = 1.0
_MANIFEST_VERSION = 1

_PROGRESS = logging.getLogger("slimline.progress")


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished batch inference.

    Attributes:
      output: file of the rows.
      model: name and version that answered, as 'cifar10@7'.
      images: files classified, each a row.
      unreadable: files left out, each a line in `unreadable_file`.
      unreadable_file: None where every file was readable.
      ignored: files in folders that are no images by their names, or hidden.
      resumed_files: how many were done by an earlier start.
      images_per_class: most probable class -> images, in the model's order.
      seconds: of this start.
      images_per_second: of this start, without listing and loading; None where all was
        done before.
    """

    output: str
    model: str
    images: int
    unreadable: int
    unreadable_file: str | None
    ignored: int
    resumed_files: int
    images_per_class: dict[str, int]
    seconds: float
    images_per_second: float | None


def run(
    words: Sequence[str],
    output: pathlib.Path,
    *,
    model_folder: pathlib.Path,
    beam_arguments: Sequence[str],
    top: int = 3,
    replaces: bool = False,
) -> Result:
    """Classifies files into a table, a row an image, sorted by path.

    The same files and model give the same bytes. A job that was broken off goes on where
    it was; what it has done so far lies in `<output>.parts`.

    Args:
      words: folders, patterns, lists or files (`listing.find`).
      output: NAME.csv or NAME.jsonl (`rows`).
      model_folder: of a version.
      beam_arguments: engine of the Beam job.
      top: how many classes to give an image, at most all.
      replaces: an existing output, or the parts of another job, may go.

    Raises:
      ConfigError: the output exists, cannot be written, or has parts of another job; the
        model cannot be loaded.
      DataError: no files are found, or none can be read.
      KeyboardInterrupt: the user ended it; finished parts are kept.
      ValueError: `top` is less than 1.
    """
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received {top}.")
    start = time.monotonic()
    format = rows.format_of(output)
    _check_output(output, replaces)
    output = output.absolute()
    folder = parts.folder_of(output)
    _PROGRESS.info("component_started", extra={"fields": {"component": COMPONENT}})
    found = listing.find(words, _is_of(output), _tell_listed())
    model_folder = model_folder.resolve()
    shared_model = shared.Shared()
    model = shared_model.acquire(lambda: local_model.LocalModel.load(model_folder))
    job = steps.Job(
        folder=folder,
        working_folder=str(pathlib.Path.cwd()),
        model_folder=model_folder,
        model=_name_of(model_folder),
        format=format,
        top=min(top, len(model.labels)),
    )
    with _locked(folder, output):
        plan = _open(job, found.files, replaces)
        # Of millions of files the list takes more memory than all the rest.
        found.files.clear()
        todo = [part for part in plan.parts if parts.read(folder, part) is None]
        files_todo = sum(part.files for part in todo)
        seconds = _classify(job, plan, todo, shared_model, beam_arguments)
        result = _close(job, plan, output, found, model.labels)
    result = dataclasses.replace(
        result,
        resumed_files=plan.files - files_todo,
        seconds=time.monotonic() - start,
        images_per_second=files_todo / seconds if todo else None,
    )
    _tell_finished(result)
    return result


def describe(result: Result) -> str:
    """'10,000 images, 3 unreadable, 812 images/s' and what else there is to say."""
    told = [f"{result.images:,} images", f"{result.unreadable:,} unreadable"]
    if result.images_per_second:
        told.append(f"{result.images_per_second:,.0f} images/s")
    if result.resumed_files:
        told.append(f"{result.resumed_files:,} done before")
    if result.ignored:
        told.append(f"{result.ignored:,} other files ignored")
    return ", ".join(told)


def _check_output(output: pathlib.Path, replaces: bool) -> None:
    if not output.parent.is_dir():
        raise ConfigError(f"cannot write {output}", found=f"no folder {output.parent}")
    # With parts beside it the output is an older one that was to be replaced, or it is
    # finished and only the parts were not removed any more.
    folder = parts.folder_of(output)
    if output.exists() and not replaces and not parts.exists(folder):
        if folder.is_dir():
            # The last start was killed while it removed them.
            with _locked(folder, output):
                parts.remove(folder)
        raise ConfigError(
            f"{output} exists already",
            tip="--force replaces it, once the new one is whole",
        )


def _is_of(output: pathlib.Path) -> Any:
    """Whether a path is the output or lies in its parts: a pattern may fit it."""
    own = (output, output.with_name(output.name + UNREADABLE_SUFFIX))
    folder = parts.folder_of(output)

    def is_own(path: str) -> bool:
        if output.name not in path:
            return False
        absolute = pathlib.Path(path).absolute()
        return absolute in own or folder in absolute.parents

    return is_own


def _tell_listed() -> Any:
    told = time.monotonic()

    def tell(files: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= PROGRESS_SECONDS:
            told = now
            _PROGRESS.info("predict", extra={"fields": {"images": files}})

    return tell


def _name_of(folder: pathlib.Path) -> str:
    """'cifar10@7' of '.../cifar10/7'; the name of any other folder."""
    is_version = folder.name.isdecimal()
    return f"{folder.parent.name}@{folder.name}" if is_version else folder.name


@contextlib.contextmanager
def _locked(folder: pathlib.Path, output: pathlib.Path) -> Iterator[None]:
    with parts.writing(folder):
        folder.mkdir(exist_ok=True)
        try:
            lock = locks.acquire(folder / parts.LOCK_FILE)
        except filelock.Timeout as error:
            raise ConfigError(
                f"another batch inference writes {output}",
                tip="wait for it, or give another --output",
            ) from error
    with lock:
        yield


def _open(job: steps.Job, files: Sequence[listing.File], replaces: bool) -> parts.Plan:
    """The parts of this job, begun or gone on with."""
    plan = parts.plan(files)
    wanted = {
        "manifest_version": _MANIFEST_VERSION,
        "model": job.model,
        "model_sha256": _digest_of(job.model_folder),
        "top": job.top,
        "part_files": parts.PART_FILES,
        "files": plan.files,
        "files_sha256": plan.files_sha256,
    }
    if parts.exists(job.folder):
        others = parts.differences(job.folder, files, wanted)
        if not others:
            return plan
        if not replaces:
            raise ConfigError(
                f"{job.folder} is of another batch inference, which was broken off",
                found="; ".join(others),
                tip="rerun its command to resume, or use --force to start over",
            )
    with parts.writing(job.folder):
        parts.clear(job.folder)
        parts.begin(job.folder, files, wanted)
    return plan


def _digest_of(folder: pathlib.Path) -> str:
    """SHA-256 of all that makes up the model; what lies in `assets.extra` does not."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != manifest.EXTRA_FOLDER:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{name.as_posix()}\0{digest}\n".encode())
    return total.hexdigest()


def _classify(
    job: steps.Job,
    plan: parts.Plan,
    todo: Sequence[parts.Part],
    model: shared.Shared,
    beam_arguments: Sequence[str],
) -> float:
    """Runs the Beam job on the parts to do; returns the seconds it took."""
    start = time.monotonic()
    if todo:
        options = pipeline_options.PipelineOptions(list(beam_arguments))
        parts.refusal(job.folder)  # of a start that was killed
        try:
            with (
                _watched(job.folder, plan),
                beam.Pipeline(options=options) as pipeline,
            ):
                steps.build(pipeline, job, todo, model)
        except Exception as error:
            # Beam wraps whatever ends a step.
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            put_down = parts.refusal(job.folder)
            if mendable := find_user_error(error) or put_down:
                raise mendable from error
            raise
        finally:
            # Beam keeps what was asked for last, to the end of the process.
            shared.Shared().acquire(set)
    return time.monotonic() - start


@contextlib.contextmanager
def _watched(folder: pathlib.Path, plan: parts.Plan) -> Iterator[None]:
    """Tells about once a second how many files are done, whoever does them."""
    is_over = threading.Event()
    first, start = parts.count_done(folder, plan.parts), time.monotonic()

    def watch() -> None:
        while not is_over.wait(PROGRESS_SECONDS):
            done = parts.count_done(folder, plan.parts)
            rate = (done - first) / (time.monotonic() - start)
            fields: dict[str, float] = {"step": done, "total_steps": plan.files}
            if rate:
                fields["images_per_second"] = rate
                fields["seconds_left"] = (plan.files - done) / rate
            _PROGRESS.info("predict", extra={"fields": fields})

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_interrupt(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _close(
    job: steps.Job,
    plan: parts.Plan,
    output: pathlib.Path,
    found: listing.Listing,
    labels: Sequence[str],
) -> Result:
    """Joins the parts into the output, and removes them."""
    counts: Counter[str] = Counter()
    unreadable = list(found.unreadable)
    for part in plan.parts:
        record = parts.read(job.folder, part)
        if record is None:
            raise RuntimeError(f"part {part.number} was not written by any worker")
        counts.update(record.images_per_class)
        unreadable += [(path, reason) for path, reason in record.unreadable]
    unreadable_file = output.with_name(output.name + UNREADABLE_SUFFIX)
    with parts.writing(output):
        _write_unreadable(unreadable_file, sorted(unreadable))
        if counts:
            heading = rows.heading(job.format, job.top)
            parts.join(job.folder, plan.parts, heading, output)
        parts.remove(job.folder)
    if not counts:
        raise DataError(
            f"none of {plan.files:,} files can be read",
            found="; ".join(f"{p}: {r}" for p, r in sorted(unreadable)[:MAX_NAMED]),
            tip=f"{unreadable_file} lists all of them",
        )
    # Classes of another order than the model's own come last, by name.
    order = {label: place for place, label in enumerate(labels)}
    return Result(
        output=str(output),
        model=job.model,
        images=counts.total(),
        unreadable=len(unreadable),
        unreadable_file=str(unreadable_file) if unreadable else None,
        ignored=found.ignored,
        resumed_files=0,
        images_per_class=dict(
            sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
        ),
        seconds=0.0,
        images_per_second=None,
    )


def _write_unreadable(path: pathlib.Path, lines: Sequence[tuple[str, str]]) -> None:
    """Writes the list of what was left out; without any, one of an older output goes."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    with durable.replacing(path) as file:
        file.write(rows.csv_lines([("file", "reason"), *lines]))


def _tell_finished(result: Result) -> None:
    fields = {
        "component": COMPONENT,
        "seconds": result.seconds,
        "detail": describe(result),
        "is_good": not result.unreadable,
    }
    _PROGRESS.info("component_finished", extra={"fields": fields})
