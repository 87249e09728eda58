"""slimline pipeline: the same verbs for every orchestrator; each has options of its own."""

import importlib
import pathlib
import shlex

import click

from slimline import errors
from slimline.terminal import options, output
from trainer.lookup import nearest

_ENGINE = "slimline.engine"
LOCAL = "local"
# Verb -> what it does, whatever the engine.
VERBS = {
    "compile": "Write an experiment in the form of the engine.",
    "create": "Register a pipeline with the engine.",
    "run": "Run a pipeline once.",
    "list": "List runs.",
    "status": "Show a run.",
    "delete": "Delete a run, a schedule or a pipeline.",
}
_RUNNERS = pathlib.Path(__file__).parents[2] / "pipeline"
_VERTEX = "slimline compiles for Vertex AI and sends nothing there"
_CONSOLE = "the Google Cloud console"
_AIRFLOW = "Airflow itself has its DAGs and runs"
# Engine -> verb -> option -> its default there.
DEFAULTS = {"vertex": {"compile": {"schema_version": "2.0.0"}}}
# Engine -> verb -> the words of its command after `slimline`, or why there is none and what
# to do instead.
ENGINES: dict[str, dict[str, str | tuple[str, str]]] = {
    LOCAL: {
        "compile": (
            "a run on this machine builds its pipeline itself",
            "slimline run EXPERIMENT --dry-run checks settings and data",
        ),
        "create": (
            "this machine keeps no pipelines: a run needs none to be registered",
            "slimline pipeline run EXPERIMENT",
        ),
        "run": "run",
        "list": "runs",
        "status": "why",
        "delete": (
            "slimline deletes no run on this machine",
            "remove its folder under --root; slimline models prune NAME --keep N deletes"
            " old versions of a model",
        ),
    },
    "kubeflow": {
        "compile": "kubeflow compile",
        "create": "kubeflow create",
        "run": "kubeflow submit",
        "list": "kubeflow status",
        "status": "kubeflow status",
        "delete": "kubeflow delete",
    },
    "vertex": {
        "compile": "kubeflow compile",
        "create": (
            _VERTEX,
            "tfx pipeline create --engine=vertex"
            f" --pipeline_path={_RUNNERS / 'vertex_runner.py'}, with SLIMLINE_IMAGE,"
            " SLIMLINE_PIPELINE_ROOT, SLIMLINE_EXPERIMENT and SLIMLINE_DATA set",
        ),
        "run": (
            _VERTEX,
            "google.cloud.aiplatform.PipelineJob(template_path=FILE).submit() runs a"
            " compiled file; tfx run create --engine=vertex what tfx has created",
        ),
        "list": (_VERTEX, f"{_CONSOLE} lists pipeline runs"),
        "status": (_VERTEX, f"{_CONSOLE} shows pipeline runs"),
        "delete": (_VERTEX, f"{_CONSOLE} deletes pipeline runs"),
    },
    "airflow": {
        "compile": (
            "Airflow compiles the DAG each time that it reads it",
            "slimline pipeline create --engine airflow says how to register it",
        ),
        "create": (
            "the folder of DAGs is Airflow's: link the DAG into it",
            f"ln -s {shlex.quote(str(_RUNNERS / 'airflow_runner.py'))} FOLDER_OF_DAGS,"
            " with SLIMLINE_EXPERIMENT, SLIMLINE_ROOT and SLIMLINE_DATA in Airflow's"
            " environment",
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
        return _find(found) if found else None

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """See base class; imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _find(words: str) -> click.Command:
    """The command that `slimline WORDS` calls."""
    name, *rest = words.split()
    command = importlib.import_module(f"slimline.cli.{name}").command
    found: click.Command = command.commands[rest[0]] if rest else command
    return found


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
            tip=tip,
        )

    return click.command(
        verb,
        help=f"{reason[:1].upper()}{reason[1:]}: {tip}.",
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
