"""A changed module changes the fingerprint of the components that import it, no others."""

import ast
import json
import pathlib
import shutil

import pytest

from pipeline import dag, fingerprint
from pipeline.runs import parts

PROJECT = fingerprint.ROOT
PRODUCT = ("common", "storage", "schema", "pushed_models", "components", "trainer")
# What is changed -> the components that run it. Most of them import it indirectly, inside a
# function or for a process of its own.
IMPORTED_BY = {
    "components/data_contract/component.py": {"contract"},
    "common/python_words.py": set(parts.COMPONENTS)
    - {"statistics", "infer"},  # by common.errors
    "components/image_example_gen/component.py": {"ingest"},
    "components/image_example_gen/sources/naming.py": {"ingest"},
    "components/image_example_gen/layouts/published.py": {"ingest"},
    "components/example_validator/distances.py": {"check"},
    "pushed_models/data_profile.py": {"check", "push"},
    "trainer/preprocessing.py": {"transform", "train"},
    "trainer/lookup.py": {"transform", "train"},
    "trainer/nets/published.py": {"train"},
    "trainer/weights/h5_places.py": {"train"},
    "components/net_trainer/component.py": {"train"},
    "components/baseline_model/component.py": {"baseline", "evaluate"},
    "components/model_evaluator/intervals.py": {"evaluate"},
    "components/infra_check/__main__.py": {"infra"},
    "pushed_models/recorded.py": {"infra"},
    "components/model_pusher/publishing.py": {"push"},
    "pushed_models/version_history.py": {"baseline", "evaluate", "push"},
    "components/image_example_gen/inspection.py": set(),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of our source."""
    root = tmp_path_factory.mktemp("project")
    for package in PRODUCT:
        shutil.copytree(PROJECT / package, root / package)
    return root


@pytest.fixture
def project(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(fingerprint, "ROOT", tree)
    return tree


def fingerprints(compile_pipeline) -> dict[str, str]:
    """Component -> what TFX's cache sees of its code."""
    found = {}
    for node in compile_pipeline().nodes:
        values = {
            name: value.field_value.string_value
            for name, value in node.pipeline_node.parameters.parameters.items()
        }
        custom = json.loads(values.get("custom_config", "{}"))
        found[node.pipeline_node.node_info.id] = (values | custom).get(
            "source_fingerprint", ""
        )
    return found


@pytest.mark.parametrize("name", IMPORTED_BY)
def test_a_changed_function_is_seen_by_those_that_import_it(
    compile_pipeline, project: pathlib.Path, name: str
) -> None:
    before = fingerprints(compile_pipeline)
    assert fingerprints(compile_pipeline) == before
    path = project / name
    source = path.read_text()
    path.write_text(f"{source}\n\ndef added() -> None:\n    raise ValueError\n")
    try:
        after = fingerprints(compile_pipeline)
    finally:
        path.write_text(source)
    changed = {
        component for component in before if before[component] != after[component]
    }
    assert changed == IMPORTED_BY[name]


def test_every_component_of_ours_and_transform_has_a_fingerprint(
    compile_pipeline,
) -> None:
    assert [
        name for name, value in fingerprints(compile_pipeline).items() if not value
    ] == ["statistics"]


@pytest.mark.parametrize(
    "statement",
    [
        "from trainer import helper",
        "from trainer import (  # (our own)\n    config,\n    helper as other,\n)",
        "from trainer.helper import scale",
        "import trainer.helper as other",
        "from trainer import config, \\\n    helper",
        "def late():\n    from trainer.helper import scale",
        "try: import trainer.helper\nexcept ImportError: pass",
        'COMMAND = (sys.executable, "-P", "-m", "trainer.helper")',
    ],
)
def test_a_function_that_moves_into_a_module_of_its_own_stays_seen(
    project: pathlib.Path, statement: str
) -> None:
    entry, helper = project / "trainer/preprocessing.py", project / "trainer/helper.py"
    source = entry.read_text()
    entry.write_text(f"{source}\n{statement}\n")
    helper.write_text("def scale(x):\n    return x / 255\n")
    try:
        before = fingerprint.source(dag.PREPROCESSING_FN)
        helper.write_text("def scale(x):\n    return x / 128\n")
        assert fingerprint.source(dag.PREPROCESSING_FN) != before
    finally:
        entry.write_text(source)
        helper.unlink()


@pytest.mark.parametrize("library", ["tensorflow", "tfx", "tf-slim"])
def test_another_version_of_a_library_is_another_fingerprint(
    compile_pipeline, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    before = fingerprints(compile_pipeline)
    version = fingerprint._version
    monkeypatch.setattr(
        fingerprint,
        "_version",
        lambda name: "99.0" if name == library else version(name),
    )
    after = fingerprints(compile_pipeline)
    same = [name for name in before if before[name] == after[name]]
    assert same == ["statistics"]  # which reads what `contract` and `ingest` made


def test_nothing_that_python_would_import_is_left_out() -> None:
    """The text is read as Python's own parser reads it."""
    for package in PRODUCT:
        for file in (PROJECT / package).rglob("*.py"):
            module = ".".join(file.relative_to(PROJECT).with_suffix("").parts)
            found = set(fingerprint.files([module]))
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in names:
                    assert found.issuperset(fingerprint.files([name])), (file, name)
