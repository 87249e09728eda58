"""The `slimline` command: dispatch, and what every result and error prints."""

import contextlib
import importlib
import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import click

from slimline import errors
from slimline.terminal import output
from trainer.lookup import nearest

# Command -> its line in --help; each is in the module of its name.
COMMANDS = {
    "run": "Train, evaluate, gate and push one experiment.",
    "sweep": "Train the members of a sweep and compare them.",
    "why": "Say why the gate passed or refused a model.",
    "report": "Make the page about a run.",
    "runs": "List the runs with their verdicts.",
    "compare": "Compare finished runs.",
    "lineage": "Say where a model came from.",
    "evaluate": "Measure a model on any labelled images.",
    "predict": "Classify image files with a pushed model.",
    "serve": "Serve the pushed models on this machine.",
    "models": "List pushed versions and say which is live.",
    "experiments": "List the experiments, or the settings of one.",
    "nets": "List the nets, or show the layers of one.",
    "weights": "Import published weights; list, show and remove them.",
    "schedule": "Train on a schedule, or on every new span.",
    "control": "Steer a training while it runs.",
    "plot-rate": "Draw the learning rate of an experiment.",
    "data": "Look at images, check them and write their contract.",
    "pipeline": "One set of commands for every orchestrator.",
    "kubeflow": "Compile for Kubeflow Pipelines, submit, schedule.",
    "doctor": "Check this machine and installation.",
    "completion": "Print the completion script of a shell.",
}
# Words of other tools -> the command here that does it, with its arguments.
_HINTS = {
    "train fit": "run EXPERIMENT, or slimline run PATH for your own images",
    "finetune fine-tune": "run PATH: `photos` fine-tunes published weights on your own images",
    "resume": "run, with the same arguments, resumes an interrupted run",
    "eval test val benchmark score": "evaluate MODEL --data PATH",
    "validate": "evaluate MODEL --data PATH; slimline data check PATH checks images",
    "metrics": "runs lists figures; slimline why RUN shows the rules of the gate",
    "list ls": "runs, slimline models, slimline experiments or slimline nets",
    "status": "runs; slimline schedule status shows what is running and what is next",
    "show": "report RUN; slimline experiments NAME shows settings",
    "export": "run EXPERIMENT: a run that passes its gate exports and pushes its model",
    "deploy": "models promote, or slimline serve",
    "publish": "models promote NAME VERSION; a run that passes its gate pushes itself",
    "push": "run EXPERIMENT: a run that passes its gate pushes its model",
    "rollback": "models rollback NAME",
    "promote": "models promote NAME VERSION",
    "delete remove": "models prune NAME",
    "tune": "sweep [NAME]; slimline run --set train.KEY=VALUE changes one setting",
    "search": "sweep [NAME]",
    "infer classify": "predict FILES",
    "explain": "predict FILES --explain",
    "inspect dataset datasets": "data inspect PATH",
    "check": "data check PATH",
    "init": "data init PATH",
    "augment": "data augment EXPERIMENT",
    "config": "run EXPERIMENT --print-config",
    "settings": "experiments NAME",
    "model": "models",
    "history": "models history NAME, or slimline schedule history",
    "logs": "runs: log.txt in the folder of a run",
    "diff": "compare RUN RUN",
    "compile": "pipeline compile --engine kubeflow EXPERIMENT",
    "create": "pipeline create --engine kubeflow FILE",
    "submit": "pipeline run --engine kubeflow FILE",
    "kfp": "pipeline list --engine kubeflow",
    "vertex": "pipeline compile --engine vertex EXPERIMENT",
    "airflow": "pipeline create --engine airflow",
    "cron": "schedule run EXPERIMENT",
    "stop": "control RUN ends a running training",
    "version": "--version",
    "help": "--help",
}
NEAR_WORDS = {word: hint for words, hint in _HINTS.items() for word in words.split()}
# Option of earlier versions -> its name now.
RENAMED = {"--engine": "--beam-runner", "--engine-option": "--beam-option"}
# Commands that resume where they were interrupted.
RESUMABLE = ("run", "sweep", "schedule")


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See base class."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See base class."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"slimline.cli.{cmd_name.replace('-', '_')}")
        return module.command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Lists COMMANDS: --help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the nearest command for an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise errors.ConfigError(
                f"unknown command '{args[0]}'",
                expected=f"one of {', '.join(COMMANDS)}",
                tip=_hint(args[0]),
            )
        return super().resolve_command(ctx, args)


