"""What is live, what stands beside it, what is deleted and what is refused."""

import os
import pathlib

import pytest

import slimline as sl
from common.errors import ConfigError
from pushed_models import models, models_config, version_history
from pushed_models.models_config import Entry
from storage import manifest


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A root with versions 1 to 5 of 'cats', pushed one after another."""
    for version in range(1, 6):
        write_version(tmp_path, version)
    return tmp_path


def write_version(root: pathlib.Path, version: int, *, has_manifest=True) -> None:
    folder = root / "serving" / "cats" / str(version)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph %d" % version)
    (folder / "variables" / "variables.index").write_bytes(b"i" * version)
    if has_manifest:
        manifest.write(folder)


def cats(root: pathlib.Path) -> models.PushedModel:
    return models.find(root, "cats")


def entry(root: pathlib.Path) -> Entry:
    return models_config.read(root / "serving")["cats"]


def pin(root: pathlib.Path, *versions: int, **labels: int) -> None:
    models_config.write(root / "serving", {"cats": Entry(versions, labels)})


def rows(root: pathlib.Path) -> list[tuple]:
    found = version_history.read(root / "serving" / "cats")
    return [(row.action, row.version, row.former, row.reason, row.by) for row in found]


def states(root: pathlib.Path) -> dict[int, str]:
    return {found.version: found.state for found in cats(root).list()}


def test_find_says_what_there_is(root) -> None:
    write_other = root / "serving" / "dogs" / "1"
    write_other.mkdir(parents=True)
    assert models.names(root) == ["cats", "dogs"]
    for name in ("cat", "../serving/cats", "", "."):
        with pytest.raises(ConfigError, match="no model") as caught:
            models.find(root, name)
        assert caught.value.found == "cats, dogs"
    with pytest.raises(ConfigError, match="no model 'cats'") as caught:
        models.find(root / "none", "cats")
    assert caught.value.tip.startswith("slimline run")


def test_unpinned_the_newest_is_served_and_the_others_are_kept(root) -> None:
    listed = cats(root).list()
    assert [found.version for found in listed] == [1, 2, 3, 4, 5]
    assert [found.state for found in listed] == ["kept"] * 4 + ["served"]
    assert [found.is_live for found in listed] == [False] * 4 + [True]
    first = listed[0]
    folder = root / "serving" / "cats" / "1"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert (first.model, first.size_bytes, first.by) == ("cats", size, "")
    assert first.is_complete


def test_pushed_is_told_by_the_history_else_by_the_manifest(root) -> None:
    folder = root / "serving" / "cats"
    os.utime(folder / "1" / manifest.FILE, (86_400, 86_400))
    row = version_history.now("push", 2, 1, by="2026-11-26_0440_quick-heron")
    version_history.append(folder, row)
    # Later rows about the same version are not its push.
    version_history.append(folder, version_history.now("promote", 2, 5, by="a hand"))
    first, second, *_ = cats(root).list()
    assert (first.pushed, first.by) == ("1970-01-02T00:00:00+00:00", "")
    assert (second.pushed, second.by) == (row.time, "2026-11-26_0440_quick-heron")


def test_list_shows_what_the_file_names_in_vain_and_what_is_half(root) -> None:
    (root / "serving" / "cats" / "5" / "saved_model.pb").unlink()
    pin(root, 3, 9, stable=9)
    listed = {found.version: found for found in cats(root).list()}
    assert list(listed) == [1, 2, 3, 4, 5, 9]
    assert (listed[9].state, listed[9].is_complete) == ("stable", False)
    assert (listed[9].pushed, listed[9].size_bytes) == (None, 0)
    assert (listed[5].state, listed[5].is_complete) == ("kept", False)
    assert [number for number, found in listed.items() if found.is_live] == [3]


def test_promote(root) -> None:
    change = cats(root).promote(3, reason="calm", by="a test")
    assert change == models.Change(
        model="cats",
        action="promote",
        version=3,
        former=5,
        served=(3, 5),
        labels={"stable": 3},
        is_needed=True,
        is_verified=True,
    )
    assert entry(root) == Entry((3, 5), {"stable": 3})
    assert rows(root) == [("promote", 3, 5, "calm", "a test")]
    assert states(root) == {1: "kept", 2: "kept", 3: "stable", 4: "kept", 5: "served"}
    # The one before the last is not kept loaded for ever.
    cats(root).promote(4)
    assert entry(root) == Entry((3, 4), {"stable": 4})


def test_promote_takes_the_canary_else_the_newest(root) -> None:
    pin(root, 2, 3, stable=2, canary=3)
    assert cats(root).promote().version == 3
    assert entry(root) == Entry((2, 3), {"stable": 3})
    assert cats(root).promote().version == 5
    assert entry(root) == Entry((3, 5), {"stable": 5})


def test_promote_of_what_is_stable_changes_nothing(root) -> None:
    cats(root).promote(5)  # live, but not pinned yet
    assert entry(root) == Entry((5,), {"stable": 5})
    change = cats(root).promote(5)
    assert not change.is_needed
    assert len(rows(root)) == 1


def test_rollback_goes_back_step_by_step(root) -> None:
    for version in (2, 4, 5):
        cats(root).promote(version)
    assert cats(root).rollback(reason="bad on night shots").version == 4
    # TensorFlow Serving would give 5 to requests without label, were it loaded.
    assert entry(root) == Entry((4,), {"stable": 4})
    assert cats(root).rollback().version == 2
    assert [row[:3] for row in rows(root)[-2:]] == [
        ("rollback", 4, 5),
        ("rollback", 2, 4),
    ]
    assert rows(root)[-2][3] == "bad on night shots"


def test_rollback_without_a_history_takes_the_next_older(root) -> None:
    for expected in (4, 3, 2, 1):
        assert cats(root).rollback().version == expected
    with pytest.raises(ConfigError, match="no version of 'cats' to go back to"):
        cats(root).rollback()
    assert entry(root) == Entry((1,), {"stable": 1})


def test_rollback_passes_over_what_is_gone(root) -> None:
    for version in (2, 4, 5):
        cats(root).promote(version)
    (root / "serving" / "cats" / "4" / "saved_model.pb").unlink()
    assert cats(root).rollback().version == 2


def test_rollback_leaves_a_stable_version_whose_files_are_gone(root) -> None:
    """Servers may have it in memory still: 4 is to follow, not 3."""
    cats(root).promote(4)
    cats(root).promote(5)
    (root / "serving" / "cats" / "5" / "saved_model.pb").unlink()
    assert cats(root).prune(0, is_dry=True).versions == (1, 2, 3)
    change = cats(root).rollback()
    assert (change.version, change.former) == (4, 5)
    assert entry(root) == Entry((4,), {"stable": 4})


def test_rollback_to_a_version(root) -> None:
    assert cats(root).rollback(to=2).former == 5
    with pytest.raises(ConfigError, match="version 2 of 'cats' is live already"):
        cats(root).rollback(to=2)
    with pytest.raises(ConfigError, match="has no version '9'") as caught:
        cats(root).rollback(to=9)
    assert caught.value.found == "5, 4, 3, 2, 1"
    assert len(rows(root)) == 1


def test_a_canary_stays_served_over_a_rollback(root) -> None:
    pin(root, 3, 4, stable=3, canary=4)
    cats(root).rollback()
    assert entry(root) == Entry((2, 4), {"stable": 2, "canary": 4})
    # One that becomes stable is no canary any more.
    cats(root).rollback(to=4)
    assert entry(root) == Entry((4,), {"stable": 4})


def test_canary_stands_beside_stable(root) -> None:
    pin(root, 3, stable=3)
    change = cats(root).canary(reason="a look")
    assert (change.version, change.former, change.served) == (5, None, (3, 5))
    assert entry(root) == Entry((3, 5), {"stable": 3, "canary": 5})
    assert models_config.live(root / "serving" / "cats") == 3
    assert states(root)[5] == "canary"
    assert cats(root).canary(4).former == 5
    assert entry(root) == Entry((3, 4), {"stable": 3, "canary": 4})
    assert not cats(root).canary(4).is_needed
    assert cats(root).canary(is_off=True).version == 4
    assert entry(root) == Entry((3,), {"stable": 3})
    assert [row[:3] for row in rows(root)] == [
        ("canary", 5, None),
        ("canary", 4, 5),
        ("canary_off", 4, 4),
    ]


def test_canary_pins_what_was_live_by_being_the_newest(root) -> None:
    cats(root).canary(4)
    assert entry(root) == Entry((4, 5), {"stable": 5, "canary": 4})


def test_canary_keeps_the_version_that_a_rollback_needs(root) -> None:
    cats(root).promote(3)
    cats(root).promote(4)
    cats(root).canary(5)
    assert entry(root).versions == (3, 4, 5)
    cats(root).canary(is_off=True)
    assert entry(root) == Entry((3, 4), {"stable": 4})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": 5}, "version 5 of 'cats' is live and cannot be the canary"),
        ({}, "version 5 of 'cats' is live and cannot be the canary"),
        ({"version": 9}, "model 'cats' has no version '9'"),
        ({"is_off": True}, "'cats' has no canary"),
    ],
)
def test_a_canary_that_cannot_be(root, arguments, message) -> None:
    with pytest.raises(ConfigError) as caught:
        cats(root).canary(**arguments)
    assert caught.value.message == message
    assert entry(root) == Entry()
    assert rows(root) == []


def test_another_canary_than_the_one_there_is_not_taken_off(root) -> None:
    pin(root, 3, 4, stable=3, canary=4)
    with pytest.raises(ConfigError, match="has no canary 5") as caught:
        cats(root).canary(5, is_off=True)
    assert caught.value.found == "version 4 is canary"


def test_a_canary_that_was_removed_by_hand_can_be_taken_off(root) -> None:
    pin(root, 3, 9, stable=3, canary=9)
    with pytest.raises(ConfigError, match="has no version '9'"):
        cats(root).promote()
    assert cats(root).canary(is_off=True).version == 9
    assert entry(root) == Entry((3,), {"stable": 3})


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.promote(3),
        lambda model: model.canary(3),
        lambda model: model.rollback(to=3),
    ],
)
def test_a_damaged_version_never_goes_live(root, change) -> None:
    (root / "serving" / "cats" / "3" / "variables" / "variables.index").write_text("x")
    with pytest.raises(ConfigError, match="version 3 of 'cats' is damaged") as caught:
        change(cats(root))
    assert "variables/variables.index has 1 bytes, its manifest 3" in str(caught.value)
    assert entry(root) == Entry()
    assert rows(root) == []


def test_the_version_to_go_back_to_is_refused_where_it_is_damaged(root) -> None:
    """Not passed over: that it is damaged is to be known, and --to takes another."""
    (root / "serving" / "cats" / "4" / "saved_model.pb").write_text("x")
    with pytest.raises(ConfigError, match="version 4 of 'cats' is damaged"):
        cats(root).rollback()


def test_a_version_without_a_manifest_is_told_apart(root) -> None:
    write_version(root, 6, has_manifest=False)
    assert cats(root).promote(5).is_verified
    assert not cats(root).promote(6).is_verified


def test_dry_changes_write_nothing(root) -> None:
    before = sorted(root.rglob("*"))
    model = cats(root)
    assert model.promote(3, is_dry=True).served == (3, 5)
    assert model.rollback(is_dry=True).version == 4
    assert model.canary(2, is_dry=True).labels == {"stable": 5, "canary": 2}
    assert model.prune(1, is_dry=True).versions == (1, 2, 3)
    with pytest.raises(ConfigError):
        model.rollback(to=9, is_dry=True)
    assert sorted(root.rglob("*")) == before


def test_prune_keeps_the_newest_and_the_one_to_go_back_to(root) -> None:
    sizes = {found.version: found.size_bytes for found in cats(root).list()}
    pruned = cats(root).prune(1, reason="full", by="a test")
    # 5 is live, 4 is where a rollback goes.
    assert pruned == models.Pruned("cats", (1, 2, 3), sizes[1] + sizes[2] + sizes[3])
    assert sorted(states(root)) == [4, 5]
    assert rows(root) == [
        ("prune", number, None, "full", "a test") for number in (1, 2, 3)
    ]
    names = {path.name for path in (root / "serving" / "cats").iterdir()}
    assert names == {"4", "5", "history.jsonl"}
    assert cats(root).prune(0).versions == ()


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_prune_never_deletes_what_is_needed(root, keep) -> None:
    for version in range(6, 10):
        write_version(root, version)
    cats(root).promote(1)
    cats(root).promote(2)
    pin(root, 2, 4, 5, stable=2, canary=4)
    # Served are 2, 4 and 5; back leads to 1.
    cats(root).prune(keep)
    newest = [8, 9][2 - keep :]
    assert sorted(states(root)) == [1, 2, 4, 5, *newest]
    assert cats(root).rollback().version == 1


def test_prune_of_a_negative_number_is_refused(root) -> None:
    with pytest.raises(ConfigError, match="fewer than 0"):
        cats(root).prune(-1)
    assert len(states(root)) == 5


def test_prune_goes_on_where_one_was_killed(root) -> None:
    folder = root / "serving" / "cats"
    half = folder / ".staging-pruned-1-0f0f"
    (folder / "1").rename(half)
    (half / "saved_model.pb").unlink()
    assert cats(root).prune(5).versions == ()
    assert not half.exists()
    # What a push is about to write is not prune's.
    (folder / ".staging-0a0a").mkdir()
    cats(root).prune(5)
    assert (folder / ".staging-0a0a").exists()


def test_verify_names_each_damaged_file(root) -> None:
    folder = root / "serving" / "cats"
    (folder / "2" / "saved_model.pb").unlink()
    (folder / "3" / "variables" / "variables.index").write_text("xyz")
    (folder / "4" / manifest.FILE).unlink()
    (folder / "8").mkdir()
    pin(root, 5, 9, stable=5)
    assert cats(root).verify() == {
        1: [],
        2: ["saved_model.pb is missing"],
        3: [
            "variables/variables.index is not what was written: SHA-256 differs",
        ],
        4: ["assets.extra/manifest.json is missing: its files cannot be verified"],
        5: [],
        8: [
            "assets.extra/manifest.json is missing: its files cannot be verified",
            "saved_model.pb is missing",
        ],
        9: ["models.config names it, but it is missing"],
    }
    assert cats(root).verify(1) == {1: []}
    with pytest.raises(ConfigError, match="has no version '7'"):
        cats(root).verify(7)


def test_a_model_without_a_whole_version(root) -> None:
    for path in (root / "serving" / "cats").glob("*/saved_model.pb"):
        path.unlink()
    model = cats(root)
    with pytest.raises(ConfigError, match="has no complete version"):
        model.promote()
    assert not any(found.is_live for found in model.list())
    assert model.prune(0).versions == ()


def test_what_cannot_be_written_is_a_sentence(root, monkeypatch) -> None:
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models.version_history, "append", fail)
    with pytest.raises(
        ConfigError,
        match=r"promote of version 3 is done, but not recorded in .*: No space",
    ):
        cats(root).promote(3)
    assert models_config.live(root / "serving" / "cats") == 3
    monkeypatch.setattr(models.models_config, "write", fail)
    with pytest.raises(ConfigError, match=r"cannot change .*cats: No space left"):
        cats(root).promote(4)
    assert models_config.live(root / "serving" / "cats") == 3


def test_from_python(root) -> None:
    model = sl.models("cats", root=root)
    assert model.promote(4).version == 4
    model.promote(5)
    assert model.rollback(reason="bad on night shots").version == 4
    assert model.canary(3).version == 3
    assert [found.state for found in model.list()][2:] == ["canary", "stable", "kept"]
    assert model.prune(keep=1).versions == (1, 2)
    assert model.verify() == {3: [], 4: [], 5: []}
    last = model.history()[0]
    assert (last.action, last.by) == ("promote", "slimline.models")
    with pytest.raises(sl.errors.ConfigError, match="no model 'dogs'"):
        sl.models("dogs", root=root)
