"""slimline kubeflow: the pipeline as a spec, and its runs and schedules on a cluster."""

import dataclasses
import datetime
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from slimline import capture, errors
from slimline.terminal import kubeflow_text, options, output

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Job, Server
    from pipeline.kubeflow.package import Package
    from pipeline.kubeflow.runner import Target

TOKEN_VARIABLE = "SLIMLINE_KUBEFLOW_TOKEN"
COOKIE_VARIABLE = "SLIMLINE_KUBEFLOW_COOKIE"
KUBEFLOW_SCHEMA = "2.1.0"
_FILE = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
_source_argument = click.argument(
    "source", metavar="FILE|EXPERIMENT", shell_complete=options.complete_experiments
)
_dry_option = options.flag(
    "--dry-run",
    "is_dry",
    help="Show what would be sent or deleted; change nothing.",
)
_version_option = click.option(
    "--pipeline-version",
    "version",
    metavar="NAME",
    default="",
    help="Keep the pipeline on the server as this version of it; by default the time in UTC"
    " for an EXPERIMENT and for create, else none.",
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
class _RunOptions:
    """How a pipeline is to be run."""

    name: str
    experiment: str
    parameters: tuple[str, ...]
    enables_caching: bool | None
    version: str

    def job(self, package: "Package", name: str) -> "Job":
        """The run or schedule, `name` by default, with parameters of the right types."""
        from pipeline.kubeflow import client as kubeflow_client
        from pipeline.kubeflow import package as kubeflow_package

        return kubeflow_client.Job(
            name=self.name or name,
            experiment=self.experiment,
            pipeline=package.name,
            parameters=kubeflow_package.values(package, self.parameters),
            version=self.version,
        )


def _compile(
    experiment: str,
    path: pathlib.Path,
    *,
    image: str,
    data: str | None,
    assignments: tuple[str, ...],
    config_file: pathlib.Path | None,
    is_tiny: bool,
    pipeline_root: str,
    serving_folder: str,
    schema_version: str = KUBEFLOW_SCHEMA,
    **kubernetes: Any,
) -> tuple["Package", "Target", list[str], list[str]]:
    """The pipeline of an experiment, to be written to `path`; prints what it warns of.

    Returns:
      The pipeline, where it is to run, changed settings, and the warnings.
    """
    from pipeline import settings

    resolved = settings.resolve(
        experiment,
        config_file=config_file,
        assignments=assignments,
        data=data,
        is_tiny=is_tiny,
    )
    if not image:
        raise errors.ConfigError(
            f"experiment '{experiment}' needs the project's image to be compiled",
            tip="--image REF, or the variable SLIMLINE_IMAGE; make image builds it",
        )
    # TFX and TensorFlow write to the terminal.
    with capture.discard():
        from pipeline.kubeflow import kubernetes_settings, runner
        from pipeline.kubeflow import package as kubeflow_package

        target = runner.Target(
            image=image,
            pipeline_root=pipeline_root,
            serving_folder=serving_folder,
            kubernetes=kubernetes_settings.from_text(**kubernetes),
            schema_version=schema_version,
        )
        config = runner.with_precision(resolved.config, target.kubernetes.gpus)
        documents = runner.compile_pipeline(config, target)
    package = kubeflow_package.Package(path, tuple(documents))
    warnings = kubernetes_settings.unmounted(package.spec, target.kubernetes)
    for warning in warnings:
        output.note(output.printable(f"! {warning}"))
    changes = dataclasses.replace(resolved, config=config).changes()
    return package, target, changes, warnings


def _package(source: str, compilation: Mapping[str, Any]) -> "Package":
    """The pipeline in a file, or of an experiment, which is compiled with these options."""
    path = pathlib.Path(source)
    if _is_experiment(source):
        return _compile(source, path, **compilation)[0]
    context = click.get_current_context()
    given = [
        parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name in compilation
        and context.get_parameter_source(parameter.name)
        is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise errors.ConfigError(
            f"'{source}' is compiled already: {', '.join(given)} needs an EXPERIMENT"
        )
    with capture.discard():
        from pipeline.kubeflow import package as kubeflow_package

        return kubeflow_package.read(path)


def _is_experiment(source: str) -> bool:
    """Whether FILE|EXPERIMENT is an experiment, also one whose name is misspelled."""
    from pipeline import experiments

    path = pathlib.Path(source)
    return source in experiments.EXPERIMENTS or not (
        path.is_file() or path.suffix or os.sep in source
    )


def _bundled(bundle: type, name: str, *given: options.Option) -> options.Option:
    """Options whose values reach the command as one argument.

    Args:
      bundle: dataclass with a field per option.
      name: of the argument.
      *given: the options.
    """

    def decorate(command: options.Command) -> options.Command:
        @functools.wraps(command)
        def bundling(**values: Any) -> Any:
            fields = dataclasses.fields(bundle)
            parts = {field.name: values.pop(field.name) for field in fields}
            return command(**values, **{name: bundle(**parts)})

        return options.together(*given)(bundling)

    return decorate


def _repeated(flag: str, name: str, metavar: str, text: str) -> options.Option:
    """An option that may be repeated."""
    return click.option(
        flag, name, multiple=True, metavar=metavar, help=f"{text}; may be repeated."
    )


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
        help="Your namespace, on a shared server.",
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
        help="CA certificates (PEM) of the server.",
    ),
)
_job_options = _bundled(
    _RunOptions,
    "run_options",
    click.option(
        "--name",
        default="",
        help="Name of the run or schedule; by default that of the pipeline, for a run with"
        " the time.",
    ),
    _repeated(
        "--parameter",
        "parameters",
        "NAME=VALUE",
        "Value of a parameter of the pipeline, as steps=100",
    ),
    options.shown(
        "--kubeflow-experiment",
        "experiment",
        metavar="NAME",
        default="Default",  # which every server has
        help="Kubeflow's experiment, a group of runs; created if it does not exist.",
    ),
    click.option(
        "--enable-caching/--disable-caching",
        "enables_caching",
        default=None,
        help="Let every task take the result of an earlier run with the same parameters,"
        " or none. As compiled, all but ingest do: it looks whether the images have"
        " changed.",
    ),
    _version_option,
)