def _hint(word: str) -> str:
    """What to type in place of an unknown command; '' where nothing is near."""
    if hint := NEAR_WORDS.get(word.lower()):
        return f"slimline {hint}"
    near = nearest(word, COMMANDS)
    return f"did you mean 'slimline {near}'?" if near else ""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="slimline COMMAND --help says more. Exit codes: 0 done, 1 run failed, 2 usage or"
    " setting wrong, 3 gate refused, 4 data refused, 5 served model failed its check,"
    " 75 busy, try again, 130 interrupted, 143 terminated.",
)
@click.version_option(
    package_name="slimline", message="slimline %(version)s", help="Print the version."
)
def command() -> None:
    """From labelled images to a served classifier."""


@command.result_callback()
def _show(result: output.Result | None) -> int:
    return output.show(result) if result else errors.DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: of the command line without the program's name; None takes sys.argv.

    Returns:
      The exit code (docs/cli.md).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    flags = given[: given.index("--")] if "--" in given else given
    with errors.of_a_command(), _terminable() as received:
        return _run(given, flags, received)


def _run(given: Sequence[str], flags: Sequence[str], received: Sequence[int]) -> int:
    try:
        result = command.main(
            args=list(given), prog_name="slimline", standalone_mode=False
        )
        return result if isinstance(result, int) else errors.DONE
    except (KeyboardInterrupt, click.Abort):
        how = "terminated" if received else "interrupted"
        click.echo(f"{how}{_kept(flags)}", err=True)
        return errors.TERMINATED if received else errors.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return errors.USAGE_WRONG
    except click.ClickException as error:
        return _end(_as_config_error(error), flags)
    except Exception as error:  # the last resort of the whole program
        return _end(error, flags)


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """Ends what runs inside on SIGTERM as on Ctrl-C; a second signal has no effect.

    Yields:
      The signals received; empty outside the main thread, which alone receives them.
    """
    received: list[int] = []

    def end(number: int, frame: Any) -> None:
        del frame
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _kept(flags: Sequence[str]) -> str:
    """What an interrupted command keeps."""
    if flags[:1] == ["pipeline"]:
        flags = flags[1:]
    if flags and flags[0] in RESUMABLE:
        kept = "components"
    elif flags[:1] == ["predict"] and any(
        flag.partition("=")[0] == "--output" for flag in flags
    ):
        kept = "parts"
    else:
        return ""
    return f": finished {kept} are kept; rerun the same command to resume"


def _as_config_error(error: click.ClickException) -> errors.ConfigError:
    """A usage error in the form of all other errors."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    tip = f"{context.command_path if context else 'slimline'} --help shows the usage"
    if new := RENAMED.get(getattr(error, "option_name", "")):
        tip = f"{new} says where Beam jobs run; slimline pipeline takes --engine"
    return errors.ConfigError(message[:1].lower() + message[1:], tip=tip)


def _end(error: Exception, flags: Sequence[str]) -> int:
    if "--debug" in flags:
        traceback.print_exception(error)
    output.show_error(error)
    if "--debug" not in flags and not isinstance(error, errors.SlimlineError):
        click.echo("  tip: --debug shows the stack", err=True)
    if "--json" in flags:
        document = {
            "schema_version": output.SCHEMA_VERSION,
            "error": output.error_document(error),
        }
        click.echo(json.dumps(document))
    return errors.exit_code(error)
