"""Addresses of object stores, and sentences for what goes wrong with them."""

import os
import pathlib
import time

import pytest
import requests

from common.errors import ConfigError, DataError
from storage import remote

MAIN = "import sys; from slimline.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("S3://Bucket", "s3://Bucket"),
        (pathlib.Path("s3://bucket/prefix"), "s3://bucket/prefix"),
        ("hdfs://host:9000/runs", "hdfs://host:9000/runs"),
    ],
)
def test_addresses(text, expected: str) -> None:
    assert remote.is_uri(text)
    assert remote.normal(text) == expected


@pytest.mark.parametrize("text", ["runs", "/data/s3:/x", "C:/runs", "./a://b", ""])
def test_paths_of_this_machine(text: str) -> None:
    assert not remote.is_uri(text)


def test_objects_are_listed_fetched_and_deleted(bucket, tmp_path) -> None:
    store = remote.Store(f"{bucket.uri}/team")
    assert store.below() == {}
    assert store.top() == {}
    assert store.file() is None
    source = tmp_path / "source"
    source.write_bytes(b"content")
    store.put({"a/b.txt": source, "c.txt": source})
    store.put_bytes("a/d e+f.txt", b"")
    bucket.write("team/folder/", b"")  # what consoles make of an empty folder
    bucket.write("teams/other.txt", b"")
    assert bucket.keys("team/") == [
        "team/a/b.txt",
        "team/a/d e+f.txt",
        "team/c.txt",
        "team/folder/",
    ]
    assert {name: found.size_bytes for name, found in store.below().items()} == {
        "a/b.txt": 7,
        "a/d e+f.txt": 0,
        "c.txt": 7,
    }
    assert list(store.below("a")) == ["a/b.txt", "a/d e+f.txt"]
    top = store.top()
    assert top["a"] is None
    assert top["c.txt"] == store.below()["c.txt"]
    assert store.exists("c.txt")
    assert not store.exists("a")
    store.get({"a/b.txt": tmp_path / "new" / "b", "c.txt": tmp_path / "new" / "c"})
    assert (tmp_path / "new" / "b").read_bytes() == b"content"
    single = remote.Store(f"{bucket.uri}/team/c.txt")
    assert single.file() == top["c.txt"]
    single.get({"": tmp_path / "single"})
    assert (tmp_path / "single").read_bytes() == b"content"
    store.delete(["a/b.txt", "never.txt"])
    assert list(store.below("a")) == ["a/d e+f.txt"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a//b", "./a"])
def test_names_that_lead_out_of_their_folder_are_refused(bucket, name: str) -> None:
    bucket.write(f"team/{name}", b"")
    with pytest.raises(DataError, match="no file can be named after"):
        remote.Store(f"{bucket.uri}/team").below()


def test_a_missing_bucket(object_store) -> None:
    store = remote.Store("s3://no-such-bucket/prefix")
    for ask in (store.below, store.top, store.file):
        with pytest.raises(ConfigError, match="is not there") as caught:
            ask()
        assert caught.value.expected == "a bucket 'no-such-bucket'"


@pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "gs://", "nonsense://x"])
def test_addresses_that_name_nothing(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"names no bucket|package|cannot read"):
        remote.Store(uri)


def test_a_package_that_is_missing(call, object_store) -> None:
    result, _ = call("import sys; sys.modules['s3fs'] = None")
    assert result.returncode == 2
    assert result.stderr.startswith("error: s3://bucket/prefix needs a package that is")
    assert "tip: pip install 'slimline[s3]'" in result.stderr


@pytest.fixture
def call(warm_forks, tmp_path):
    """Function (code="", **variables): the command against another store, and its seconds.

    s3fs keeps what it once connected to, so it has a process of its own.
    """

    def run(code: str = "", **variables: str):
        start = time.monotonic()
        words = ["python", "-c", f"{code}\n{MAIN}", "models"]
        words += ["--root", "s3://bucket/prefix"]
        result = warm_forks.run(words, tmp_path, {**os.environ, **variables})
        return result, time.monotonic() - start

    return run


def test_a_store_that_is_down(call, object_store) -> None:
    result, seconds = call(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert result.returncode == 2
    assert result.stderr.startswith("error: cannot list s3://bucket/prefix\n")
    assert "Could not connect" in result.stderr
    assert "AWS_ENDPOINT_URL names it" in result.stderr
    assert "Traceback" not in result.stderr
    assert seconds < 30


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "access is denied"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials"),
    ],
)
def test_wrong_credentials(call, object_store, bucket, variables, text: str) -> None:
    address = f"{object_store}/moto-api/reset-auth"
    requests.post(address, data="0", timeout=10)  # from now on keys are checked
    try:
        result, seconds = call(AWS_EC2_METADATA_DISABLED="true", **variables)
    finally:
        requests.post(address, data="inf", timeout=10)
    assert result.returncode == 2
    assert f"cannot list s3://bucket/prefix: {text}" in result.stderr
    assert "AWS_ACCESS_KEY_ID" in result.stderr
    assert "Traceback" not in result.stderr
    assert seconds < 30