def _check_root(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and "://" not in value:
        raise click.BadParameter("a bucket's folder, as minio://mlpipeline/slimline")
    return value


_compile_options = options.together(
    click.option(
        "--image",
        metavar="REF",
        envvar="SLIMLINE_IMAGE",
        show_envvar=True,
        default="",
        help="Image of the project (make image); an EXPERIMENT needs it.",
    ),
    options.settings_options,
    click.option(
        "--pipeline-root",
        metavar="URI",
        envvar="SLIMLINE_PIPELINE_ROOT",
        show_envvar=True,
        default="",
        callback=_check_root,
        help="Bucket folder of the artifacts, as minio://, s3:// or gs://; the server's own"
        " by default.",
    ),
    click.option(
        "--serving-folder",
        metavar="DIR",
        default="",
        help="Folder of the models, on a volume; /slimline/serving by default.",
    ),
    _repeated(
        "--volume",
        "volumes",
        "CLAIM:MOUNT_PATH",
        "Persistent volume claim that every component sees",
    ),
    _repeated(
        "--cpu",
        "cpu",
        "COMPONENT=QUANTITY",
        "Processors of a component, as train=4, or of all=1",
    ),
    _repeated(
        "--memory",
        "memory",
        "COMPONENT=QUANTITY",
        "Memory of a component, as train=8Gi, or of all=2Gi",
    ),
    click.option(
        "--gpus", type=click.IntRange(min=0), default=0, help="GPUs of the Trainer."
    ),
    _repeated(
        "--toleration",
        "tolerations",
        "KEY[=VALUE][:EFFECT]",
        "Taint of nodes that every component tolerates",
    ),
    _repeated(
        "--node-selector",
        "node_selectors",
        "[COMPONENT:]LABEL=VALUE",
        "Label of the nodes for a component, as train:pool=gpu, or for all of them",
    ),
    _repeated(
        "--pull-secret",
        "pull_secrets",
        "NAME",
        "Secret with which nodes pull the image",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0, max=10),
        default=0,
        help="How often to try a failed task again.",
    ),
    options.tiny_option,
)


@click.group(short_help="Compile for Kubeflow Pipelines, submit, schedule.")
def command() -> None:
    """Compile an experiment for Kubeflow Pipelines, and run it there (docs/kubeflow.md).

    FILE is a compiled pipeline. In its place EXPERIMENT is compiled, with the options of
    compile.
    """


