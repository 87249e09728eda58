"""A changed source file changes the fingerprint of what depends on it."""

import pathlib

import pytest

from pipeline import fingerprint


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("trainer/task.py", "trainer/nets/resnet.py", "schema/features.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    return tmp_path


def test_stays_while_nothing_changes(project: pathlib.Path) -> None:
    assert fingerprint.source("trainer", "schema") == fingerprint.source(
        "schema", "trainer"
    )


@pytest.mark.parametrize("change", ["edit", "add", "rename"])
def test_changes_with_a_file_below(project: pathlib.Path, change: str) -> None:
    before = fingerprint.source("trainer")
    other = fingerprint.source("schema")
    path = project / "trainer/nets/resnet.py"
    match change:
        case "edit":
            path.write_text("# changed\n")
        case "add":
            path.with_name("vgg.py").write_text("")
        case "rename":
            path.rename(path.with_name("resnets.py"))
    assert fingerprint.source("trainer") != before
    assert fingerprint.source("schema") == other


def test_one_module_alone(project: pathlib.Path) -> None:
    before = fingerprint.source("trainer.task")
    (project / "trainer/nets/resnet.py").write_text("# changed\n")
    assert fingerprint.source("trainer.task") == before
