"""`slimline report`, and how the end of a run names its page."""

import dataclasses
import json
import pathlib

import pytest

import slimline.run_result
from common.errors import ConfigError
from pipeline.runs import runs
from report import building
from slimline.terminal import closing


@pytest.fixture
def folder(tmp_path, monkeypatch, make_summary):
    """Of the only run, whose page is made by a stand-in."""
    monkeypatch.chdir(tmp_path)
    folder = runs.create(pathlib.Path("runs"), {}, {})
    record = dataclasses.asdict(make_summary(folder))
    (folder / runs.SUMMARY_FILE).write_text(json.dumps(record))
    monkeypatch.setattr(building, "build", lambda run, path: path.write_text(run.name))
    return folder


def test_it_lies_in_the_folder_of_the_run(call, folder):
    assert call("report") == (0, f"{folder}/report.html\n", "")
    assert (folder / "report.html").read_text() == folder.name
    assert call("report", "latest", "-q") == (0, "", "")


def test_json_and_another_file(call, folder):
    code, out, err = call("report", "--output", "page.html", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "schema_version": 1,
        "run": folder.name,
        "report": "page.html",
    }
    assert pathlib.Path("page.html").read_text() == folder.name


def test_a_file_that_cannot_be_written(call, folder):
    code, out, err = call("report", "--output", "none/page.html")
    assert (code, out) == (2, "")
    assert err == "error: cannot write none/page.html: No such file or directory\n"


def test_what_the_page_lacks_is_a_sentence(call, folder, monkeypatch):
    def fail(run, path):
        raise ConfigError("the artifacts of run 'x' are gone", found="no a, no b")

    monkeypatch.setattr(building, "build", fail)
    assert call("report") == (
        2,
        "",
        "error: the artifacts of run 'x' are gone\n  found: no a, no b\n",
    )


def test_runs_without_a_page(call, folder):
    assert call("report", "nope")[0] == 2
    (folder / runs.SUMMARY_FILE).unlink()
    code, _, err = call("report")
    assert code == 2
    assert "has no summary: it failed or was interrupted" in err


def test_the_end_of_a_run_names_it(folder, make_summary):
    summary = make_summary(folder)
    root = pathlib.Path("runs")
    assert f"report  could not be made; {folder}/log.txt says why" in closing.describe(
        summary, root
    )
    (folder / "report.html").touch()
    assert f"report  {folder}/report.html" in closing.describe(summary, root)
    assert slimline.run_result.Run(summary).report == folder / "report.html"
