"""slimline models: the pushed versions, and which of them are served."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import click

from pipeline.runs import runs
from pushed_models import models
from slimline import errors
from slimline.terminal import models_text, options, output

_DEFAULT = "list"
_model = click.argument("name", metavar="MODEL", shell_complete=options.complete_models)
_version = click.argument("version", type=click.IntRange(min=0), required=False)
# Of all commands that change something.
_change_options = options.together(
    click.option("--reason", metavar="TEXT", default="", help="Why, for the history."),
    options.flag("--dry-run", "is_dry", help="Show what would change; write nothing."),
    options.root_option,
    options.output_options,
)


class _ListByDefault(click.Group):
    """A group whose default command is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See base class."""
        is_named = bool(args) and not args[0].startswith("-")
        wants_help = bool({*ctx.help_option_names} & {*args})
        if not is_named and not wants_help and not ctx.resilient_parsing:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_ListByDefault, short_help="List pushed versions and say which is live."
)
def command() -> None:
    """List pushed versions and change which is live; `list` is the default COMMAND.

    Servers follow <root>/serving/models.config, which these commands write.
    """


@command.command("list", short_help="List the versions of all models, or of one.")
@click.argument(
    "name", metavar="[MODEL]", required=False, shell_complete=options.complete_models
)
@options.root_option
@options.output_options
def list_command(name: str | None, root: pathlib.Path) -> output.Result:
    """List the versions of all models, or of MODEL, the newest last."""
    found = [version for model in _models(root, name) for version in model.list()]
    top_1 = _top_1(root)
    document = {
        "versions": [
            dataclasses.asdict(version) | {"test_top_1": top_1.get(version.by)}
            for version in found
        ]
    }
    text = models_text.table(found, top_1) if found else _no_models(root)
    return output.Result(text, document)


@command.command("promote", short_help="Make a version the one that is live.")
@_model
@_version
@_change_options
def promote_command(name: str, root: pathlib.Path, **given: Any) -> output.Result:
    """Make VERSION of MODEL the one that is live: the canary by default, else the newest.

    The version before stays loaded beside it, so that `rollback` is instant.
    """
    return _change(models.find(root, name).promote, root, **given)


@command.command("canary", short_help="Serve a version beside the one that is live.")
@_model
@_version
@options.flag("--off", "is_off", help="Stop serving the canary.")
@_change_options
def canary_command(name: str, root: pathlib.Path, **given: Any) -> output.Result:
    """Serve VERSION of MODEL, the newest by default, as `canary` beside the live one."""
    return _change(models.find(root, name).canary, root, **given)


@command.command("rollback", short_help="Go back to the version that was live before.")
@_model
@click.option(
    "--to",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="Go to this one instead.",
)
@_change_options
def rollback_command(name: str, root: pathlib.Path, **given: Any) -> output.Result:
    """Go back to the version of MODEL that was live before the present one.

    Repeat it to go back further. The version that was live is no longer served, but kept:
    `promote` brings it back.
    """
    return _change(models.find(root, name).rollback, root, **given)


@command.command("prune", short_help="Delete old versions that nothing needs.")
@_model
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    required=True,
    metavar="N",
    help="Keep the N newest versions.",
)
@options.yes_option
@_change_options
def prune_command(
    name: str, keep: int, is_sure: bool, reason: str, is_dry: bool, root: pathlib.Path
) -> output.Result:
    """Delete the versions of MODEL but the N newest and those that are needed.

    Needed are the versions that are served, and the one that `rollback` would go to.
    """
    model = models.find(root, name)
    found = model.prune(keep, is_dry=True)
    if found.versions and not is_dry:
        output.check_agreed(f"delete {models_text.to_prune(found)}", is_sure=is_sure)
        found = model.prune(keep, reason=reason, by="slimline models prune")
    return output.Result(
        models_text.pruned(found, is_dry=is_dry),
        {"dry_run": is_dry, "pruned": dataclasses.asdict(found)},
    )


@command.command(
    "verify", short_help="Check the files of versions against what was pushed."
)
@click.argument(
    "target",
    metavar="[MODEL[@VERSION]]",
    required=False,
    shell_complete=options.complete_models,
)
@options.root_option
@options.output_options
def verify_command(target: str | None, root: pathlib.Path) -> output.Result:
    """Check the files of all versions, of MODEL, or of one version, against its manifest.

    The exit code is 1 if a file is damaged, missing or unknown, or a manifest is missing.
    """
    name, at, number = (target or "").partition("@")
    version = _number(target, number) if at else None
    found = {
        (model.name, checked): problems
        for model in _models(root, name or None)
        for checked, problems in model.verify(version).items()
    }
    is_sound = not any(found.values())
    document = {
        "sound": is_sound,
        "versions": [
            {"model": model, "version": checked, "problems": list(problems)}
            for (model, checked), problems in found.items()
        ],
    }
    text = models_text.verified(found) if found else _no_models(root)
    code = errors.DONE if is_sound else errors.RUN_FAILED
    return output.Result(text, document, exit_code=code)


@command.command("history", short_help="Say who changed what, when and why.")
@_model
@options.root_option
@options.output_options
def history_command(name: str, root: pathlib.Path) -> output.Result:
    """Say who pushed, promoted, rolled back and deleted versions of MODEL, and why."""
    rows = models.find(root, name).history()
    text = models_text.history(rows) if rows else f"no history of '{name}' yet"
    document = {"model": name, "rows": [row.as_json() for row in rows]}
    return output.Result(text, document)


def _models(root: pathlib.Path, name: str | None) -> list[models.PushedModel]:
    names = models.names(root) if name is None else [name]
    return [models.find(root, each) for each in names]


def _top_1(root: pathlib.Path) -> dict[str, float]:
    """Accuracy on the test split, by name of the run that has it."""
    found = {}
    for folder in runs.list_runs(root):
        try:
            found[folder.name] = float(runs.read_summary(folder)["metrics"]["top_1"])
        except (errors.ConfigError, KeyError, TypeError, ValueError):
            continue
    return found


def _number(target: str | None, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise errors.ConfigError(
            f"'{target}' names no version", expected="MODEL@VERSION, as cifar10@6"
        )
    return int(text)


def _no_models(root: pathlib.Path) -> str:
    place = output.short_place(str(root))
    return f"no models in {place}: slimline run trains and pushes one"


def _change(
    change: Callable[..., models.Change], root: pathlib.Path, **given: Any
) -> output.Result:
    """Makes a change, or shows it with --dry-run; `given` are its arguments."""
    by = f"slimline models {click.get_current_context().info_name}"
    made, is_dry = change(by=by, **given), given["is_dry"]
    document = {"dry_run": is_dry, "change": dataclasses.asdict(made)}
    return output.Result(models_text.change(made, root, is_dry=is_dry), document)