@command.command("compile", short_help="Write an experiment as a pipeline spec.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@click.option(
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="YAML file to write.",
)
@options.shown(
    "--schema-version",
    type=click.Choice([KUBEFLOW_SCHEMA, "2.0.0"]),
    default=KUBEFLOW_SCHEMA,
    help="2.1.0 is Kubeflow Pipelines, 2.0.0 Vertex AI.",
)
@_compile_options
@options.output_options
def compile_command(
    experiment: str, path: pathlib.Path, **compilation: Any
) -> output.Result:
    """Write EXPERIMENT as a pipeline spec. Nothing is run or sent.

    --data is where the containers see the images. Data, folder of the model, steps and
    learning rate stay parameters of each run.
    """
    package, target, changes, warnings = _compile(experiment, path, **compilation)
    with output.writing(path):
        package.write(path)
    document = {
        "file": str(path),
        "pipeline": package.name,
        "schema_version_of_spec": target.schema_version,
        "image": target.image,
        "tasks": package.tasks,
        "parameters": _defaults(package),
        "volumes": dict(target.kubernetes.volumes),
        "changes": changes,
        "warnings": warnings,
    }
    return output.Result(kubeflow_text.compiled(package, target, changes), document)


@command.command("create", short_help="Keep a pipeline on the server.")
@_source_argument
@_version_option
@_compile_options
@_server_options
@_dry_option
@options.output_options
def create_command(
    source: str,
    version: str,
    access: _Access,
    is_dry: bool,
    **compilation: Any,
) -> output.Result:
    """Keep the pipeline of FILE or EXPERIMENT on the server as a new version; run nothing."""
    package = _package(source, compilation)
    version = version or _now()
    document: dict[str, Any] = {
        "dry_run": is_dry,
        "host": access.host,
        "pipeline": package.name,
        "pipeline_version": version,
    }
    if not is_dry:
        with capture.discard(), package.to_send() as path:
            document |= access.connect().upload(package.name, version, path)
    done = "would create" if is_dry else "created"
    text = f"{done} version '{version}' of pipeline '{package.name}' at {access.host}"
    return output.Result(text, document)


@command.command("submit", short_help="Run a pipeline once.")
@_source_argument
@_job_options
@_compile_options
@_server_options
@_dry_option
@options.output_options
def submit_command(
    source: str,
    run_options: _RunOptions,
    access: _Access,
    is_dry: bool,
    **compilation: Any,
) -> output.Result:
    """Run the pipeline of FILE or EXPERIMENT once, on the server.

    EXPERIMENT is compiled, created and run in one step.
    """
    package = _package(source, compilation)
    if _is_experiment(source):
        run_options = dataclasses.replace(
            run_options, version=run_options.version or _now()
        )
    with capture.discard():
        job = run_options.job(package, f"{package.name}-{_now()}")
        document = _plan(access, package, job)
        if not is_dry:
            server = access.connect()
            if run_options.name:
                server.check_free("run", job.name)
            with package.to_send(run_options.enables_caching) as path:
                run_id = server.submit(job, path)
            document |= {"id": run_id, "page": server.run_page(run_id)}
    if is_dry:
        return _emit_plan(document)
    return output.Result(kubeflow_text.submitted(document), document)


