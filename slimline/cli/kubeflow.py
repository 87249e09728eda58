"""slimline kubeflow: the pipeline as a spec, and its runs and schedules on a cluster."""

import dataclasses
import datetime
import functools
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from slimline import capture
from slimline.terminal import kubeflow_text, options, output

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Job, Server
    from pipeline.kubeflow.package import Package

Command = Callable[..., Any]
TOKEN_VARIABLE = "SLIMLINE_KUBEFLOW_TOKEN"
COOKIE_VARIABLE = "SLIMLINE_KUBEFLOW_COOKIE"
# Kubeflow has one of this name from the start.
_EXPERIMENT = "Default"
_FILE = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
_file_argument = click.argument("file", type=click.Path(path_type=pathlib.Path))
_dry_option = click.option(
    "--dry-run",
    "is_dry",
    is_flag=True,
    help="Show what would be sent; ask no server.",
)


@dataclasses.dataclass(frozen=True)
class _Access:
    """Which server, and as whom."""

    host: str
    namespace: str
    token_file: pathlib.Path | None
    ca_file: pathlib.Path | None

    def connect(self) -> "Server":
        """The server; secrets come from files and variables, never from arguments."""
        from pipeline.kubeflow import client as kubeflow_client
        from pipeline.kubeflow import connection as kubeflow_connection

        token = os.environ.get(TOKEN_VARIABLE, "")
        if self.token_file:
            token = self.token_file.read_text(encoding="utf-8")
        return kubeflow_client.Server(
            kubeflow_connection.Connection(
                host=self.host,
                namespace=self.namespace,
                token=token.strip(),
                cookie=os.environ.get(COOKIE_VARIABLE, "").strip(),
                ca_file=str(self.ca_file or ""),
            )
        )


@dataclasses.dataclass(frozen=True)
class _Wishes:
    """How a pipeline is to be run."""

    experiment: str
    assignments: tuple[str, ...]
    enables_caching: bool | None
    version: str

    def job(self, package: "Package", name: str) -> "Job":
        """The run or schedule `name`, with parameters of the right types."""
        from pipeline.kubeflow import client as kubeflow_client
        from pipeline.kubeflow import package as kubeflow_package

        return kubeflow_client.Job(
            name=name,
            experiment=self.experiment,
            pipeline=package.name,
            parameters=kubeflow_package.values(package, self.assignments),
            version=self.version,
        )


