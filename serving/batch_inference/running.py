"""One batch inference from files to the finished table, resumable after a kill."""

import contextlib
import dataclasses
import hashlib
import logging
import pathlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
import filelock
from apache_beam.options import pipeline_options
from apache_beam.utils import shared

from common.errors import (
    ConfigError,
    DataError,
    find_user_error,
    interrupts_unwrapped,
)
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
      unreadable_file: None if every file was readable.
      ignored: files in folders that are hidden or have no image suffix.
      resumed_files: files classified before this start.
      images_per_class: most probable class -> images, in the model's order.
      seconds: of this start.
      images_per_second: of this start, without listing and loading; None if nothing was
        left to classify.
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
    """Classifies files into a table, a row per image, sorted by path.

    The same files and model give the same bytes. An interrupted job resumes from its
    finished parts, which lie in `<output>.parts`.

    Args:
      words: folders, patterns, lists or files (`listing.find`).
      output: NAME.csv or NAME.jsonl (`rows`).
      model_folder: of a version.
      beam_arguments: engine of the Beam job.
      top: classes of an image, at most all.
      replaces: whether to replace an existing output, or the parts of another job.

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
    unreadable_file = output.with_name(output.name + UNREADABLE_SUFFIX)
    _PROGRESS.info("component_started", extra={"fields": {"component": COMPONENT}})

    def is_own(path: str) -> bool:
        """Whether a path is an output or a part: a pattern may match them."""
        if output.name not in path:
            return False
        absolute = pathlib.Path(path).absolute()
        return absolute in (output, unreadable_file) or folder in absolute.parents

    listed = listing.find(words, is_own, _report_listed())
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
        plan = _open(job, listed.files, replaces)
        # A list of millions of files takes more memory than all the rest.
        listed.files.clear()
        todo = [part for part in plan.parts if parts.read(folder, part) is None]
        files_todo = sum(part.files for part in todo)
        seconds = _classify(job, plan, todo, shared_model, beam_arguments)
        counts, unreadable = _read_records(job, plan)
        unreadable = sorted([*listed.unreadable, *unreadable])
        with parts.writing(output):
            _write_unreadable(unreadable_file, unreadable)
            if counts:
                heading = rows.heading(job.format, job.top)
                parts.join(folder, plan.parts, heading, output)
            parts.remove(folder)
    if not counts:
        raise DataError(
            f"none of {plan.files:,} files can be read",
            found="; ".join(f"{path}: {why}" for path, why in unreadable[:MAX_NAMED]),
            tip=f"{unreadable_file} lists all of them",
        )
    # Classes that the model's list does not name come last.
    order = [*model.labels, *sorted(counts.keys() - {*model.labels})]
    result = Result(
        output=str(output),
        model=job.model,
        images=counts.total(),
        unreadable=len(unreadable),
        unreadable_file=str(unreadable_file) if unreadable else None,
        ignored=listed.ignored,
        resumed_files=plan.files - files_todo,
        images_per_class={name: counts[name] for name in order if name in counts},
        seconds=time.monotonic() - start,
        images_per_second=files_todo / seconds if todo else None,
    )
    fields = {
        "component": COMPONENT,
        "seconds": result.seconds,
        "detail": describe(result),
        "is_good": not result.unreadable,
    }
    _PROGRESS.info("component_finished", extra={"fields": fields})
    return result


def describe(result: Result) -> str:
    """The result in a line: '10,000 images, 3 unreadable, 812 images/s'."""
    facts = [f"{result.images:,} images", f"{result.unreadable:,} unreadable"]
    if result.images_per_second:
        facts.append(f"{result.images_per_second:,.0f} images/s")
    if result.resumed_files:
        facts.append(f"{result.resumed_files:,} done before")
    if result.ignored:
        facts.append(f"{result.ignored:,} other files ignored")
    return ", ".join(facts)


def _check_output(output: pathlib.Path, replaces: bool) -> None:
    if not output.parent.is_dir():
        raise ConfigError(f"cannot write {output}", found=f"no folder {output.parent}")
    # An output beside the parts of a job is one that the job was told to replace, or the
    # job ended and a kill came before the removal of its parts.
    folder = parts.folder_of(output)
    if output.exists() and not replaces and not parts.exists(folder):
        if folder.is_dir():  # a kill came during the removal
            with _locked(folder, output):
                parts.remove(folder)
        raise ConfigError(
            f"{output} exists already",
            tip="--force replaces it once the new one is complete",
        )


def _report_listed() -> Callable[[int], None]:
    reported = time.monotonic()

    def report(files: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= PROGRESS_SECONDS:
            reported = time.monotonic()
            _PROGRESS.info("predict", extra={"fields": {"images": files}})

    return report


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
                f"another batch inference is writing {output}",
                tip="wait for it, or give another --output",
            ) from error
    with lock:
        yield


def _open(job: steps.Job, files: Sequence[listing.File], replaces: bool) -> parts.Plan:
    """The parts of this job, begun or resumed."""
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
        differences = parts.differences(job.folder, files, wanted)
        if not differences:
            return plan
        if not replaces:
            raise ConfigError(
                f"{job.folder} belongs to another batch inference, which was interrupted",
                found="; ".join(differences),
                tip="rerun its command to resume, or use --force to start over",
            )
    with parts.writing(job.folder):
        parts.clear(job.folder)
        parts.begin(job.folder, files, wanted)
    return plan


def _digest_of(folder: pathlib.Path) -> str:
    """SHA-256 of all files of a model but those in `assets.extra`."""
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
                # Beam wraps whatever ends a step.
                interrupts_unwrapped(),
                _watched(job.folder, plan),
                beam.Pipeline(options=options) as pipeline,
            ):
                steps.build(pipeline, job, todo, model)
        except Exception as error:
            refusal = parts.refusal(job.folder)
            if user_error := find_user_error(error) or refusal:
                raise user_error from error
            raise
        finally:
            # Beam keeps the last object acquired until the process ends.
            shared.Shared().acquire(set)
    return time.monotonic() - start


@contextlib.contextmanager
def _watched(folder: pathlib.Path, plan: parts.Plan) -> Iterator[None]:
    """Reports about once a second how many files are done, by all processes."""
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


def _read_records(
    job: steps.Job, plan: parts.Plan
) -> tuple[Counter[str], list[tuple[str, str]]]:
    """Images per class, and the unreadable files with their reasons, of all parts."""
    counts: Counter[str] = Counter()
    unreadable: list[tuple[str, str]] = []
    for part in plan.parts:
        record = parts.read(job.folder, part)
        if record is None:
            raise RuntimeError(f"part {part.number} was not written by any worker")
        counts.update(record.images_per_class)
        unreadable += [(path, reason) for path, reason in record.unreadable]
    return counts, unreadable


def _write_unreadable(path: pathlib.Path, lines: Sequence[tuple[str, str]]) -> None:
    """Writes the list of unreadable files; without any, removes that of an older output."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    with durable.replacing(path) as file:
        file.write(rows.csv_lines([("file", "reason"), *lines]))
