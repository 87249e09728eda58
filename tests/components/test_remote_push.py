"""A push to an object store, killed at every write: what a reader takes is whole."""

import pathlib
import signal
import time

import pytest

from common.errors import ConfigError
from components.model_pusher import publishing
from pipeline.runs import remote_roots
from pushed_models import models, models_config, version_history, versions
from pushed_models.models_config import Entry
from storage import manifest, mirror

# Ends itself before a write to the store, counted from 0, then does what it is told.
CHILD = """
import os, signal, sys
import s3fs
from storage import mirror

WRITES = {"put_object", "delete_object", "delete_objects", "copy_object",
          "create_multipart_upload", "upload_part", "complete_multipart_upload"}
uri, model, deadly, action = sys.argv[1:]
call, count = s3fs.S3FileSystem._call_s3, 0

async def counted(self, method, *arguments, **options):
    global count
    if method in WRITES:
        if count == int(deadly):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
    return await call(self, method, *arguments, **options)

s3fs.S3FileSystem._call_s3 = counted
import pathlib
from components.model_pusher import publishing
from pipeline.runs import remote_roots
from pushed_models import models

root = remote_roots.local(uri)
if action == "push":
    publishing.publish(pathlib.Path(model), root / "serving" / "cats")
elif action == "rollback":
    models.find(root, "cats").rollback()
else:
    models.find(root, "cats").prune(0)
print(count)
"""


@pytest.fixture
def serving(bucket) -> pathlib.Path:
    """Folder of the model's versions in the mirror of a root in a bucket."""
    return remote_roots.local(f"{bucket.uri}/team/cats") / "serving" / "cats"


@pytest.fixture
def act(warm_forks, tmp_path: pathlib.Path):
    """Function (uri, model, deadly, action) -> how the child ended."""

    def run(uri: str, model: pathlib.Path, deadly: int, action: str):
        words = ["python", "-c", CHILD, uri, str(model), str(deadly), action]
        return warm_forks.run(words, tmp_path)

    return run


def read(uri: str) -> tuple[int, list[int]]:
    """The live version as a reader finds it, and all; each of them is whole."""
    folder = remote_roots.local(uri) / "serving" / "cats"
    found = versions.present(folder)
    for number in found:
        assert manifest.problems(folder / str(number)) == []
    live = models_config.live(folder)
    assert live is not None
    return live, found


def test_files_come_first_and_the_manifest_last(
    model: pathlib.Path, serving: pathlib.Path, bucket, monkeypatch
) -> None:
    order: list[list[str]] = []
    put = mirror.remote.Store.put

    def noted(store, files):
        order.append(sorted(name.partition("/")[2].partition("/")[2] for name in files))
        put(store, files)

    monkeypatch.setattr(mirror.remote.Store, "put", noted)
    version = publishing.publish(model, serving)
    assert order == [
        [f"{version}/saved_model.pb", f"{version}/variables/variables.index"],
        [f"{version}/assets.extra/manifest.json"],
        ["history.jsonl"],
    ]
    prefix = "team/cats/serving"
    assert bucket.keys() == [
        f"{prefix}/cats/{version}/assets.extra/manifest.json",
        f"{prefix}/cats/{version}/saved_model.pb",
        f"{prefix}/cats/{version}/variables/variables.index",
        f"{prefix}/cats/history.jsonl",
        f"{prefix}/models.config",
    ]


@pytest.mark.parametrize("action", ["push", "rollback", "prune"])
def test_killed_at_every_write(
    act, model: pathlib.Path, serving: pathlib.Path, bucket, new_machine, action: str
) -> None:
    """Pinned versions: then a push writes models.config, too."""
    uri = f"{bucket.uri}/team/cats"
    first, second, third = (publishing.publish(model, serving) for _ in range(3))
    pinned = Entry((second, third), {"stable": third})
    deadly, lived = 0, set()
    while True:
        with models_config.lock(serving.parent):
            models_config.write(serving.parent, {"cats": pinned})
        child = act(uri, model, deadly, action)
        machine = read(uri)  # the one that was killed goes on
        new_machine()
        assert read(uri) == machine
        live, found = machine
        lived.add(live)
        if action == "push":
            assert {first, second, third} <= {*found}
            assert live in (third, found[-1])
        else:
            assert live in (third, second)
        serving = remote_roots.local(uri) / "serving" / "cats"
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
        deadly += 1
    if action == "push":
        # Died before each write: files, manifest, configuration, history.
        assert int(child.stdout) == deadly == 5
        assert live == found[-1] > third
        # Of five that were killed, the two that had written their manifest are whole.
        assert len(found) == 6
    elif action == "rollback":
        assert int(child.stdout) == deadly == 2
        assert lived == {third, second}
    else:
        # Without its manifest, the first write, the version is gone for all readers.
        assert deadly == 2
        assert found == [second, third]


def test_a_store_that_takes_no_version_leaves_nothing(
    model: pathlib.Path, serving: pathlib.Path, bucket, monkeypatch
) -> None:
    first = publishing.publish(model, serving)
    before = bucket.keys()

    def fail(*arguments, **options):
        raise ConfigError("the store is full")

    monkeypatch.setattr(mirror, "publish", fail)
    with pytest.raises(ConfigError, match="the store is full"):
        publishing.publish(model, serving)
    assert bucket.keys() == before
    assert versions.present(serving) == [first]


def test_two_machines_see_each_others_versions(
    model: pathlib.Path, serving: pathlib.Path, bucket, new_machine
) -> None:
    uri = f"{bucket.uri}/team/cats"
    first = publishing.publish(model, serving)
    new_machine()
    other = remote_roots.local(uri)
    second = publishing.publish(model, other / "serving" / "cats")
    assert second > first
    # The first machine has not looked since; its push does.
    third = publishing.publish(model, serving)
    assert third > second
    assert versions.numbers(serving) == [first, second, third]
    change = models.find(remote_roots.local(uri), "cats").rollback(to=first)
    assert (change.former, change.served) == (third, (first,))
    rows = version_history.read(remote_roots.local(uri) / "serving" / "cats")
    assert [row.action for row in rows] == ["push", "push", "push", "rollback"]


def test_what_killed_pushes_left_in_the_store_is_swept_after_a_day(
    model: pathlib.Path, serving: pathlib.Path, bucket
) -> None:
    young = int(time.time()) - 100
    for number in (1000, young):
        bucket.write(f"team/cats/serving/cats/{number}/variables/variables.index", b"")
    version = publishing.publish(model, serving)
    assert versions.present(serving) == [version]
    assert not bucket.keys("team/cats/serving/cats/1000/")
    assert bucket.keys(f"team/cats/serving/cats/{young}/")
    models.find(serving.parents[1], "cats").prune(0)
    assert bucket.keys(f"team/cats/serving/cats/{version}/")