def _bundled(bundle: type, name: str, *given: Command) -> Callable[[Command], Command]:
    """Options whose values reach the command as one argument.

    Args:
      bundle: dataclass with a field an option.
      name: of the argument.
      *given: the options.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def bundling(**values: Any) -> Any:
            parts = {
                field.name: values.pop(field.name)
                for field in dataclasses.fields(bundle)
            }
            return command(**values, **{name: bundle(**parts)})

        decorated: Command = bundling
        for option in reversed(given):
            decorated = option(decorated)
        return decorated

    return decorate


_server_options = _bundled(
    _Access,
    "access",
    click.option(
        "--host",
        metavar="URL",
        envvar=["SLIMLINE_KUBEFLOW_HOST", "KFP_HOST"],
        show_envvar=True,
        default="",
        help="Kubeflow Pipelines server, as http://localhost:8080.",
    ),
    click.option(
        "--namespace",
        envvar="SLIMLINE_KUBEFLOW_NAMESPACE",
        show_envvar=True,
        default="",
        help="Yours, on a server that several share.",
    ),
    click.option(
        "--token-file",
        type=_FILE,
        help=f"File with a token to log in with; or the variable {TOKEN_VARIABLE}.",
    ),
    click.option(
        "--ca-cert",
        "ca_file",
        type=_FILE,
        help="Certificates (PEM) that the server's is signed by.",
    ),
)
_job_options = _bundled(
    _Wishes,
    "wishes",
    click.option(
        "--parameter",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Value of a parameter, as steps=100; may be repeated.",
    ),
    click.option(
        "--kubeflow-experiment",
        "experiment",
        metavar="NAME",
        default=_EXPERIMENT,
        show_default=True,
        help="Kubeflow's experiment, a group of runs; made where there is none.",
    ),
    click.option(
        "--enable-caching/--disable-caching",
        "enables_caching",
        default=None,
        help="Let every task take the result of an earlier run with the same parameters,"
        " or none. As compiled, all but ingest do: it looks whether the images have"
        " changed.",
    ),
    click.option(
        "--pipeline-version",
        "version",
        metavar="NAME",
        default="",
        help="Keep the pipeline on the server as well, as this version of it.",
    ),
)


def _check_root(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and "://" not in value:
        raise click.BadParameter("a bucket's folder, as minio://mlpipeline/slimline")
    return value


@click.group(short_help="Compile for Kubeflow Pipelines, submit, schedule.")
def command() -> None:
    """Compile an experiment for Kubeflow Pipelines, and run it there (docs/kubeflow.md)."""


@command.command("compile", short_help="Write an experiment as a pipeline spec.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@click.option(
    "--image", required=True, metavar="REF", help="Image of the project (make image)."
)
@click.option(
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="YAML file to write.",
)
@options.settings_options
@click.option(
    "--pipeline-root",
    metavar="URI",
    default="",
    callback=_check_root,
    help="Bucket folder of the artifacts, as minio://, s3:// or gs://; the server's own"
    " by default.",
)
@click.option(
    "--serving-folder",
    metavar="DIR",
    default="",
    help="Folder of the models, on a volume; /slimline/serving by default.",
)
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    metavar="CLAIM:MOUNT_PATH",
    help="Persistent volume claim that every component sees; may be repeated.",
)
@click.option(
    "--cpu",
    multiple=True,
    metavar="COMPONENT=QUANTITY",
    help="Processors of a component, as train=4, or of all=1; may be repeated.",
)
@click.option(
    "--memory",
    multiple=True,
    metavar="COMPONENT=QUANTITY",
    help="Memory of a component, as train=8Gi, or of all=2Gi; may be repeated.",
)
@click.option(
    "--gpus", type=click.IntRange(min=0), default=0, help="GPUs of the Trainer."
)
@click.option(
    "--toleration",
    "tolerations",
    multiple=True,
    metavar="KEY[=VALUE][:EFFECT]",
    help="Taint of nodes that every component tolerates; may be repeated.",
)
@click.option(
    "--node-selector",
    "node_selectors",
    multiple=True,
    metavar="[COMPONENT:]LABEL=VALUE",
    help="Label of the nodes for a component, as train:pool=gpu, or for all of them; may be"
    " repeated.",
)
@click.option(
    "--pull-secret",
    "pull_secrets",
    multiple=True,
    metavar="NAME",
    help="Secret with which nodes pull the image; may be repeated.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0, max=10),
    default=0,
    help="How often to try a failed task again.",
)
@click.option(
    "--schema-version",
    type=click.Choice(["2.1.0", "2.0.0"]),
    default="2.1.0",
    show_default=True,
    help="2.1.0 is Kubeflow Pipelines, 2.0.0 Vertex AI.",
)
@options.tiny_option
@options.output_options
def compile_command(
    experiment: str,
    image: str,
    path: pathlib.Path,
    data: str | None,
    assignments: tuple[str, ...],
    config_file: pathlib.Path | None,
    pipeline_root: str,
    serving_folder: str,
    volumes: tuple[str, ...],
    cpu: tuple[str, ...],
    memory: tuple[str, ...],
    gpus: int,
    tolerations: tuple[str, ...],
    node_selectors: tuple[str, ...],
    pull_secrets: tuple[str, ...],
    retries: int,
    schema_version: str,
    is_tiny: bool,
) -> output.Result:
    """Write EXPERIMENT as a pipeline spec. Nothing is run or sent.

    --data is where the containers see the images. Data, folder of the model, steps and
    learning rate stay parameters of each run.
    """
    from pipeline import settings

    resolved = settings.resolve(
        experiment,
        config_file=config_file,
        assignments=assignments,
        data=data,
        is_tiny=is_tiny,
    )
    # TFX and TensorFlow write to the terminal.
    with capture.discard():
        from pipeline.kubeflow import kubernetes_settings
        from pipeline.kubeflow import package as kubeflow_package
        from pipeline.kubeflow import runner as kubeflow_runner

        target = kubeflow_runner.Target(
            image=image,
            pipeline_root=pipeline_root,
            serving_folder=serving_folder,
            kubernetes=kubernetes_settings.from_text(
                volumes,
                cpu,
                memory,
                gpus,
                tolerations,
                node_selectors,
                pull_secrets,
                retries,
            ),
            schema_version=schema_version,
        )
        resolved = dataclasses.replace(
            resolved, config=kubeflow_runner.with_precision(resolved.config, gpus)
        )
        documents = kubeflow_runner.compile_pipeline(resolved.config, target)
        with output.writing(path):
            path.write_text(kubeflow_runner.to_yaml(documents), encoding="utf-8")
    package = kubeflow_package.Package(path, tuple(documents))
    warnings = kubernetes_settings.unmounted(package.spec, target.kubernetes)
    for warning in warnings:
        output.note(output.printable(f"! {warning}"))
    document = {
        "file": str(path),
        "pipeline": package.name,
        "schema_version_of_spec": schema_version,
        "image": image,
        "tasks": package.tasks,
        "parameters": _defaults(package),
        "volumes": dict(target.kubernetes.volumes),
        "changes": resolved.changes(),
        "warnings": warnings,
    }
    text = kubeflow_text.compiled(package, target, resolved.changes())
    return output.Result(text, document)


@command.command("create", short_help="Keep a compiled pipeline on the server.")
@_file_argument
@click.option(
    "--pipeline-version",
    "version",
    metavar="NAME",
    default="",
    help="Of the version; the time in UTC by default.",
)
@_server_options
@_dry_option
@options.output_options
def create_command(
    file: pathlib.Path, version: str, access: _Access, is_dry: bool
) -> output.Result:
    """Keep the compiled pipeline in FILE on the server as a new version; run nothing."""
    with capture.discard():
        from pipeline.kubeflow import package as kubeflow_package

        package = kubeflow_package.read(file)
        now = datetime.datetime.now(datetime.UTC)
        version = version or f"{now:%Y%m%d-%H%M%S}"
        document: dict[str, Any] = {
            "dry_run": is_dry,
            "host": access.host,
            "pipeline": package.name,
            "pipeline_version": version,
        }
        if not is_dry:
            with kubeflow_package.to_send(package, None) as path:
                document |= access.connect().upload(package.name, version, path)
    done = "would create" if is_dry else "created"
    text = f"{done} version '{version}' of pipeline '{package.name}' at {access.host}"
    return output.Result(text, document)


@command.command("submit", short_help="Run a compiled pipeline once.")
@_file_argument
@click.option(
    "--name", default="", help="Of the run; the pipeline's with the time by default."
)
@_job_options
@_server_options
@_dry_option
@options.output_options
def submit_command(
    file: pathlib.Path,
    name: str,
    wishes: _Wishes,
    access: _Access,
    is_dry: bool,
) -> output.Result:
    """Run the compiled pipeline in FILE once, on the server."""
    with capture.discard():
        from pipeline.kubeflow import client as kubeflow_client
        from pipeline.kubeflow import package as kubeflow_package

        package = kubeflow_package.read(file)
        now = datetime.datetime.now(datetime.UTC)
        job = wishes.job(package, name or f"{package.name}-{now:%Y%m%d-%H%M%S}")
        document = _plan(access, package, job)
        if not is_dry:
            server = access.connect()
            if name:
                server.check_free(kubeflow_client.RUN, name)
            with kubeflow_package.to_send(package, wishes.enables_caching) as path:
                run_id = server.submit(job, path)
            document |= {"id": run_id, "page": server.run_page(run_id)}
    if is_dry:
        return _emit_plan(document)
    text = kubeflow_text.submitted(document)
    return output.Result(text, document)


@command.command("schedule", short_help="Run a compiled pipeline again and again.")
@_file_argument
@click.option(
    "--cron",
    required=True,
    metavar="EXPRESSION",
    help="When: second, minute, hour, day, month, day of the week, as '0 0 3 * * *';"
    " five fields are those of crontab. The server's time zone holds, UTC by default.",
)
@click.option("--name", default="", help="Of the schedule; the pipeline's by default.")
@click.option(
    "--replace",
    "replaces",
    is_flag=True,
    help="Delete the schedule of that name when the new one is there: the server cannot"
    " change one.",
)
@_job_options
@_server_options
@_dry_option
@options.yes_option
@options.output_options
def schedule_command(
    file: pathlib.Path,
    cron: str,
    name: str,
    replaces: bool,
    wishes: _Wishes,
    access: _Access,
    is_dry: bool,
    is_sure: bool,
) -> output.Result:
    """Run the compiled pipeline in FILE whenever --cron says, one run at a time.

    What was missed while the server was down is not made up for. Where the models lie on a
    volume and the server fills in the time, a second run for it ends before it has done
    anything (docs/kubeflow.md).
    """
    with capture.discard():
        from pipeline.kubeflow import client as kubeflow_client
        from pipeline.kubeflow import cron as kubeflow_cron
        from pipeline.kubeflow import package as kubeflow_package

        package = kubeflow_package.read(file)
        fields = kubeflow_cron.seconds_first(cron)
        job = wishes.job(package, name or package.name)
        parameters, reason = kubeflow_package.values_of_schedule(
            package, job.name, job.parameters, wishes.enables_caching
        )
        job = dataclasses.replace(job, parameters=parameters)
        ledger = "" if reason else str(kubeflow_package.ledger_of(package, parameters))
        document = {
            **_plan(access, package, job),
            "cron": fields,
            "slots": {"ledger": ledger or None, "unclaimed": reason},
        }
        if not is_dry:
            server = access.connect()
            if not replaces:
                server.check_free(kubeflow_client.SCHEDULE, job.name)
            old = server.named(kubeflow_client.SCHEDULE, job.name)
    if fields.split() != cron.split():
        output.note(f"five fields, as in crontab: sent as '{fields}'")
    if is_dry:
        return _emit_plan(document)
    if old:
        output.check_agreed(f"replace {kubeflow_text.named(old)}", is_sure=is_sure)
    with (
        capture.discard(),
        kubeflow_package.to_send(package, wishes.enables_caching) as path,
    ):
        document["id"] = server.schedule(job, path, fields, old)
    document["replaced"] = [entry.id for entry in old]
    text = kubeflow_text.scheduled(document)
    return output.Result(text, document)


@command.command("status", short_help="Show runs and schedules, or one run.")
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--kubeflow-experiment",
    "experiment",
    metavar="NAME",
    default="",
    help="Only what is in this one of Kubeflow's experiments.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Show so many runs and schedules, the newest.",
)
@_server_options
@options.output_options
def status_command(
    run_name: str | None,
    experiment: str,
    limit: int,
    access: _Access,
) -> output.Result:
    """Show the newest runs and schedules, or the tasks of RUN, given by name or id."""
    with capture.discard():
        from pipeline.kubeflow import client as kubeflow_client

        server = access.connect()
        if run_name:
            run = server.find(kubeflow_client.RUN, run_name)
            tasks = server.tasks(run)
        else:
            runs, schedules = (
                server.entries(kind, experiment=experiment, limit=limit)
                for kind in (kubeflow_client.RUN, kubeflow_client.SCHEDULE)
            )
    now = datetime.datetime.now(datetime.UTC)
    if run_name:
        document = {
            "host": server.host,
            "run": _json(run),
            "tasks": [_json(task) for task in tasks],
            "page": server.run_page(run.id),
        }
        text = kubeflow_text.run(run, tasks, server.run_page(run.id), now)
    else:
        document = {
            "host": server.host,
            "runs": [_json(entry) for entry in runs],
            "schedules": [_json(entry) for entry in schedules],
        }
        text = kubeflow_text.listing(runs, schedules, server.host, now)
    return output.Result(text, document)


@command.command("delete", short_help="Delete a run, a schedule or a pipeline.")
@click.argument("kind", type=click.Choice(["run", "schedule", "pipeline"]))
@click.argument("name")
@_server_options
@click.option(
    "--dry-run",
    "is_dry",
    is_flag=True,
    help="Show what would be deleted; delete nothing.",
)
@options.yes_option
@options.output_options
def delete_command(
    kind: str,
    name: str,
    access: _Access,
    is_dry: bool,
    is_sure: bool,
) -> output.Result:
    """Delete a run, a schedule or a pipeline from the server, given by NAME or id.

    A pipeline goes with its versions; runs of a schedule or a pipeline stay. Artifacts and
    models stay as well.
    """
    with capture.discard():
        from pipeline.kubeflow import client as kubeflow_client

        server = access.connect()
        entry = server.find(kind, name)
        is_pipeline = kind == kubeflow_client.PIPELINE
        versions = server.versions(entry) if is_pipeline else []
    what = kubeflow_text.named([entry], versions)
    if not is_dry:
        output.check_agreed(f"delete {what}", is_sure=is_sure)
        with capture.discard():
            server.delete(entry)
    document = {"dry_run": is_dry, "deleted": _json(entry), "versions": versions}
    text = f"would delete {what}" if is_dry else f"deleted {what}"
    return output.Result(text, document)


def _plan(access: _Access, package: "Package", job: "Job") -> dict[str, Any]:
    """What is sent, in JSON."""
    return {
        "host": access.host,
        "name": job.name,
        "pipeline": package.name,
        "pipeline_version": job.version or None,
        "kubeflow_experiment": job.experiment,
        "tasks": package.tasks,
        "images": package.images,
        "parameters": dict(job.parameters),
        "defaults": _defaults(package),
    }


def _emit_plan(document: dict[str, Any]) -> output.Result:
    text = kubeflow_text.plan(document)
    document = {"dry_run": True, **document}
    return output.Result(text, document)


def _defaults(package: "Package") -> dict[str, Any]:
    return {name: found.default for name, found in package.parameters.items()}


def _json(entry: Any) -> dict[str, Any]:
    """An entry or a task; times in ISO 8601."""
    return {
        key: value.isoformat() if isinstance(value, datetime.datetime) else value
        for key, value in dataclasses.asdict(entry).items()
    }
