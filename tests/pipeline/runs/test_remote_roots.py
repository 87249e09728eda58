"""A root in an object store: its runs and its metadata, from one machine to the next."""

import contextlib
import json
import pathlib
import sqlite3

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from common.errors import ConfigError
from components import artifacts
from pipeline.runs import remote_roots, run_store, runs
from storage import manifest, mirror


def open_store(root: pathlib.Path) -> metadata_store.MetadataStore:
    run_store.prepare(root / "metadata.sqlite")
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(root / "metadata.sqlite")
    return metadata_store.MetadataStore(connection)


def execute(root: pathlib.Path, name: str, push_to: str = "") -> int:
    """Writes down an execution with an artifact; gives its number."""
    store = open_store(root)
    kind = metadata_store_pb2.ArtifactType(name="Model")
    kind.properties["pushed_destination"] = metadata_store_pb2.STRING
    artifact = metadata_store_pb2.Artifact(
        uri=str(root / name), type_id=store.put_artifact_type(kind)
    )
    artifact.properties["pushed_destination"].string_value = push_to or "nowhere"
    made = metadata_store_pb2.ExecutionType(name="Trainer")
    made.properties["folder"] = metadata_store_pb2.STRING
    execution = metadata_store_pb2.Execution(type_id=store.put_execution_type(made))
    execution.properties["folder"].string_value = str(root / "serving")
    number, _, _ = store.put_execution(
        execution,
        [
            (
                artifact,
                metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT),
            )
        ],
        [],
    )
    return number


def run(root: pathlib.Path) -> pathlib.Path:
    return runs.create(root, {"name": "digits"}, {})


def uris(root: pathlib.Path) -> set[str]:
    return {artifact.uri for artifact in open_store(root).get_artifacts()}


def in_bucket(bucket, tmp_path: pathlib.Path) -> list[tuple]:
    """Artifacts and settings of executions as the bucket has them."""
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(bucket.read("team/metadata.sqlite"))
    with contextlib.closing(sqlite3.connect(copy)) as store:
        rows = store.execute("SELECT uri FROM Artifact").fetchall()
        for table in ("ArtifactProperty", "ExecutionProperty"):
            rows += store.execute(f"SELECT string_value FROM {table}").fetchall()
    return rows


def test_the_next_machine_goes_on(bucket, new_machine, tmp_path) -> None:
    uri = f"{bucket.uri}/team"
    root = remote_roots.local(uri)
    folder = run(root)
    with remote_roots.brought_back(folder):
        first = execute(root, "model", str(root / "serving" / "cats" / "7"))
        (folder / "log.txt").write_text("done")
    assert bucket.keys("team/") == [
        f"team/{folder.name}/config.json",
        f"team/{folder.name}/log.txt",
        "team/metadata.sqlite",
    ]
    # Paths of this machine mean nothing elsewhere.
    assert in_bucket(bucket, tmp_path) == [
        (f"{uri}/model",),
        (f"{uri}/serving/cats/7",),
        (f"{uri}/serving",),
    ]
    new_machine()
    other = remote_roots.local(uri)
    assert other != root
    assert [found.name for found in runs.list_runs(other)] == [folder.name]
    assert (other / folder.name / "log.txt").read_text() == "done"
    assert uris(other) == {str(other / "model")}
    (artifact,) = open_store(other).get_artifacts()
    pushed = artifact.properties["pushed_destination"].string_value
    assert pushed == str(other / "serving" / "cats" / "7")
    second = execute(other, "model_2")
    # Each machine counts on from its clock: no two executions share a folder.
    assert second > first > 1_700_000_000_000


def test_a_machine_with_nothing_of_its_own_takes_what_is_newer(
    bucket, new_machine, monkeypatch
) -> None:
    uri = f"{bucket.uri}/team"
    root = remote_roots.local(uri)
    with remote_roots.brought_back(run(root)):
        execute(root, "model")
    new_machine()
    other = remote_roots.local(uri)
    monkeypatch.setenv(mirror.STATE_VARIABLE, str(root.parents[1]))
    with remote_roots.brought_back(run(root)):
        execute(root, "model_2")
    monkeypatch.setenv(mirror.STATE_VARIABLE, str(other.parents[1]))
    assert remote_roots.local(uri) == other
    assert uris(other) == {str(other / "model"), str(other / "model_2")}


def test_what_this_machine_has_not_stored_yet_is_kept(bucket, new_machine) -> None:
    """As after a kill: rows that the store has not are not thrown away."""
    uri = f"{bucket.uri}/team"
    root = remote_roots.local(uri)
    execute(root, "mine")
    state = root.parents[1]
    new_machine()
    other = remote_roots.local(uri)
    with remote_roots.brought_back(run(other)):
        execute(other, "theirs")
    remote_roots.local(root)  # the mirror itself stands for its URI
    assert state == root.parents[1]
    assert uris(root) == {str(root / "mine")}


def test_metadata_in_use_are_not_replaced(bucket, new_machine, monkeypatch) -> None:
    uri = f"{bucket.uri}/team"
    root = remote_roots.local(uri)
    with remote_roots.brought_back(run(root)):
        execute(root, "model")
    new_machine()
    other = remote_roots.local(uri)
    with remote_roots.brought_back(run(other)):
        execute(other, "model_2")
    with remote_roots.in_use(root, "digits"):
        remote_roots.local(root)
        assert uris(root) == {str(root / "model")}
    remote_roots.local(root)
    assert uris(root) == {str(root / "model"), str(root / "model_2")}


