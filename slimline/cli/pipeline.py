"""slimline pipeline: the same verbs for every orchestrator; each has options of its own."""

import pathlib
import shlex
from collections.abc import Callable

import click

from slimline import errors
from slimline.terminal import options, output
from trainer.lookup import nearest

_ENGINE = "slimline.engine"
LOCAL = "local"
# Verb -> what it does, whatever the engine.
VERBS = {
    "compile": "Write an experiment in the form of the engine.",
    "create": "Register a compiled pipeline with the engine.",
    "run": "Run a pipeline once.",
    "list": "List runs.",
    "status": "Show a run.",
    "delete": "Delete a run, a schedule or a pipeline.",
}


def _run() -> click.Command:
    from slimline.cli import run

    return run.command


def _runs() -> click.Command:
    from slimline.cli import runs

    return runs.command


def _why() -> click.Command:
    from slimline.cli import why

    return why.command


def _of_kubeflow(name: str) -> Callable[[], click.Command]:
    def find() -> click.Command:
        from slimline.cli import kubeflow

        return kubeflow.command.commands[name]

    return find


def _link() -> str:
    """How Airflow gets the DAG, as a shell takes it."""
    runner = pathlib.Path(__file__).parents[2] / "pipeline" / "airflow_runner.py"
    return f"ln -s {shlex.quote(str(runner))} FOLDER_OF_DAGS"


_VERTEX = "slimline compiles for Vertex AI and sends nothing there"
_SUBMIT = "google.cloud.aiplatform.PipelineJob(template_path=FILE).submit() runs a compiled file"
_AIRFLOW = "Airflow itself has its DAGs and runs"
# Engine -> verb -> option -> its default there.
DEFAULTS = {"vertex": {"compile": {"schema_version": "2.0.0"}}}
# Engine -> verb -> what makes its command, or why there is none and what to do instead.
ENGINES: dict[str, dict[str, Callable[[], click.Command] | tuple[str, str]]] = {
    LOCAL: {
        "compile": (
            "a run on this machine builds its pipeline itself",
            "slimline run EXPERIMENT --dry-run checks settings and data",
        ),
        "create": (
            "this machine keeps no pipelines: a run needs none to be registered",
            "slimline pipeline run EXPERIMENT",
        ),
        "run": _run,
        "list": _runs,
        "status": _why,
        "delete": (
            "slimline deletes no run on this machine",
            "remove its folder under --root; slimline models prune NAME --keep N deletes"
            " old versions of a model",
        ),
    },
    "kubeflow": {
        "compile": _of_kubeflow("compile"),
        "create": _of_kubeflow("create"),
        "run": _of_kubeflow("submit"),
        "list": _of_kubeflow("status"),
        "status": _of_kubeflow("status"),
        "delete": _of_kubeflow("delete"),
    },
    "vertex": {
        "compile": _of_kubeflow("compile"),
        "create": (_VERTEX, _SUBMIT),
        "run": (_VERTEX, _SUBMIT),
        "list": (_VERTEX, "the Google Cloud console lists pipeline runs"),
        "status": (_VERTEX, "the Google Cloud console shows pipeline runs"),
        "delete": (_VERTEX, "the Google Cloud console deletes pipeline runs"),
    },
    "airflow": {
        "compile": (
            "Airflow compiles the DAG each time that it reads it",
            "slimline pipeline create --engine airflow says how to register it",
        ),
        "create": (
            "the folder of DAGs is Airflow's: link the DAG into it",
            "{link}, with SLIMLINE_EXPERIMENT, SLIMLINE_ROOT and SLIMLINE_DATA in"
            " Airflow's environment",
        ),
        "run": (_AIRFLOW, "airflow dags trigger slimline-EXPERIMENT"),
        "list": (_AIRFLOW, "airflow dags list-runs --dag-id slimline-EXPERIMENT"),
        "status": (
            _AIRFLOW,
            "airflow tasks states-for-dag-run slimline-EXPERIMENT RUN",
        ),
        "delete": (_AIRFLOW, "airflow dags delete slimline-EXPERIMENT"),
    },
}


class _EngineGroup(click.Group):
    """A group whose commands are those of the engine that --engine names, anywhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See base class; takes --engine out of the arguments."""
        end = args.index("--") if "--" in args else len(args)
        kept: list[str] = []
        words = iter(args[:end])
        for word in words:
            flag, equals, value = word.partition("=")
            if flag != "--engine":
                kept.append(word)
                continue
            engine = _known(value if equals else next(words, ""))
            ctx.meta[_ENGINE] = engine
            ctx.default_map = DEFAULTS.get(engine)
        return super().parse_args(ctx, kept + args[end:])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See base class."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See base class."""
        engine = ctx.meta.get(_ENGINE, LOCAL)
        found = ENGINES[engine].get(cmd_name)
        if isinstance(found, tuple):
            return _refusing(engine, cmd_name, *found)
        return found() if found else None

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """See base class; imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _known(engine: str) -> str:
    if engine in ENGINES:
        return engine
    near = nearest(engine, ENGINES)
    raise errors.ConfigError(
        f"unknown engine '{engine}'",
        expected=f"one of {', '.join(ENGINES)}",
        tip=f"did you mean '--engine {near}'?"
        if near
        else "--beam-runner says where Beam jobs run",
    )


def _refusing(engine: str, verb: str, reason: str, tip: str) -> click.Command:
    """The command that answers a verb which the engine has no use for."""

    @options.output_options
    def refuse() -> output.Result:
        raise errors.ConfigError(
            f"pipeline {verb} does nothing with the engine '{engine}': {reason}",
            tip=tip.format(link=_link()),
        )

    return click.command(
        verb,
        help=f"{reason[:1].upper()}{reason[1:]}: {tip.format(link=_link())}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(refuse)


@click.group(cls=_EngineGroup, short_help="One set of commands for every orchestrator.")
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    expose_value=False,
    help="Where the pipeline runs, before or after the command; local by default. Each engine"
    " has its own options: COMMAND --engine kubeflow --help lists them.",
)
def command() -> None:
    """Compile, register, run and look after a pipeline, here or on an orchestrator."""
