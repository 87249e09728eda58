"""The notebook of the documentation runs, and shows what it is there to show."""

import ast
import pathlib
import re

import nbclient
import nbformat
import pytest

import slimline as sl

PROJECT = pathlib.Path(__file__).parents[1]
NOTEBOOK = PROJECT / "docs" / "notebook.ipynb"
SECONDS = 600


def is_code(cell):
    return cell.cell_type == "code"


def test_the_cells_call_what_there_is():
    """By name only; a night runs them."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    sources = [cell.source for cell in notebook.cells if is_code(cell)]
    called = {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sl"
    }
    assert {"run", "why", "lineage", "models", "runs"} <= called
    assert called <= {*sl.__all__}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Source of a cell -> its outputs, of a notebook that ran in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if is_code(cell))
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    ).execute()
    return {cell.source: cell.outputs for cell in notebook.cells if is_code(cell)}


@pytest.fixture
def outputs(cells):
    """Function (how the last line of a cell begins) -> its outputs."""

    def find(line):
        (found,) = [
            each for source, each in cells.items() if source.splitlines()[-1] == line
        ]
        return found

    return find


@pytest.mark.nightly
@pytest.mark.e2e
def test_a_run_shows_one_bar_and_its_card(outputs):
    bar, card = outputs("run")
    assert (bar.output_type, card.output_type) == ("display_data", "execute_result")
    assert "<progress" in bar.data["text/html"]
    assert "100%" in bar.data["text/html"]
    html = card.data["text/html"]
    assert 'class="verdict kept"' in html
    assert '<img class="chart"' in html and "Confusion matrix" in html
    assert re.fullmatch(
        r"<Run \S+ of digits_resnet_20: passed, top-1 0\.\d{4}>",
        card.data["text/plain"],
    )


@pytest.mark.nightly
@pytest.mark.e2e
def test_no_cell_prints_a_log(cells):
    for source, outputs in cells.items():
        streams = [each for each in outputs if each.output_type == "stream"]
        if "except" not in source:
            assert not streams, streams


@pytest.mark.nightly
@pytest.mark.e2e
def test_the_other_cells_show_what_they_say(outputs):
    (why,) = outputs("sl.why(run)")
    assert "required" in why.data["text/plain"]
    (lineage,) = outputs("sl.lineage(run)")
    assert "train" in lineage.data["text/plain"]
    (prediction,) = outputs("prediction")
    assert "<table>" in prediction.data["text/html"]
    (models,) = outputs('sl.models("digits")')
    assert "1 version," in models.data["text/plain"]
    (runs,) = outputs("sl.runs()")
    assert "passed" in runs.data["text/html"]
    (error,) = outputs("    print(error)")
    assert 'sl.experiments("digits_resnet_20")' in error.text
