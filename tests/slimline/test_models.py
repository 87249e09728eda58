"""slimline models: what it prints, asks and refuses."""

import io
import json
import pathlib
import re
import sys

import pytest

from pushed_models import models_config, version_history
from pushed_models.models_config import Entry
from storage import manifest

SERVING = pathlib.Path("runs/serving")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Versions 5, 6 and 7 of 'cats' in runs/, the last one pushed by a run."""
    monkeypatch.chdir(tmp_path)
    for version in (5, 6, 7):
        write_version("cats", version)
    run = "2026-11-22_0201_quick-heron"
    row = version_history.Row("2026-11-22T02:26:31+00:00", "push", 7, 6, "a@b", by=run)
    version_history.append(SERVING / "cats", row)
    folder = pathlib.Path("runs") / run
    folder.mkdir()
    (folder / "summary.json").write_text('{"metrics": {"top_1": 0.98124}}')
    return tmp_path


def write_version(name, version):
    folder = SERVING / name / str(version)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"g" * 1_234_567)
    manifest.write(folder)


def entry(name="cats"):
    return models_config.read(SERVING)[name]


def as_json(call, *arguments, code=0):
    found, out, _ = call("models", *arguments, "--json")
    assert found == code
    document = json.loads(out)
    assert document.pop("schema_version") == 1
    return document


def test_it_lists_without_a_command(call, root):
    write_version("dogs", 3)
    code, out, err = call("models")
    assert (code, err) == (0, "")
    heading, *lines = out.splitlines()
    assert re.split(r" {2,}", heading) == [
        "model",
        "version",
        "pushed (UTC)",
        "state",
        "size",
        "test top-1",
        "run",
    ]
    assert [line.split()[:2] for line in lines] == [
        ["cats", "5"],
        ["cats", "6"],
        ["cats", "7"],
        ["dogs", "3"],
    ]
    assert lines[2].split() == [
        "cats",
        "7",
        "2026-11-22",
        "02:26",
        "served",
        "1.2",
        "MB",
        "0.9812",
        "2026-11-22_0201_quick-heron",
    ]
    assert lines[0].split()[4:] == ["kept", "1.2", "MB"]
    assert call("models", "list")[1] == out
    (dogs,) = call("models", "list", "dogs")[1].splitlines()[1:]
    assert dogs.split() == lines[3].split()
    assert call("models", "-q") == (0, "", "")


def test_list_as_json(call, root):
    *_, last = as_json(call)["versions"]
    size = last.pop("size_bytes")
    assert size > 1_234_567
    assert last == {
        "model": "cats",
        "version": 7,
        "state": "served",
        "is_live": True,
        "is_complete": True,
        "pushed": "2026-11-22T02:26:31+00:00",
        "by": "2026-11-22_0201_quick-heron",
        "test_top_1": 0.98124,
    }
    assert as_json(call, "list", "cats")["versions"][0]["test_top_1"] is None


def test_no_models_yet(call):
    text = "no models in runs: slimline run trains and pushes one\n"
    assert call("models") == (0, text, "")
    assert call("models", "verify") == (0, text, "")
    assert as_json(call) == {"versions": []}


def test_promote_and_rollback(call, root):
    assert call("models", "promote", "cats", "5", "--reason", "calm") == (
        0,
        "cats     version 5 is live, before it version 7\n"
        "served   5 (stable), 7\n"
        "undo     slimline models rollback cats   (back to version 7)\n",
        "",
    )
    assert entry() == Entry((5, 7), {"stable": 5})
    assert call("models", "rollback", "cats") == (
        0,
        "cats     version 7 is live, before it version 5\nserved   7 (stable)\n",
        "",
    )
    assert call("models", "rollback", "cats", "--to", "6", "-q") == (0, "", "")
    assert entry() == Entry((6,), {"stable": 6})
    rows = version_history.read(SERVING / "cats")[1:]
    assert [(row.action, row.version, row.reason, row.by) for row in rows] == [
        ("promote", 5, "calm", "slimline models promote"),
        ("rollback", 7, "", "slimline models rollback"),
        ("rollback", 6, "", "slimline models rollback"),
    ]


def test_promote_what_is_live(call, root):
    assert call("models", "promote", "cats")[1] == (
        "cats     version 7 is stable, and was live already\nserved   7 (stable)\n"
    )
    assert call("models", "promote", "cats", "7")[1] == (
        "version 7 of 'cats' is stable already: nothing was changed\n"
    )


def test_the_undo_line_names_another_root(call, root):
    pathlib.Path("runs").rename("my runs")
    _, out, _ = call("models", "promote", "cats", "5", "--root", "my runs")
    assert "slimline models rollback cats --root 'my runs'   (back" in out


def test_canary_on_and_off(call, root):
    call("models", "promote", "cats", "6")
    assert call("models", "canary", "cats")[1] == (
        "cats     version 7 is canary, beside 6\nserved   6 (stable), 7 (canary)\n"
    )
    assert call("models", "canary", "cats", "5")[1] == (
        "cats     version 5 is canary, beside 6, in place of 7\n"
        "served   5 (canary), 6 (stable)\n"
    )
    assert call("models", "canary", "cats", "5")[1] == (
        "version 5 of 'cats' is canary already: nothing was changed\n"
    )
    assert call("models", "canary", "cats", "--off")[1] == (
        "cats     version 5 is canary no more\nserved   6 (stable)\n"
    )
    code, out, err = call("models", "canary", "cats", "--off")
    assert (code, out, err) == (2, "", "error: 'cats' has no canary\n")


def test_a_version_without_a_manifest_is_told(call, root):
    (SERVING / "cats" / "6" / manifest.FILE).unlink()
    _, out, _ = call("models", "rollback", "cats")
    assert "check    version 6 has no manifest, so nothing shows" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("promote cats 5", "version 5 would be live, before it version 7"),
        ("rollback cats", "version 6 would be live, before it version 7"),
        ("canary cats 6", "version 6 would be canary, beside 7"),
        ("prune cats --keep 0", "would delete version 5 of 'cats' (1.2 MB)"),
    ],
)
def test_dry_runs_write_nothing(call, root, words, told):
    before = sorted(root.rglob("*"))
    code, out, err = call("models", *words.split(), "--dry-run")
    assert (code, err) == (0, "")
    assert told in out
    assert out.endswith("nothing was changed\n") == ("prune" not in words)
    assert as_json(call, *words.split(), "--dry-run")["dry_run"] is True
    assert call("models", *words.split(), "--dry-run", "-q") == (0, "", "")
    assert sorted(root.rglob("*")) == before


def test_a_change_as_json(call, root):
    assert as_json(call, "promote", "cats", "5") == {
        "dry_run": False,
        "change": {
            "model": "cats",
            "action": "promote",
            "version": 5,
            "former": 7,
            "served": [5, 7],
            "labels": {"stable": 5},
            "is_needed": True,
            "is_verified": True,
        },
    }


def test_prune_needs_yes_without_a_terminal(call, root, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = call("models", "prune", "cats", "--keep", "1")
    assert (code, out) == (2, "")
    assert err == (
        "error: this would delete version 5 of 'cats' (1.2 MB)\n  tip: --yes does it unasked\n"
    )
    assert (SERVING / "cats" / "5").exists()
    done = call("models", "prune", "cats", "--keep", "1", "--yes", "--reason", "full")
    assert done == (0, "deleted version 5 of 'cats' (1.2 MB)\n", "")
    assert not (SERVING / "cats" / "5").exists()
    assert version_history.read(SERVING / "cats")[-1].reason == "full"
    # Nothing is left to ask about.
    assert call("models", "prune", "cats", "--keep", "1") == (
        0,
        "nothing to delete of 'cats': the others are kept or needed\n",
        "",
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_prune_asks_on_a_terminal(call, root, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    code, out, err = call("models", "prune", "cats", "--keep", "1")
    assert "delete version 5 of 'cats' (1.2 MB)? [y/N]" in err
    assert (SERVING / "cats" / "5").exists() == (answer != "y")
    if answer == "y":
        assert (code, out) == (0, "deleted version 5 of 'cats' (1.2 MB)\n")
    else:
        assert (code, out) == (130, "")
        assert "nothing was deleted" in err


def test_verify(call, root):
    assert call("models", "verify") == (
        0,
        "✓ cats@5 is what was pushed\n✓ cats@6 is what was pushed\n"
        "✓ cats@7 is what was pushed\n",
        "",
    )
    assert call("models", "verify", "-q") == (0, "", "")
    (SERVING / "cats" / "6" / "saved_model.pb").write_bytes(b"other")
    code, out, err = call("models", "verify", "cats", "-q")
    assert (code, err) == (1, "")
    assert out == (
        "✗ cats@6 is not what was pushed\n"
        "    saved_model.pb has 5 bytes, its manifest 1,234,567\n"
    )
    assert call("models", "verify", "cats@7") == (
        0,
        "✓ cats@7 is what was pushed\n",
        "",
    )
    assert as_json(call, "verify", "cats@6", code=1) == {
        "sound": False,
        "versions": [
            {
                "model": "cats",
                "version": 6,
                "problems": ["saved_model.pb has 5 bytes, its manifest 1,234,567"],
            }
        ],
    }


def test_history(call, root):
    call("models", "promote", "cats", "5", "--reason", "calm")
    call("models", "canary", "cats", "6")
    call("models", "canary", "cats", "--off")
    _, out, _ = call("models", "history", "cats")
    heading, *lines = out.splitlines()
    assert heading.split() == (
        ["time", "(UTC)", "action", "version", "from", "who", "by", "reason"]
    )
    assert lines[0].split() == (
        ["2026-11-22", "02:26", "push", "7", "6", "a@b", "2026-11-22_0201_quick-heron"]
    )
    assert re.split(r" {2,}", lines[1])[-2:] == ["slimline models promote", "calm"]
    assert [line[18:28] for line in lines] == [
        "push      ",
        "promote   ",
        "canary    ",
        "canary off",
    ]
    rows = as_json(call, "history", "cats")["rows"]
    assert rows[0]["from"] == 6
    write_version("dogs", 1)
    assert call("models", "history", "dogs")[1] == "no history of 'dogs' yet\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("list cat", "no model 'cat' in runs/serving"),
        ("promote cat", "no model 'cat' in runs/serving"),
        ("promote ../cats", "no model '../cats' in runs/serving"),
        ("promote cats 9", "model 'cats' has no version '9'"),
        ("rollback cats --to 9", "model 'cats' has no version '9'"),
        ("verify cats@9", "model 'cats' has no version '9'"),
        ("verify cats@x", "'cats@x' names no version"),
        ("prune cats --keep -1 --yes", "invalid value for '--keep'"),
        ("prune cats --yes", "missing option '--keep'"),
        ("upgrade cats", "no such command 'upgrade'"),
    ],
)
def test_mistakes_are_sentences(call, root, words, message):
    code, out, err = call("models", *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert "Traceback" not in err
    assert entry() == Entry()


def test_a_file_of_models_that_nobody_can_read(call, root):
    (SERVING / "models.config").write_text("model_config_list {")
    for words in (["list"], ["promote", "cats"], ["prune", "cats", "--keep", "1"]):
        code, _, err = call("models", *words)
        assert code == 2
        assert "cannot read runs/serving/models.config" in err
