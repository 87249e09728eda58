"""Runs and schedules on a Kubeflow Pipelines server, through kfp's client."""

import contextlib
import dataclasses
import datetime
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from common.errors import ConfigError, SlimlineError
from pipeline.kubeflow.connection import Connection, asking, connect, url
from trainer.lookup import nearest

PAGE_SIZE = 100
# Runs of a schedule at a time.
MAX_CONCURRENCY = 1

RUN = "run"
SCHEDULE = "schedule"
PIPELINE = "pipeline"
FAILED = "FAILED"
# Kind -> its name in kfp's client, which makes it plural by an s.
_NAMES = {RUN: "run", SCHEDULE: "recurring_run", PIPELINE: "pipeline"}
_EQUALS = 1
_ARCHIVED = "ARCHIVED"
# The backend runs a driver before each task, and its pod as a task below it.
_DRIVER_SUFFIX = "-driver"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run or a schedule is made of.

    Attributes:
      name: that it is found by again.
      experiment: Kubeflow's, a group of runs; made where there is none.
      pipeline: name of the pipeline.
      parameters: those given, by name.
      version: kept on the server under this name as a version of the pipeline, and referred
        to; '' sends the pipeline with the job alone.
    """

    name: str
    experiment: str
    pipeline: str
    parameters: Mapping[str, Any]
    version: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run, a schedule or a pipeline on the server.

    Attributes:
      kind: 'run', 'schedule' or 'pipeline'.
      id: the server's.
      name: as shown.
      state: of a run (SUCCEEDED, RUNNING ...) or of a schedule (ENABLED, DISABLED), else ''.
      created: when.
      finished: when a run ended, else None.
      cron: of a schedule, else ''.
      error: why a run failed, where the server says it.
    """

    kind: str
    id: str
    name: str
    state: str
    created: datetime.datetime | None
    finished: datetime.datetime | None = None
    cron: str = ""
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
      name: in the pipeline.
      state: '' while it waits for others.
      started: when.
      finished: when.
      error: why it failed, where the server says it.
    """

    name: str
    state: str
    started: datetime.datetime | None = None
    finished: datetime.datetime | None = None
    error: str = ""


class Server:
    """A Kubeflow Pipelines server. Every method may raise ConfigError or ServerError."""

    def __init__(self, connection: Connection):
        """Connects."""
        self.host = url(connection.host)
        self._client, self._namespace = connect(connection)

    def submit(self, job: Job, package: pathlib.Path) -> str:
        """Starts a run of the compiled pipeline in the file `package`; returns its id."""
        with self._asking(f"run '{job.name}'"):
            created = self._client.run_pipeline(
                self._experiment(job.experiment),
                job.name,
                **self._source(job, package),
            )
        return str(created.run_id)

    def upload(
        self, pipeline: str, version: str, package: pathlib.Path
    ) -> dict[str, str]:
        """Keeps a compiled pipeline as a version of `pipeline`, made where there is none.

        Returns:
          `pipeline_id` and `version_id`.
        """
        kept = self.named(PIPELINE, pipeline)
        with self._asking(f"version '{version}' of pipeline '{pipeline}'"):
            pipeline_id = (
                kept[0].id
                if kept
                else self._client.make_pipeline(pipeline, self._namespace).pipeline_id
            )
            made = self._client.upload_pipeline_version(
                str(package), version, pipeline_id=pipeline_id
            )
        return {
            "pipeline_id": str(pipeline_id),
            "version_id": str(made.pipeline_version_id),
        }

    def schedule(
        self,
        job: Job,
        package: pathlib.Path,
        cron: str,
        replaced: Sequence[Entry] = (),
    ) -> str:
        """Makes a schedule whose runs never overlap and never make up for lost ones.

        Args:
          job: what is run; the server lets several schedules have one name.
          package: file of the compiled pipeline.
          cron: six fields, seconds first.
          replaced: schedules that are deleted when the new one is there.

        Returns:
          The id.
        """
        with self._asking(f"schedule '{job.name}'"):
            created = self._client.create_recurring_run(
                self._experiment(job.experiment),
                job.name,
                cron_expression=cron,
                max_concurrency=MAX_CONCURRENCY,
                no_catchup=True,
                **self._source(job, package),
            )
        # What failed up to here has left the old ones alone.
        for entry in replaced:
            try:
                self.delete(entry)
            except SlimlineError as error:
                raise type(error)(
                    f"the new schedule is there, and the old one still is: {error.message}",
                    found=error.found,
                    tip=f"slimline kubeflow delete schedule {entry.id}",
                ) from error
        return str(created.recurring_run_id)

    def entries(
        self, kind: str, *, experiment: str = "", limit: int | None = None
    ) -> list[Entry]:
        """Runs, schedules or pipelines that are not archived, the newest first.

        Args:
          kind: 'run', 'schedule' or 'pipeline'.
          experiment: only those of this one of Kubeflow's experiments.
          limit: so many at most.
        """
        filters = {}
        if experiment:
            with self._asking(f"experiment '{experiment}'"):
                filters["experiment_id"] = self._find_experiment(experiment)
        return list(itertools.islice(self._list(kind, **filters), limit))

    def named(self, kind: str, name: str) -> list[Entry]:
        """All runs, schedules or pipelines of that name, the newest first."""
        return list(self._list(kind, filter=_is_called(name)))

    def check_free(self, kind: str, name: str) -> None:
        """Checks that nothing has this name, which the server itself would allow.

        Raises:
          ConfigError: something has.
        """
        if found := self.named(kind, name):
            is_schedule = kind == SCHEDULE
            raise ConfigError(
                f"there is a {kind} '{name}' at {self.host}",
                found=", ".join(entry.id for entry in found),
                tip="--replace puts the new one in its place, --name gives another"
                if is_schedule
                else "--name gives another",
            )

    def find(self, kind: str, name: str) -> Entry:
        """The only run, schedule or pipeline of that name, or with that id.

        Raises:
          ConfigError: there is none, or there are several.
        """
        found = self.named(kind, name)
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{len(found)} {kind}s are called '{name}'",
                found=", ".join(entry.id for entry in found),
                tip="give the id in place of the name",
            )
        if _ID.fullmatch(name):
            with self._asking(f"{kind} '{name}'"):
                return _entry(kind, self._call("get", kind)(name))
        others = [entry.name for entry in self.entries(kind, limit=PAGE_SIZE)]
        near = nearest(name, others)
        raise ConfigError(
            f"no {kind} '{name}' at {self.host}",
            found=f"{', '.join(others[:5]) or 'none'}{', ...' if others[5:] else ''}",
            tip=f"did you mean '{near}'?" if near else "",
        )

    def tasks(self, run: Entry) -> list[Task]:
        """Tasks of a run in the order of their start; those that wait come last."""
        with self._asking(f"run '{run.name}'"):
            answer = self._client.get_run(run.id)
            names = self._task_names(answer)
        details = answer.run_details.task_details if answer.run_details else None
        by_name = {detail.display_name: detail for detail in details or ()}
        if not names:
            names = {
                name.removesuffix(_DRIVER_SUFFIX)
                for name in by_name
                if name.endswith(_DRIVER_SUFFIX)
            } - {"root"}
        found = [_task(name, by_name) for name in names]
        last = datetime.datetime.max.replace(tzinfo=datetime.UTC)
        return sorted(found, key=lambda task: (task.started or last, task.name))

    def versions(self, pipeline: Entry) -> list[str]:
        """Ids of a pipeline's versions."""
        pages = self._pages(
            f"pipeline '{pipeline.name}'",
            self._client.list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline.id,
        )
        return [version.pipeline_version_id for version in pages]

    def delete(self, entry: Entry) -> None:
        """Deletes a run, a schedule, or a pipeline with its versions."""
        # The server deletes empty pipelines only.
        versions = self.versions(entry) if entry.kind == PIPELINE else []
        with self._asking(f"{entry.kind} '{entry.name}'"):
            for version in versions:
                self._client.delete_pipeline_version(entry.id, version)
            self._call("delete", entry.kind)(entry.id)

    def run_page(self, run_id: str) -> str:
        """Address of a run's page."""
        return f"{self.host}/#/runs/details/{run_id}"

    def _experiment(self, name: str) -> str:
        made = self._client.create_experiment(name, namespace=self._namespace)
        return str(made.experiment_id)

    def _find_experiment(self, name: str) -> str:
        answer = self._client.list_experiments(
            filter=_is_called(name), namespace=self._namespace
        )
        if not answer.experiments:
            raise ConfigError(f"no experiment '{name}' at {self.host}")
        return str(answer.experiments[0].experiment_id)

    def _source(self, job: Job, package: pathlib.Path) -> dict[str, Any]:
        """Arguments that say what is run."""
        source: dict[str, Any] = {"params": dict(job.parameters)}
        if not job.version:
            return source | {"pipeline_package_path": str(package)}
        return source | self.upload(job.pipeline, job.version, package)

    def _list(self, kind: str, **arguments: Any) -> Iterator[Entry]:
        """Entries that are not archived, the newest first."""
        for found in self._pages(
            f"{kind}s",
            self._call("list", kind, "s"),
            f"{_NAMES[kind]}s",
            namespace=self._namespace,
            sort_by="created_at desc",
            **arguments,
        ):
            if getattr(found, "storage_state", None) != _ARCHIVED:
                yield _entry(kind, found)

    def _pages(
        self, subject: str, call: Callable[..., Any], attribute: str, **arguments: Any
    ) -> Iterator[Any]:
        """What is listed in `attribute` of all the answers to a call."""
        token = ""
        while True:
            with self._asking(subject):
                answer = call(page_token=token, page_size=PAGE_SIZE, **arguments)
            yield from getattr(answer, attribute) or ()
            token = answer.next_page_token
            if not token:
                return

    def _call(self, verb: str, kind: str, plural: str = "") -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(
            self._client, f"{verb}_{_NAMES[kind]}{plural}"
        )
        return found

    def _task_names(self, run: Any) -> set[str]:
        """Tasks of a run's pipeline; empty where the server does not say."""
        spec = run.pipeline_spec
        reference = run.pipeline_version_reference
        if not spec and reference and reference.pipeline_version_id:
            spec = self._client.get_pipeline_version(
                reference.pipeline_id, reference.pipeline_version_id
            ).pipeline_spec
        spec = spec or {}
        spec = spec.get("pipeline_spec", spec)
        return set(spec.get("root", {}).get("dag", {}).get("tasks", {}))

    def _asking(self, subject: str) -> contextlib.AbstractContextManager[None]:
        return asking(self.host, subject)


