"""The shape of the project: imports go one way, and our names are ours."""

import ast
import importlib.metadata
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BASE = {"common", "storage", "schema", "pushed_models"}
MAY_IMPORT = {
    "common": set(),
    "storage": {"common"},
    "schema": {"common", "storage"},
    "pushed_models": {"common", "storage", "schema"},
    "components": BASE,
    "trainer": BASE,
    "serving": BASE,
    "data_check": BASE | {"components"},
    "report": BASE | {"components", "trainer"},
    "pipeline": BASE | {"components", "trainer", "data_check", "report"},
    "slimline": BASE
    | {"components", "trainer", "data_check", "report", "pipeline", "serving"},
}
# Which rooms of `pipeline` a room of it may import; the modules beside them are free to all.
ROOMS = {
    "beam": set(),
    "slots": set(),
    "runs": set(),
    "sweeps": {"runs"},
    "scheduling": {"runs", "slots"},
    "kubeflow": {"beam", "slots"},
}


def imported_packages(path: pathlib.Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            packages.add((node.module or "").split(".")[0])
    return packages & MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        foreign = imported_packages(file) - MAY_IMPORT[package] - {package}
        assert not foreign, f"{file.relative_to(ROOT)} imports {sorted(foreign)}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_pipeline_import_one_way(room: str) -> None:
    folder = ROOT / "pipeline" / room
    files = sorted(folder.glob("*.py"))
    assert len(files) > 2, "a room has more than one module"
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported = {f"{node.module}.{alias.name}" for alias in node.names}
                rooms = {
                    name.split(".")[1]
                    for name in imported
                    if name.startswith("pipeline.")
                }
                foreign = rooms & ROOMS.keys() - ROOMS[room] - {room}
                assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def test_every_room_of_the_pipeline_has_its_rule() -> None:
    found = {path.parent.name for path in ROOT.glob("pipeline/*/__init__.py")}
    assert found == ROOMS.keys()


def test_the_map_of_the_code_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    assert len(paths) > 100
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_package_has_its_rule() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == MAY_IMPORT.keys()


def test_no_other_distribution_owns_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in MAY_IMPORT:
        assert set(owners.get(package, ["slimline"])) == {"slimline"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_module_hides_a_package_of_ours(package: str) -> None:
    # `tfx pipeline create` puts the folder of the runner first on sys.path.
    for path in (ROOT / "pipeline").iterdir():
        assert path.stem != package


def test_files_with_a_place_in_the_order_are_there(request) -> None:
    """Of tests: what was moved would lose its place, and its worker, in silence."""
    (order,) = (
        plugin
        for plugin in request.config.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", "") == str(ROOT / "tests" / "conftest.py")
    )
    named = [*order.LONGEST, *order.TOGETHER, *order.TOGETHER.values()]
    missing = [name for name in named if not (ROOT / "tests" / name).is_file()]
    assert missing == []
    # Those that go to one worker follow the first of them.
    for name, first in order.TOGETHER.items():
        between = order.LONGEST[
            order.LONGEST.index(first) + 1 : order.LONGEST.index(name)
        ]
        assert all(order.TOGETHER.get(each) == first for each in between), name
        assert order.LONGEST.index(first) < order.LONGEST.index(name), name


RUNNING_CALLS = {
    "compile",
    "eval",
    "exec",
    "extract",
    "extractall",
    "read_pickle",
    "unpack_archive",
    "unsafe_load",
}
RUNNING_MODULES = {
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "pickle",
    "shelve",
}


def runs_what_it_reads(source: str) -> list[int]:
    """Lines that unpickle, extract or evaluate."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").split(".")[0]}
            names = modules | {alias.name for alias in node.names}
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            # `re.compile` runs nothing.
            is_method = isinstance(node.func, ast.Attribute) and name == "compile"
            names = {"" if is_method else name}
            # importlib.import_module("pickle"), __import__("pickle").
            names |= {
                str(argument.value).split(".")[0]
                for argument in node.args
                if isinstance(argument, ast.Constant)
                and name in ("import_module", "__import__")
            }
            if any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                found.append(node.lineno)
        if names & (RUNNING_CALLS | RUNNING_MODULES):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from pickle import loads",
        "from _pickle import loads as read",
        "import joblib.numpy_pickle",
        "from shutil import unpack_archive as unpack",
        "importlib.import_module('pickle').loads(b'')",
        "__import__('marshal')",
        "numpy.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "tarfile.open(path).extractall()",
        "exec(text)",
        "compile(text, '', 'exec')",
        "yaml.unsafe_load(text)",
    ],
)
def test_what_runs_what_it_reads_is_seen(source: str) -> None:
    assert runs_what_it_reads(f"x = 1\n{source}\n") == [2]


def test_what_runs_nothing_is_not_seen() -> None:
    assert runs_what_it_reads("import re\nre.compile('a')\nnumpy.load(path)\n") == []


def test_nothing_can_run_what_it_reads() -> None:
    for package in MAY_IMPORT:
        for file in sorted((ROOT / package).rglob("*.py")):
            lines = runs_what_it_reads(file.read_text(encoding="utf-8"))
            assert not lines, f"{file.relative_to(ROOT)}, lines {lines}"
