"""The shell blocks of README and docs/ run, or say why they do not.

A block that cannot run here has `<!-- not run: REASON -->` on the line before it. Blocks of a
page run in order in one folder, which holds what README and docs/ speak of: archives of images,
and a root with two runs of CIFAR-10 in its smallest form. Every `slimline` line is parsed,
whether it runs or not.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest

from pipeline import choosing, experiments, settings
from pipeline.runs import remote_roots, runs
from slimline.cli import main
from storage import remote_data
from trainer.config import as_json, flatten
from trainer.weights import store

PROJECT = pathlib.Path(__file__).parents[2]
EXPERIMENT = "cifar10_resnet_20"
NAMES = ("quick-heron", "calm-otter")
# The second run evaluates and pushes the same model again: no second training.
PARTS = ([], ["--from", "evaluate", "--set", "evaluation.top_k=[3]"])
# Begins a schedule on which nothing is due.
TICK = f'schedule tick {EXPERIMENT} --data cifar-10-binary.tar.xz --cron "0 0 29 2 *"'
SHELLS = ("sh", "bash", "shell", "console", "zsh")


def test_every_shell_block_is_found(blocks) -> None:
    for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")]):
        fences = re.findall(r"^\s*```\w+", path.read_text(), re.MULTILINE)
        shells = [each for each in fences if each.strip()[3:] in SHELLS]
        found = [
            each for each in blocks if each.document == str(path.relative_to(PROJECT))
        ]
        assert len(found) == len(shells), path


def test_block_that_does_not_run_says_what_tests_it(block) -> None:
    for path in re.findall(r"\btests/[\w/.]+", block.reason):
        assert (PROJECT / path).exists(), f"{block} names {path}, which does not exist"


def test_slimline_lines_parse(block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_roots, "local", lambda root, pulls: pathlib.Path("runs"))
    monkeypatch.setattr(remote_data, "local", pathlib.Path)
    # Weights that a block imports are not on this machine.
    monkeypatch.setattr(store, "is_published", lambda name: False)
    for arguments in block.commands("slimline"):
        parse(arguments)


def parse(arguments: list[str]) -> None:
    """Parses a command line, and resolves the settings of one that names an experiment.

    Raises:
      ClickException, ConfigError: an unknown command, option, experiment or setting.
    """
    command, name, rest = main.command, "slimline", list(arguments)
    while isinstance(command, click.Group) and rest:
        context = click.Context(command)
        if "--engine" in rest:  # which `pipeline` takes, wherever it stands
            command.parse_args(context, rest)
            rest = [*context._protected_args, *context.args]
        name = rest.pop(0)
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command '{name}' in 'slimline {arguments}'")
        command = found
    given = command.make_context(name, rest).params
    arguments_of = {
        each.name for each in command.params if each.param_type_name == "argument"
    }
    if "experiment" in arguments_of and "assignments" in given:
        experiment = given["experiment"]
        if name == "run":
            experiment = choosing.choose(experiment, given["data"]).experiment
        settings.resolve(experiment, assignments=given["assignments"], environment={})


@pytest.mark.parametrize(
    "line",
    [
        "evil",
        "run --epochs 3",
        "run digits_resnet_20 --set train.epoch=3",
        "run digits_resnet_99",
        "models forget cifar10",
        "plot-rate cifar10_resnet_20 --set schedule.name=wave",
    ],
)
def test_a_line_that_no_longer_holds_does_not_parse(line: str) -> None:
    from common.errors import ConfigError

    with pytest.raises((click.ClickException, ConfigError)):
        parse(shlex.split(line))


def test_make_targets_exist(blocks) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    used = [words[0] for block in blocks for words in block.commands("make")]
    assert used
    assert set(used) <= set(targets)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, new_fakes, small_net, forked_probes) -> pathlib.Path:
    """A folder with data and with two finished runs."""
    folder = tmp_path_factory.mktemp("documents")
    fakes = new_fakes(1)
    cifar = fakes.cifar10_binary(folder / "cifar-10-batches-bin", 100)
    fakes.pack(cifar, folder / "cifar-10-binary.tar.xz")
    shutil.rmtree(cifar)
    flowers = fakes.class_folders(folder / "flowers", ("rose", "tulip"), size_px=32)
    fakes.pack(flowers, folder / "flowers.tar.gz")
    flowers.rename(folder / "PATH")
    photos = fakes.class_folders(
        folder / "photos", ("2026-01", "2026-02"), 3, suffix=".jpg", size_px=32
    )
    photos = sorted(photos.rglob("*.jpg"))
    shutil.copy(next((folder / "PATH").rglob("*.png")), folder / "cat.png")
    names = "".join(f"{path.relative_to(folder)}\n" for path in photos)
    (folder / "list.txt").write_text(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, part in zip(NAMES, PARTS, strict=True):
            adjective, animal = name.split("-")
            patch.setattr(runs, "_ADJECTIVES", adjective)
            patch.setattr(runs, "_ANIMALS", animal)
            assert main.main([*smallest_run(small_net), *part]) == 0
        assert main.main(shlex.split(TICK)) == 0
    return folder


def smallest_run(net: str) -> list[str]:
    """A run of a small net as by --tiny, but of the model that the documents name."""
    config = experiments.EXPERIMENTS[EXPERIMENT]()
    own, tiny = (flatten(as_json(each)) for each in (config, experiments.tiny(config)))
    changes = {key: value for key, value in tiny.items() if value != own[key]}
    changes |= {"data.check_images": 0, "model.net": net}
    del changes["is_tiny"]
    arguments = ["run", EXPERIMENT, "--data", "cifar-10-binary.tar.xz", "--quiet"]
    for key, value in changes.items():
        arguments += ["--set", f"{key}={settings.show(value)}"]
    return arguments


@pytest.mark.slow
def test_blocks_run(page, blocks, prepared, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SLIMLINE_WEIGHTS", str(tmp_path / "weights"))
    for block in blocks:
        if block.document == page and not block.reason:
            run(block)


def run(block) -> None:
    """Runs a block; what only calls `slimline` runs in this process, which has TensorFlow."""
    lines = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    lines = [words for words in lines if words]
    if all(words[0] == "slimline" for words in lines):
        for words in lines:
            assert main.main(words[1:]) == 0, f"{block}: {shlex.join(words)}"
        return
    binaries = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-eu", "-c", block.text], check=True, env=os.environ | {"PATH": binaries}
    )
