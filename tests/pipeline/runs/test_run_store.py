"""A metadata store that cannot be used is set aside, and nothing else is."""

import contextlib
import logging
import pathlib
import sqlite3
import threading

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from common.errors import ConfigError
from pipeline.runs import lineage, run_store


@pytest.fixture
def store(tmp_path: pathlib.Path) -> pathlib.Path:
    """A store with the types of many components, of several pages."""
    path = tmp_path / lineage.METADATA_FILE
    config = metadata.sqlite_metadata_connection_config(str(path))
    with metadata.Metadata(config) as handle:
        for number in range(50):
            kind = metadata_store_pb2.ExecutionType(name=f"component-{number}" * 20)
            handle.store.put_execution_type(kind)
    return path


def scramble_schema(path: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE Artifact (' || x'00ff' "
            "WHERE name = 'Artifact'"
        )


def overwrite_pages(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(len(content) // 2, len(content), 4096):
        content[start : start + 2048] = b"x" * 2048
    path.write_bytes(content)


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_another(path: pathlib.Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE photos (name TEXT)")


def come_from_the_future(path: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE MLMDEnv SET schema_version = 99")


def become_a_folder(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda path: path.write_text("no database" * 1000),
        lambda path: path.write_bytes(b""),
        scramble_schema,
        overwrite_pages,
        cut,
        replace_by_another,
        come_from_the_future,
        become_a_folder,
    ],
)
def test_what_cannot_be_used_is_set_aside(
    store: pathlib.Path, caplog: pytest.LogCaptureFixture, break_it
) -> None:
    break_it(store)
    content = store.read_bytes() if store.is_file() else None
    with pytest.raises(ConfigError, match=r"cannot be used\s[\s\S]*model_card\.md"):
        lineage.of_artifacts(store.parent, ["anything"])
    with caplog.at_level(logging.WARNING, "slimline.run"):
        run_store.prepare(store)
    (aside,) = store.parent.glob(f"{store.name}.damaged-*")
    assert f"is now {aside}; a new one is created" in caplog.text
    assert content is None or aside.read_bytes() == content
    config = metadata.sqlite_metadata_connection_config(str(store))
    with metadata.Metadata(config) as handle:
        assert handle.store.get_executions() == []
    assert run_store.damage(store) == ""


def test_a_whole_store_stays(store: pathlib.Path, caplog) -> None:
    content = store.read_bytes()
    run_store.prepare(store)
    assert store.read_bytes() == content
    # Other loggers may speak: TFX's entry points turn absl up.
    assert not [one for one in caplog.records if one.name == "slimline.run"]


def test_where_nothing_ran_nothing_is_begun(tmp_path: pathlib.Path) -> None:
    run_store.prepare(tmp_path / lineage.METADATA_FILE)
    assert not (tmp_path / lineage.METADATA_FILE).exists()


def test_executions_are_numbered_on_from_the_folders(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cats" / "train" / "model" / "41").mkdir(parents=True)
    path = tmp_path / lineage.METADATA_FILE
    run_store.prepare(path)
    config = metadata.sqlite_metadata_connection_config(str(path))
    with metadata.Metadata(config) as handle:
        kind = handle.store.put_execution_type(
            metadata_store_pb2.ExecutionType(name="component")
        )
        execution = metadata_store_pb2.Execution(type_id=kind)
        assert handle.store.put_executions([execution]) == [42]


def test_a_store_that_another_writes_is_whole(
    store: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_store, "LOCK_SECONDS", 5.0)
    with contextlib.closing(
        sqlite3.connect(store, check_same_thread=False, isolation_level=None)
    ) as database:
        database.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.5, lambda: database.execute("COMMIT")).start()
        assert run_store.damage(store) == ""


def test_a_store_that_stays_locked_is_a_sentence(
    store: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_store, "LOCK_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match=r"cannot be opened\s+found: .*is locked"):
            run_store.prepare(store)