def test_unusable_metadata_in_the_store_are_left_there(bucket, caplog) -> None:
    bucket.write("team/metadata.sqlite", b"this is no database, however long it is" * 9)
    root = remote_roots.local(f"{bucket.uri}/team")
    assert not (root / "metadata.sqlite").exists()
    assert "has unusable metadata" in caplog.text
    assert not list(root.glob(".metadata.sqlite.*"))


def test_a_run_that_fails_is_stored_as_well(bucket) -> None:
    root = remote_roots.local(f"{bucket.uri}/team")
    folder = run(root)
    with pytest.raises(ZeroDivisionError), remote_roots.brought_back(folder):
        raise ZeroDivisionError
    assert bucket.keys() == [f"team/{folder.name}/config.json"]


def test_a_store_that_fails_does_not_hide_why_a_run_ended(
    bucket, monkeypatch, caplog
) -> None:
    root = remote_roots.local(f"{bucket.uri}/team")
    folder = run(root)

    def fail(*arguments):
        raise ConfigError("the store is down")

    monkeypatch.setattr(mirror.remote.Store, "put", fail)
    with pytest.raises(ZeroDivisionError), remote_roots.brought_back(folder):
        raise ZeroDivisionError
    assert f"{folder} stays on this machine: the store is down" in caplog.text
    with (
        pytest.raises(ConfigError, match=r"stays on this machine: the store is down"),
        remote_roots.brought_back(folder),
    ):
        pass


def test_runs_without_settings_are_not_taken(bucket) -> None:
    """They are on their way: config.json comes last."""
    bucket.write("team/2026-11-22_0201_quick-heron/log.txt", b"")
    bucket.write("team/2026-11-22_0202_calm-vole/config.json", b"{}")
    bucket.write("team/notes/config.json", b"{}")
    bucket.write("team/schema/pets/labels.txt", b"cat\n")
    root = remote_roots.local(f"{bucket.uri}/team")
    (folder,) = runs.list_runs(root)
    assert folder.name == "2026-11-22_0202_calm-vole"
    # A fetch that was killed before its last file goes on.
    (folder / "config.json").unlink()
    remote_roots.local(root)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert not (root / "notes").exists()
    assert (root / "schema" / "pets" / "labels.txt").read_text() == "cat\n"


def model_artifact(folder: pathlib.Path):
    from tfx.types import standard_artifacts

    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def test_artifacts_are_fetched_when_they_are_read(bucket, new_machine) -> None:
    uri = f"{bucket.uri}/team"
    root = remote_roots.local(uri)
    folder = root / "digits" / "train" / "model" / "5"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_bytes(b"12345")
    (folder / ".hidden").touch()
    version = root / "serving" / "cats" / "7"
    version.mkdir(parents=True)
    link = root / "digits" / "push" / "pushed_model" / "6"
    link.parent.mkdir(parents=True)
    link.symlink_to(version)
    for path in (folder, link):
        artifacts.write(model_artifact(path))
        artifacts.publish(model_artifact(path))
        artifacts.publish(model_artifact(path))  # a second time changes nothing
    assert bucket.keys("team/digits/") == [
        "team/digits/push/pushed_model/6.link.json",
        "team/digits/train/model/5.manifest.json",
        "team/digits/train/model/5/.hidden",
        "team/digits/train/model/5/inner/weights",
    ]
    new_machine()
    other = remote_roots.local(uri)
    (other / "serving" / "cats" / "7").mkdir(parents=True)
    with remote_roots.in_use(other, "digits"):
        pass
    folder = other / "digits" / "train" / "model" / "5"
    assert list(folder.iterdir()) == []
    assert artifacts.damage(model_artifact(folder)) == ""
    assert (folder / "inner" / "weights").read_bytes() == b"12345"
    link = other / "digits" / "push" / "pushed_model" / "6"
    assert link.resolve() == other / "serving" / "cats" / "7"
    # One that the store lost is as damaged as one that this machine lost.
    (folder / "inner" / "weights").unlink()
    bucket.delete("team/digits/train/model/5/inner/weights")
    assert artifacts.damage(model_artifact(folder)) == "inner/weights is missing"


def test_a_link_never_leads_out_of_its_root(bucket) -> None:
    place = "team/digits/push/pushed_model/6.link.json"
    bucket.write(place, json.dumps({"target": "../../../../etc"}).encode())
    root = remote_roots.local(f"{bucket.uri}/team")
    with remote_roots.in_use(root, "digits"):
        pass
    assert not (root / "digits" / "push" / "pushed_model" / "6").is_symlink()


def test_paths_of_this_machine_are_left_alone(tmp_path, monkeypatch) -> None:
    """Nothing is asked of any store, and nothing is written."""
    monkeypatch.setattr(mirror.remote, "Store", None)
    folder = tmp_path / "model"
    folder.mkdir()
    manifest.write(folder, manifest.beside(folder))
    mirror.publish(folder, manifest.beside(folder))
    mirror.publish_link(folder)
    mirror.put(folder)
    mirror.fetch(folder, manifest.beside(folder))
    mirror.withdraw(folder, manifest.beside(folder))
    assert mirror.first_number(tmp_path) == 0
    assert mirror.shown(str(folder)) == str(folder)
    assert not mirror.concerns(tmp_path)
    with remote_roots.in_use(tmp_path, "digits"), remote_roots.brought_back(folder):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {
        "model",
        "model.manifest.json",
    }
