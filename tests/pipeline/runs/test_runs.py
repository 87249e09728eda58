import datetime
import json
import random
import re
import shutil

import pytest

from common.errors import ConfigError
from pipeline.runs import runs

NOW = datetime.datetime(2026, 11, 22, 2, 1, tzinfo=datetime.UTC)


def make(root, name):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / runs.CONFIG_FILE).write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    for name in (
        "2026-11-20_0900_quick-heron",
        "2026-11-21_0900_quick-otter",
        "2026-11-21_1000_calm-otter",
    ):
        make(root, name)
    # What runs share lies beside them.
    for name in ("serving", "digits_resnet_20", "data", "2026-11-22_0000_Not-a-run"):
        (root / name).mkdir()
    (root / "2026-11-23_0000_no-folder").touch()
    return root


def test_create_names_and_records(tmp_path):
    folder = runs.create(
        tmp_path / "new" / "runs",
        {"train.epochs": 30.0},
        {"train.epochs": "--set"},
        now=NOW,
    )
    assert re.fullmatch(r"2026-11-22_0201_[a-z]+-[a-z]+", folder.name)
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert record["settings"] == {"train.epochs": {"value": 30.0, "origin": "--set"}}
    assert record["created"] == "2026-11-22T02:01:00+00:00"


def test_create_never_takes_a_folder_or_words_that_exist(tmp_path):
    folders = {
        runs.create(tmp_path, {}, {}, now=NOW, words=random.Random(7)) for _ in range(5)
    }
    assert len({runs.two_words(folder) for folder in folders}) == 5


def test_create_gives_up_when_no_name_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_ADJECTIVES", "calm")
    monkeypatch.setattr(runs, "_ANIMALS", "otter")
    first = runs.create(tmp_path, {}, {}, now=NOW)
    with pytest.raises(ConfigError, match="no free name for a run"):
        runs.create(tmp_path, {}, {}, now=NOW)
    later = runs.create(tmp_path, {}, {}, now=NOW + datetime.timedelta(minutes=1))
    assert runs.two_words(later) == runs.two_words(first) == "calm-otter"


def test_create_in_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to"):
        runs.create(tmp_path / "file", {}, {})


def test_words_are_words_and_stand_once():
    for words in (runs._ADJECTIVES.split(), runs._ANIMALS.split()):
        assert len(set(words)) == len(words)
        assert all(re.fullmatch(r"[a-z]+", word) for word in words)


def test_list_holds_runs_only_oldest_first(root):
    assert [path.name[:15] for path in runs.list_runs(root)] == [
        "2026-11-20_0900",
        "2026-11-21_0900",
        "2026-11-21_1000",
    ]
    assert runs.list_runs(root / "none") == []


def test_runs_of_one_minute_are_listed_as_they_began_though_copied(tmp_path):
    words = random.Random(7)
    began = [
        runs.create(
            tmp_path / "root",
            {},
            {},
            now=NOW + datetime.timedelta(seconds=seconds),
            words=words,
        )
        for seconds in (0, 0.25, 0.5, 1, 1.75)
    ]
    copy = tmp_path / "copy"
    copy.mkdir()
    for folder in random.Random(0).sample(began, len(began)):
        shutil.copytree(folder, copy / folder.name, copy_function=shutil.copyfile)
    names = [folder.name for folder in began]
    assert names != sorted(names)  # The words alone would not tell.
    assert [path.name for path in runs.list_runs(tmp_path / "root")] == names
    assert [path.name for path in runs.list_runs(copy)] == names
    assert runs.find(copy, "latest").name == names[-1]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("latest", "calm-otter"),
        ("quick-heron", "quick-heron"),
        ("quick-o", "quick-otter"),
        ("2026-11-20", "quick-heron"),
        ("2026-11-21_1", "calm-otter"),
        ("2026-11-21_0900_quick-otter", "quick-otter"),
    ],
)
def test_find(root, wanted, words):
    assert runs.two_words(runs.find(root, wanted)) == words


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("quick", "'quick' fits 2 runs"),
        ("2026-11-21", "'2026-11-21' fits 2 runs"),
        ("serving", "no run 'serving'"),
        ("", "no run ''"),
        ("latest:passed", "none of the 3 runs"),
    ],
)
def test_find_refuses(root, wanted, message):
    with pytest.raises(ConfigError, match=message):
        runs.find(root, wanted)


def test_latest_passed_passes_over_failed_and_unfinished(root):
    passed = runs.find(root, "quick-heron")
    (passed / runs.SUMMARY_FILE).write_text('{"passed": true}', encoding="utf-8")
    refused = runs.find(root, "quick-otter")
    (refused / runs.SUMMARY_FILE).write_text('{"passed": false}', encoding="utf-8")
    assert runs.find(root, "latest:passed") == passed


def test_find_without_runs(tmp_path):
    with pytest.raises(ConfigError, match="no runs in"):
        runs.find(tmp_path, "latest")


@pytest.mark.parametrize("name", ["a b", "ä%20#{x}", "it's", "照片", "-x", "a;b&c"])
def test_a_root_with_any_characters(tmp_path, name: str) -> None:
    folder = runs.create(tmp_path / name, {"name": "cats"}, {}, group="g [1]")
    assert runs.list_runs(tmp_path / name) == [folder]
    assert runs.find(tmp_path / name, "latest") == folder


@pytest.mark.parametrize("name", ["a[1]", "a*", "who?"])
def test_a_root_that_reads_as_a_pattern_is_refused_at_once(tmp_path, name) -> None:
    with pytest.raises(ConfigError, match="the path of the runs holds"):
        runs.create(tmp_path / name, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_group_of_runs_reads_one_span(tmp_path) -> None:
    values = {"name": "cats"}
    first = runs.create(tmp_path, values, {}, group="monday", now=NOW)
    runs.note_span(first, 7)
    later = NOW + datetime.timedelta(days=1)
    second = runs.create(tmp_path, values, {}, group="tuesday", now=later)
    runs.note_span(second, 8)
    # A run that was refused before it read any has noted none.
    runs.create(
        tmp_path, values, {}, group="monday", now=later + datetime.timedelta(hours=1)
    )
    assert runs.span_of_group(tmp_path, "monday", "cats") == 7
    assert runs.span_of_group(tmp_path, "tuesday", "cats") == 8
    assert runs.span_of_group(tmp_path, "monday", "dogs") is None
    assert runs.group_of(runs.create(tmp_path, values, {})) == ""
