"""Every kind of damage to a pushed version has a name."""

import json
import os
import pathlib

import pytest

from storage import manifest


@pytest.fixture
def version(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "7"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets.extra").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"requests")
    manifest.write(folder)
    return folder


def test_what_was_pushed_is_sound(version) -> None:
    assert manifest.exists(version)
    assert manifest.problems(version) == []
    document = json.loads((version / "assets.extra" / "manifest.json").read_text())
    assert sorted(document["files"]) == [
        "assets.extra/tf_serving_warmup_requests",
        "saved_model.pb",
        "variables/variables.index",
    ]
    assert document["files"]["saved_model.pb"] == {
        "bytes": 5,
        # echo -n graph | sha256sum
        "sha256": "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d",
    }


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda folder: (folder / "saved_model.pb").write_bytes(b"grapf"),
            "saved_model.pb is not what was written: SHA-256 differs",
        ),
        (
            lambda folder: (folder / "saved_model.pb").write_bytes(b"gra"),
            "saved_model.pb has 3 bytes, its manifest 5",
        ),
        (
            lambda folder: (folder / "variables" / "variables.index").unlink(),
            "variables/variables.index is missing",
        ),
        (
            lambda folder: (
                folder / "assets.extra/tf_serving_warmup_requests"
            ).unlink(),
            "assets.extra/tf_serving_warmup_requests is missing",
        ),
        (
            lambda folder: (folder / "variables" / "more").touch(),
            "variables/more is not in the manifest",
        ),
        (
            lambda folder: (folder / "more").symlink_to("/etc/hostname"),
            "more is a link",
        ),
        (
            lambda folder: (folder / "assets").symlink_to("/etc"),
            "assets is a link",
        ),
        (
            lambda folder: (folder / "assets.extra" / "card").symlink_to("/etc/hosts"),
            "assets.extra/card is a link",
        ),
        (
            lambda folder: os.mkfifo(folder / "assets.extra" / "pipe"),
            "assets.extra/pipe is not a regular file",
        ),
        (
            lambda folder: (folder / manifest.FILE).unlink(),
            "assets.extra/manifest.json cannot be read: FileNotFoundError",
        ),
        (
            lambda folder: (folder / manifest.FILE).write_text("[]"),
            "assets.extra/manifest.json cannot be read: TypeError",
        ),
        (
            lambda folder: (folder / manifest.FILE).write_text("[" * 100_000),
            "assets.extra/manifest.json cannot be read: RecursionError",
        ),
        (
            lambda folder: (folder / manifest.FILE).write_text('{"files'),
            "assets.extra/manifest.json cannot be read: JSONDecodeError",
        ),
    ],
)
def test_damage_is_named(version, damage, sentence) -> None:
    damage(version)
    assert manifest.problems(version) == [sentence]


def test_a_file_behind_a_link_is_not_what_was_pushed(version, tmp_path) -> None:
    """Though its bytes are: what it leads to may change behind the manifest's back."""
    (version / "saved_model.pb").rename(tmp_path / "elsewhere")
    (version / "saved_model.pb").symlink_to(tmp_path / "elsewhere")
    assert manifest.problems(version) == ["saved_model.pb is a link"]


def test_a_pipe_in_place_of_a_file_is_not_waited_for(version) -> None:
    for name in ("saved_model.pb", "assets.extra/tf_serving_warmup_requests"):
        (version / name).unlink()
        os.mkfifo(version / name)
    assert manifest.problems(version) == [
        "assets.extra/tf_serving_warmup_requests is not a regular file",
        "saved_model.pb is not a regular file",
    ]
    (version / manifest.FILE).unlink()
    os.mkfifo(version / manifest.FILE)
    assert manifest.problems(version) == [
        "assets.extra/manifest.json cannot be read: FileNotFoundError"
    ]


def test_several_damages_are_sorted_by_file(version) -> None:
    (version / "saved_model.pb").unlink()
    (version / "variables" / "variables.index").write_bytes(b"indes")
    (version / "a").touch()
    assert [sentence.split()[0] for sentence in manifest.problems(version)] == [
        "a",
        "saved_model.pb",
        "variables/variables.index",
    ]


def test_what_is_added_to_assets_extra_later_does_no_harm(version) -> None:
    (version / "assets.extra" / "model_card.md").write_text("# Model card")
    assert manifest.problems(version) == []


def test_equal_content_has_an_equal_digest(version, tmp_path) -> None:
    other = tmp_path / "8"
    (other / "assets.extra").mkdir(parents=True)
    (other / "saved_model.pb").write_bytes(b"graph")
    manifest.write(other)
    assert manifest.digest(other) != manifest.digest(version)
    (other / "variables").mkdir()
    for name in (
        "variables/variables.index",
        "assets.extra/tf_serving_warmup_requests",
    ):
        (other / name).write_bytes((version / name).read_bytes())
    manifest.write(other)
    assert manifest.digest(other) == manifest.digest(version)
