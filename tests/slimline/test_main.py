import json
import subprocess
import sys

import click
import pytest

import slimline
from common.errors import DataError, GateError, InfraError, TrainError
from slimline import errors
from slimline.cli import main

HEAVY = ("tensorflow", "tfx", "apache_beam", "numpy", "pydantic", "rich", "yaml")
# What speaks to object stores: for roots and data that lie in one.
STORES = ("fsspec", "s3fs", "botocore", "aiobotocore")


def walk(command, path=("slimline",)):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*path, name))


ALL = dict(walk(main.command))
LEAVES = {path: found for path, found in ALL.items() if not hasattr(found, "commands")}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_help(path):
    command = ALL[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_the_output_options(path):
    flags = {flag for parameter in LEAVES[path].params for flag in parameter.opts}
    assert {"--json", "-q", "--quiet", "--debug"} <= flags


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_table_says_what_the_command_says(name):
    assert ALL["slimline", name].short_help == main.COMMANDS[name]


def imported_by(code):
    script = f"import sys; sys.argv = ['slimline']\n{code}\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy():
    found = imported_by("from slimline.cli.main import main; main(['--help'])")
    assert not found.intersection((*HEAVY, *STORES))


def test_the_package_imports_nothing_heavy():
    found = imported_by("import slimline as sl; sl.errors.ConfigError; sl.run; sl.load")
    assert not found.intersection((*HEAVY, *STORES))


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiments"],
        ["experiments", "folder"],
        ["models"],
        ["nets"],
        ["run", "--print-config"],
        ["weights", "list"],
    ],
    ids=" ".join,
)
def test_light_commands_leave_tensorflow_alone(arguments):
    found = imported_by(f"from slimline.cli.main import main; main({arguments})")
    assert not found.intersection(("tensorflow", "tfx", "apache_beam", *STORES))


def test_help_lists_all_commands(call):
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    for name, text in main.COMMANDS.items():
        assert name in out
        assert text in out


def test_version(call):
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("slimline ")


def test_unknown_command_names_the_nearest(call):
    code, out, err = call("experiment")
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown command 'experiment'\n")
    assert "tip: did you mean 'slimline experiments'?" in err


@pytest.mark.parametrize(
    ("word", "tip"),
    [
        ("train", "slimline run EXPERIMENT"),
        ("Eval", "slimline evaluate MODEL --data PATH"),
        ("export", "slimline run EXPERIMENT"),
        ("list", "slimline runs, slimline models"),
        ("tune", "slimline sweep"),
    ],
)
def test_words_of_other_tools_get_the_command_that_does_it(call, word, tip):
    code, out, err = call(word)
    assert (code, out) == (2, "")
    assert f"  tip: {tip}" in err


@pytest.mark.parametrize("word", main.NEAR_WORDS)
def test_hints_name_commands_that_exist(word):
    assert word not in main.COMMANDS
    for text in f"slimline {main.NEAR_WORDS[word]}".split("slimline ")[1:]:
        name, *rest = (part.rstrip(",:;") for part in text.split())
        if name.startswith("--"):
            continue
        found = ALL["slimline", name]
        if isinstance(found, click.Group) and rest and rest[0].islower():
            is_group_alone = rest[0] in ("or", "and")
            assert is_group_alone or ("slimline", name, rest[0]) in ALL
        flags = [flag for option in walk_options(name) for flag in option.opts]
        assert all(part in flags for part in rest if part.startswith("--"))


def walk_options(name):
    return [
        parameter
        for path, found in ALL.items()
        if path[:2] == ("slimline", name)
        for parameter in found.params
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--sett", "a=b"], "error: no such option"),
        (["predict"], "error: give image files, or --run for its samples"),
        (["run", "a", "b"], "error: got unexpected extra argument (b)"),
        (["completion", "tcsh"], "error: invalid value for"),
        (["run", "--config", "none.yaml"], "error: invalid value for '--config'"),
        (["run", "--set", "train.epoch=3"], "error: unknown setting 'train.epoch'"),
        (["run", "none"], "error: unknown experiment 'none'"),
        (["nets", "resnet_21"], "error: unknown net 'resnet_21'"),
    ],
)
def test_wrong_usage_is_one_kind_of_error(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert "Traceback" not in err
    code, out, _ = call(*arguments, "--json")
    assert code == 2
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert document["error"]["kind"] == "config"
    assert document["error"]["exit_code"] == 2


def test_no_command_shows_the_help_and_is_wrong_usage(call):
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "Commands:" in err


def test_debug_shows_the_stack(call):
    _, _, err = call("run", "none", "--debug")
    assert err.startswith("Traceback")
    assert "error: unknown experiment 'none'" in err


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.ConfigError("x"), 2, "config"),
        (DataError("x"), 4, "data"),
        (GateError("x"), 3, "gate"),
        (InfraError("x"), 5, "infra"),
        (TrainError("x"), 1, "train"),
        (errors.RunError("x"), 1, "run"),
        (KeyError("x"), 1, "unexpected"),
    ],
)
def test_exit_codes_and_kinds(error, code, kind):
    assert errors.exit_code(error) == code
    assert errors.kind(error) == kind


def test_a_wrapped_error_is_found():
    cause = DataError("the cause")
    try:
        try:
            raise cause
        except DataError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        assert errors.find_user_error(error) is cause
    assert errors.find_user_error(ValueError("x")) is None


def test_logger_has_a_null_handler():
    import logging

    kinds = [type(handler) for handler in logging.getLogger("slimline").handlers]
    assert logging.NullHandler in kinds
    assert slimline.errors.DataError is DataError