def _is_called(name: str) -> str:
    """Filter of the API for a name."""
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _entry(kind: str, found: Any) -> Entry:
    """An entry from the client's own model of it."""
    if kind == RUN:
        return Entry(
            kind,
            found.run_id,
            found.display_name,
            found.state or "",
            found.created_at,
            _after(found.created_at, found.finished_at),
            error=_error_text(found.error),
        )
    if kind == SCHEDULE:
        trigger = found.trigger.cron_schedule if found.trigger else None
        return Entry(
            kind,
            found.recurring_run_id,
            found.display_name,
            found.status or "",
            found.created_at,
            cron=(trigger.cron or "") if trigger else "",
            error=_error_text(found.error),
        )
    return Entry(kind, found.pipeline_id, found.display_name, "", found.created_at)


def _task(name: str, details: Mapping[str, Any]) -> Task:
    """A task from what the server tells of it and of its driver."""
    driver = details.get(name + _DRIVER_SUFFIX)
    # A task whose driver fails never comes to be.
    found = driver if driver and driver.state == FAILED else details.get(name)
    if found is None:
        return Task(name, "RUNNING" if driver and driver.start_time else "")
    started = found.start_time or found.create_time
    return Task(
        name,
        found.state or "",
        started,
        _after(started, found.end_time),
        _error_text(found.error),
    )


def _after(
    start: datetime.datetime | None, end: datetime.datetime | None
) -> datetime.datetime | None:
    """`end`, which the server sets to 1970 for what goes on."""
    return end if start and end and end >= start else None


def _error_text(error: Any) -> str:
    return (error.message or "") if error else ""
