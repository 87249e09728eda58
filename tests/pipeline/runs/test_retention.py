"""Old runs lose their artifacts; what a served model or a kept run needs stays."""

import pathlib

import filelock
import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline.runs import lineage, retention, run_store, runs
from pushed_models import models_config, versions

STATE = metadata_store_pb2.Artifact.State


class Store:
    """A root with runs of an experiment, in the shape that TFX gives them."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        root.mkdir()
        (root / lineage.METADATA_FILE).touch()
        self.mlmd = run_store.connect(root / lineage.METADATA_FILE)
        self._types = {}
        for name in ("Examples", "Model", "PushedModel"):
            kind = metadata_store_pb2.ArtifactType(name=name)
            self._types[name] = self.mlmd.put_artifact_type(kind)
        kind = metadata_store_pb2.ExecutionType(name="component")
        self._execution_type = self.mlmd.put_execution_type(kind)
        kind = metadata_store_pb2.ContextType(name="pipeline_run")
        self._context_type = self.mlmd.put_context_type(kind)

    def artifact(self, kind: str, name: str) -> metadata_store_pb2.Artifact:
        """An artifact with a file of 100 bytes."""
        folder = self.root / "cats" / kind.lower() / name
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 100)
        return metadata_store_pb2.Artifact(
            type_id=self._types[kind], uri=str(folder), state=STATE.LIVE
        )

    def execute(self, run: str, read: list, made: list) -> list[int]:
        """An execution of a run, which may take what it made from the cache."""
        execution = metadata_store_pb2.Execution(type_id=self._execution_type)
        context = metadata_store_pb2.Context(type_id=self._context_type, name=run)
        known = self.mlmd.get_context_by_type_and_name("pipeline_run", run)
        event = metadata_store_pb2.Event
        pairs = [
            (artifact, event(type=kind))
            for artifacts, kind in ((read, event.INPUT), (made, event.OUTPUT))
            for artifact in artifacts
        ]
        number, artifacts, _ = self.mlmd.put_execution(
            execution, pairs, contexts=[known or context]
        )
        workings = self.root / "cats" / "train" / ".system" / "executor_execution"
        (workings / str(number)).mkdir(parents=True)
        return artifacts[len(read) :]

    def train(self, run: str, version: int, examples: int | None = None) -> int:
        """Ingest, train and push; gives the number of the Examples."""
        if examples is None:
            (examples,) = self.execute(run, [], [self.artifact("Examples", run)])
        else:
            (found,) = self.mlmd.get_artifacts_by_id([examples])
            self.execute(run, [], [found])
        read = self.mlmd.get_artifacts_by_id([examples])
        (model,) = self.execute(run, read, [self.artifact("Model", run)])
        folder = self.root / versions.SERVING_FOLDER / "cats" / str(version)
        folder.mkdir(parents=True)
        (folder / versions.SAVED_MODEL_FILE).write_bytes(b"graph")
        link = self.root / "cats" / "pushedmodel" / run
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)
        pushed = metadata_store_pb2.Artifact(
            type_id=self._types["PushedModel"], uri=str(link), state=STATE.LIVE
        )
        pushed.custom_properties["pushed_destination"].string_value = str(folder)
        read = self.mlmd.get_artifacts_by_id([model])
        self.execute(run, read, [pushed])
        run_folder = self.root / run
        run_folder.mkdir()
        for name in (*retention.KEPT_FILES, "log.txt", "report.html"):
            (run_folder / name).write_text("text")
        return examples

    def artifacts(self) -> set[str]:
        """What is there, as 'model/night-1'."""
        return {
            f"{path.parent.name}/{path.name}"
            for kind in ("examples", "model", "pushedmodel")
            for path in (self.root / "cats" / kind).glob("[!.]*")
        }

    def deleted(self) -> set[str]:
        """What the store says is gone."""
        return {
            "/".join(pathlib.Path(artifact.uri).parts[-2:])
            for artifact in self.mlmd.get_artifacts()
            if artifact.state == STATE.DELETED
        }


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Store:
    """Three nights; the third is live."""
    made = Store(tmp_path / "runs")
    for night in (1, 2, 3):
        made.train(f"night-{night}", night)
    return made


def all_of(*nights: str) -> set[str]:
    return {
        f"{kind}/{night}"
        for kind in ("examples", "model", "pushedmodel")
        for night in nights
    }


def test_an_old_run_loses_its_artifacts(store: Store) -> None:
    assert retention.prune(store.root, "cats", {"night-1"}) == {"night-1"}
    assert store.artifacts() == all_of("night-2", "night-3")
    assert store.deleted() == all_of("night-1")
    # Its rows stay, and so does what it was asked and what came of it.
    assert store.mlmd.get_context_by_type_and_name("pipeline_run", "night-1")
    left = {path.name for path in (store.root / "night-1").iterdir()}
    assert left == {runs.CONFIG_FILE, runs.SUMMARY_FILE}
    # A version is the serving folder's: the link is gone, the model is not.
    assert versions.numbers(store.root / "serving" / "cats") == [1, 2, 3]
    workings = store.root / "cats" / "train" / ".system" / "executor_execution"
    assert {path.name for path in workings.iterdir()} == {"4", "5", "6", "7", "8", "9"}


def test_what_the_live_model_came_from_stays(store: Store) -> None:
    models_config.write(
        store.root / "serving",
        {"cats": models_config.Entry((1,), {models_config.STABLE: 1})},
    )
    pruned = retention.prune(store.root, "cats", {"night-1", "night-2"})
    assert pruned == {"night-2"}
    assert store.artifacts() == all_of("night-1", "night-3")
    # Once another one is live, it goes.
    models_config.write(
        store.root / "serving",
        {"cats": models_config.Entry((3,), {models_config.STABLE: 3})},
    )
    pruned = retention.prune(store.root, "cats", {"night-1"})
    assert pruned == {"night-1"}
    assert store.artifacts() == all_of("night-3")


def test_what_a_kept_run_took_from_the_cache_stays(store: Store) -> None:
    shared = store.train("night-4", 4)
    store.train("night-5", 5, examples=shared)
    pruned = retention.prune(
        store.root, "cats", {"night-1", "night-2", "night-3", "night-4"}
    )
    assert len(pruned) == 4
    assert store.artifacts() == {"examples/night-4"} | all_of("night-5") - {
        "examples/night-5"
    }
    # With the run that kept them, they go.
    store.train("night-6", 6)
    pruned = retention.prune(store.root, "cats", {"night-5"})
    assert pruned == {"night-5"}
    assert store.artifacts() == all_of("night-6")


def test_a_run_under_way_is_waited_for(store: Store) -> None:
    with filelock.FileLock(store.root / ".cats.lock"):
        assert retention.prune(store.root, "cats", {"night-1"}) == set()
    assert store.artifacts() == all_of("night-1", "night-2", "night-3")


def test_a_kill_in_the_midst_is_made_good(store: Store, monkeypatch) -> None:
    calls = []

    def die(*values):
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return remove(*values)

    remove = retention._remove
    monkeypatch.setattr(retention, "_remove", die)
    with pytest.raises(KeyboardInterrupt):
        retention.prune(store.root, "cats", {"night-1"})
    monkeypatch.setattr(retention, "_remove", remove)
    pruned = retention.prune(store.root, "cats", {"night-1"})
    assert pruned == {"night-1"}
    assert store.deleted() == all_of("night-1")


def test_half_of_a_deleted_folder_is_never_seen(tmp_path, monkeypatch) -> None:
    """TFX's cache asks whether an artifact exists, not whether it is whole."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(retention.shutil, "rmtree", lambda *values, **named: None)
        retention._remove(folder)
    assert not folder.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".deleting-artifact-")
    retention._remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_of_the_experiment_is_deleted(store: Store, tmp_path) -> None:
    elsewhere = tmp_path / "images"
    elsewhere.mkdir()
    (elsewhere / "cat.png").touch()
    artifact = store.artifact("Examples", "imported")
    artifact.uri = str(elsewhere)
    store.execute("night-1", [], [artifact])
    retention.prune(store.root, "cats", {"night-1"})
    assert (elsewhere / "cat.png").exists()
