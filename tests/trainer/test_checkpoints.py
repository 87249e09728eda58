"""A checkpoint exists by its commit record, whatever happens to the files."""

import pathlib

import pytest
import tensorflow as tf

from common.errors import TrainError
from trainer.checkpoints import CheckpointStore

v1 = tf.compat.v1


@pytest.fixture
def store(tmp_path: pathlib.Path) -> CheckpointStore:
    """Store with checkpoints of steps 1, 2 and 3; the variable holds the step."""
    store = CheckpointStore(tmp_path / "checkpoints")
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.get_variable("value", initializer=0)
        saver = v1.train.Saver([value], max_to_keep=0)
        for step in (1, 2, 3):
            session.run(value.assign(step))
            store.save(session, saver, step, {"seen": step})
    return store


def data_file(store: CheckpointStore, step: int) -> pathlib.Path:
    (path,) = store.folder.glob(f"model.ckpt-{step}.data-*")
    return path


def test_latest_is_the_newest(store: CheckpointStore) -> None:
    assert store.latest() == 3
    assert tf.train.load_checkpoint(store.path(3)).get_tensor("value") == 3


def test_empty_folder_has_none(tmp_path: pathlib.Path) -> None:
    assert CheckpointStore(tmp_path / "nothing").latest() is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "missing"])
def test_damaged_data_falls_back_to_the_one_before(
    store: CheckpointStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = data_file(store, 3)
    content = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "cut":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
    assert store.latest() == 2
    assert path.name in caplog.text


def test_damaged_record_falls_back_to_the_one_before(store: CheckpointStore) -> None:
    (store.folder / "commit-3.json").write_text("{")
    assert store.latest() == 2


def test_data_without_record_is_no_checkpoint(store: CheckpointStore) -> None:
    (store.folder / "commit-3.json").unlink()
    assert store.latest() == 2


def test_no_whole_checkpoint_is_an_error_not_step_0(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        data_file(store, step).write_bytes(b"")
    with pytest.raises(TrainError, match="no whole checkpoint"):
        store.latest()


def test_record_cannot_point_outside(store: CheckpointStore) -> None:
    record = store.folder / "commit-3.json"
    record.write_text('{"step": 3, "files": {"../../x": {"bytes": 1, "sha256": ""}}}')
    assert store.latest() == 2


def test_prune_keeps_the_newest_and_the_best(store: CheckpointStore) -> None:
    store.prune(keep=1, best_step=1)
    assert store.steps() == [3, 1]
    assert not list(store.folder.glob("model.ckpt-2.*"))


def test_state_belongs_to_its_checkpoint_and_can_be_amended(
    store: CheckpointStore,
) -> None:
    assert [store.state(step)["seen"] for step in (1, 2, 3)] == [1, 2, 3]
    store.amend(2, {"seen": 20})
    assert store.state(2) == {"seen": 20}
    assert store.steps() == [3, 2, 1]
    data_file(store, 3).unlink()
    assert store.latest() == 2
