"""The shape of the project: imports go one way, and our names are ours."""

import ast
import importlib.metadata
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MAY_IMPORT = {
    "schema": set(),
    "components": {"schema"},
    "trainer": {"schema"},
    "serving": {"schema"},
    "data_check": {"schema", "components"},
    "report": {"schema", "components", "trainer"},
    "pipeline": {"schema", "components", "trainer", "data_check", "report"},
    "slimline": {
        "schema",
        "components",
        "trainer",
        "data_check",
        "report",
        "pipeline",
        "serving",
    },
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


def test_nothing_can_run_what_it_reads() -> None:
    """No call that unpickles, extracts or evaluates, in code that reads data."""
    forbidden = {"extractall", "extract", "eval", "exec", "unpack_archive"}
    modules = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"}
    for package in MAY_IMPORT:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    assert name not in forbidden, where
                    keywords = {keyword.arg for keyword in node.keywords}
                    assert "allow_pickle" not in keywords, where
                elif isinstance(node, ast.Import):
                    names = {alias.name.split(".")[0] for alias in node.names}
                    assert not names & modules, where
