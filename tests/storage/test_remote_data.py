"""Images in an object store, fetched once and again where they change."""

import pathlib

import pytest

from common.errors import ConfigError, DataError
from storage import remote, remote_data


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """Names of the objects that were fetched."""
    names: list[str] = []
    get = remote.Store.get

    def noted(store, files):
        names.extend(files)
        get(store, files)

    monkeypatch.setattr(remote.Store, "get", noted)
    return names


def again(uri: str) -> pathlib.Path:
    """As in another process."""
    remote_data.local.cache_clear()
    return remote_data.local(uri)


def test_an_archive_is_fetched_once(bucket, fetched) -> None:
    bucket.write("sets/flowers.tar.gz", b"first")
    uri = f"{bucket.uri}/sets/flowers.tar.gz"
    path = again(uri)
    assert path.name == "flowers.tar.gz"
    assert path.read_bytes() == b"first"
    assert again(uri) == path
    assert fetched == [""]
    bucket.write("sets/flowers.tar.gz", b"other")
    assert again(uri).read_bytes() == b"other"
    assert fetched == ["", ""]


def test_of_a_folder_only_what_changed_is_fetched(bucket, fetched) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        bucket.write(f"pets/{name}", name.encode())
    uri = f"{bucket.uri}/pets/"
    path = again(uri)
    assert path.name == "pets"
    assert fetched == ["cat/1.png", "cat/2.png", "dog/1.png"]
    bucket.write("pets/cat/2.png", b"new")
    bucket.write("pets/cow/1.png", b"cow")
    bucket.delete("pets/dog/1.png")
    (path / "cat" / "1.png").unlink()
    (path / "stray.png").touch()
    fetched.clear()
    assert again(uri) == path
    assert fetched == ["cat/1.png", "cat/2.png", "cow/1.png"]
    files = {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*.png")
    }
    assert files == {
        "cat/1.png": b"cat/1.png",
        "cat/2.png": b"new",
        "cow/1.png": b"cow",
    }


def test_spans_behind_a_pattern(bucket) -> None:
    bucket.write("sets/pets/1/images.zip", b"one")
    bucket.write("sets/pets/2/images.zip", b"two")
    path = again(f"{bucket.uri}/sets/pets/{{SPAN}}/images.zip")
    assert path.parts[-3:] == ("pets", "{SPAN}", "images.zip")
    assert (path.parents[1] / "2" / "images.zip").read_bytes() == b"two"


def test_what_is_interrupted_goes_on(bucket, fetched, monkeypatch) -> None:
    for number in range(5):
        bucket.write(f"pets/{number}.png", b"x")
    monkeypatch.setattr(remote_data, "_AT_ONCE", 2)
    get = remote.Store.get

    def broken(store, files):
        if len(fetched) >= 4:
            raise ConfigError("the store is down")
        get(store, files)

    with monkeypatch.context() as patched:
        patched.setattr(remote.Store, "get", broken)
        with pytest.raises(ConfigError, match="the store is down"):
            again(f"{bucket.uri}/pets")
    assert len(fetched) == 4
    again(f"{bucket.uri}/pets")
    assert sorted(fetched) == [f"{number}.png" for number in range(5)]


def test_nothing_there(bucket) -> None:
    with pytest.raises(DataError, match=r"no data at s3://.*/nothing\.tar"):
        again(f"{bucket.uri}/nothing.tar")


def test_a_file_where_a_folder_is(bucket) -> None:
    bucket.write("pets/cat", b"file")
    bucket.write("pets/cat/1.png", b"in a folder")
    with pytest.raises(DataError, match="cannot keep a copy"):
        again(f"{bucket.uri}/pets")
