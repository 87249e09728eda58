"""What the documents say can be typed, and what they point to exists."""

import itertools
import pathlib
import re
import shlex

import click
import pytest

from pipeline import choosing, settings
from pipeline.runs import remote_roots
from slimline.cli import main
from storage import remote_data

PROJECT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
SHELL_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(program: str) -> list[list[str]]:
    """Arguments of each call of `program` in the documents' shell blocks."""
    found = []
    for document in DOCUMENTS:
        for block in SHELL_BLOCK.findall(document.read_text(encoding="utf-8")):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and pathlib.PurePath(words[0]).name == program:
                    found.append(words[1:])
    return found


@pytest.mark.parametrize("arguments", commands("slimline"), ids=" ".join)
def test_slimline_commands_are_understood(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_roots, "local", lambda root, pulls: pathlib.Path("runs"))
    monkeypatch.setattr(remote_data, "local", pathlib.Path)
    command, name, rest = main.command, "slimline", list(arguments)
    while isinstance(command, click.Group) and rest:
        name = rest.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command is not None, name
    context = command.make_context(name, rest)
    if name == "run":
        given = context.params.get("experiment"), context.params.get("data")
        experiment = choosing.choose(*given).experiment
        assignments = [
            value for flag, value in itertools.pairwise(rest) if flag == "--set"
        ]
        settings.resolve(experiment, assignments=assignments, environment={})


def test_make_targets_exist() -> None:
    targets = re.findall(
        r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE
    )
    used = [words[0] for words in commands("make") if words]
    assert used
    assert set(used) <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: pathlib.Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