@command.command("schedule", short_help="Run a pipeline again and again.")
@_source_argument
@click.option(
    "--cron",
    required=True,
    metavar="EXPRESSION",
    help="When: second, minute, hour, day, month, day of the week, as '0 0 3 * * *';"
    " five fields are those of crontab. The server's time zone holds, UTC by default.",
)
@options.flag(
    "--replace",
    "replaces",
    help="Delete the schedule of that name when the new one is there: the server cannot"
    " change one.",
)
@_job_options
@_compile_options
@_server_options
@_dry_option
@options.yes_option
@options.output_options
def schedule_command(
    source: str,
    cron: str,
    replaces: bool,
    run_options: _RunOptions,
    access: _Access,
    is_dry: bool,
    is_sure: bool,
    **compilation: Any,
) -> output.Result:
    """Run the pipeline of FILE or EXPERIMENT whenever --cron says, one run at a time.

    What was missed while the server was down is not made up for. Where the models lie on a
    volume and the server fills in the time, a second run for it ends before it has done
    anything (docs/kubeflow.md).
    """
    package = _package(source, compilation)
    with capture.discard():
        from pipeline.kubeflow import cron as kubeflow_cron
        from pipeline.kubeflow import package as kubeflow_package

        fields = kubeflow_cron.seconds_first(cron)
        job = run_options.job(package, package.name)
        parameters, reason = kubeflow_package.values_of_schedule(
            package, job.name, job.parameters, run_options.enables_caching
        )
        job = dataclasses.replace(job, parameters=parameters)
        ledger = None
        if not reason:
            ledger = str(kubeflow_package.ledger_of(package, parameters))
        document = {
            **_plan(access, package, job),
            "cron": fields,
            "slots": {"ledger": ledger, "unclaimed": reason},
        }
        if not is_dry:
            server = access.connect()
            if not replaces:
                server.check_free("schedule", job.name)
            old = server.named("schedule", job.name)
    if fields.split() != cron.split():
        output.note(f"five fields, as in crontab: sent as '{fields}'")
    if is_dry:
        return _emit_plan(document)
    if old:
        output.check_agreed(f"replace {kubeflow_text.named(old)}", is_sure=is_sure)
    with capture.discard(), package.to_send(run_options.enables_caching) as path:
        document["id"] = server.schedule(job, path, fields, old)
    document["replaced"] = [entry.id for entry in old]
    return output.Result(kubeflow_text.scheduled(document), document)


@command.command("status", short_help="Show runs and schedules, or one run.")
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--kubeflow-experiment",
    "experiment",
    metavar="NAME",
    default="",
    help="Show only this experiment of Kubeflow.",
)
@options.shown(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    help="Show this many of the newest runs and schedules.",
)
@_server_options
@options.output_options
def status_command(
    run_name: str | None, experiment: str, limit: int, access: _Access
) -> output.Result:
    """Show the newest runs and schedules, or the tasks of RUN, given by name or id."""
    now = datetime.datetime.now(datetime.UTC)
    if run_name:
        with capture.discard():
            server = access.connect()
            run = server.find("run", run_name)
            tasks = server.tasks(run)
        page = server.run_page(run.id)
        document = {"run": _json(run), "tasks": [*map(_json, tasks)], "page": page}
        text = kubeflow_text.run(run, tasks, page, now)
        return output.Result(text, {"host": server.host, **document})
    with capture.discard():
        server = access.connect()
        runs, schedules = (
            server.entries(kind, experiment=experiment, limit=limit)
            for kind in ("run", "schedule")
        )
    document = {"runs": [*map(_json, runs)], "schedules": [*map(_json, schedules)]}
    text = kubeflow_text.listing(runs, schedules, server.host, now)
    return output.Result(text, {"host": server.host, **document})


@command.command("delete", short_help="Delete a run, a schedule or a pipeline.")
@click.argument("kind", type=click.Choice(["run", "schedule", "pipeline"]))
@click.argument("name")
@_server_options
@_dry_option
@options.yes_option
@options.output_options
def delete_command(
    kind: str, name: str, access: _Access, is_dry: bool, is_sure: bool
) -> output.Result:
    """Delete a run, a schedule or a pipeline from the server, given by NAME or id.

    A pipeline goes with its versions; runs of a schedule or a pipeline stay. Artifacts and
    models stay as well.
    """
    with capture.discard():
        server = access.connect()
        entry = server.find(kind, name)
        versions = server.versions(entry) if kind == "pipeline" else []
    what = kubeflow_text.named([entry], versions)
    if not is_dry:
        output.check_agreed(f"delete {what}", is_sure=is_sure)
        with capture.discard():
            server.delete(entry)
    document = {"dry_run": is_dry, "deleted": _json(entry), "versions": versions}
    text = f"would delete {what}" if is_dry else f"deleted {what}"
    return output.Result(text, document)


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"


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
    return output.Result(kubeflow_text.plan(document), {"dry_run": True, **document})


def _defaults(package: "Package") -> dict[str, Any]:
    return {name: found.default for name, found in package.parameters.items()}


def _json(entry: Any) -> dict[str, Any]:
    """An entry or a task; times in ISO 8601."""
    return {
        key: value.isoformat() if isinstance(value, datetime.datetime) else value
        for key, value in dataclasses.asdict(entry).items()
    }
