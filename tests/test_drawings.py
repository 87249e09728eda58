"""The drawings fit the tables of the nets, and docs/systems.md shows them and counts alike."""

import importlib.util
import pathlib
import re
import xml.etree.ElementTree as ElementTree

import pytest

from trainer.nets import geometry, registry

PROJECT = pathlib.Path(__file__).parents[1]
FOLDER = PROJECT / "docs" / "blocks"
DOCUMENT = (PROJECT / "docs" / "systems.md").read_text(encoding="utf-8")
MAX_BYTES = 200_000


def load_script():
    path = PROJECT / "scripts" / "draw_blocks.py"
    spec = importlib.util.spec_from_file_location("draw_blocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw_blocks = load_script()
NAMES = sorted(draw_blocks.DRAWINGS)


@pytest.mark.parametrize("name", NAMES)
def test_the_drawing_fits_the_tables(name):
    text = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert text == draw_blocks.render(name), "run: python scripts/draw_blocks.py"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_a_small_picture_of_text_and_shapes(name):
    path = FOLDER / f"{name}.svg"
    assert path.stat().st_size < MAX_BYTES
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.findall(".//{http://www.w3.org/2000/svg}text")


def test_every_drawing_is_shown_and_no_other_is_there():
    shown = re.findall(r"!\[[^]]+\]\(blocks/(\w+)\.svg\)", DOCUMENT)
    assert sorted(shown) == NAMES
    assert sorted(path.stem for path in FOLDER.iterdir()) == NAMES


def test_a_changed_table_is_noticed(monkeypatch, capsys):
    assert draw_blocks.main(["--check"]) == 0
    spec = registry.NETS["googlenet"]
    googlenet_bn = registry.NETS["googlenet_bn"]
    monkeypatch.setitem(registry.NETS, "googlenet", googlenet_bn)
    assert draw_blocks.main(["--check"]) == 1
    assert "docs/blocks/inception_v1.svg" in capsys.readouterr().err
    monkeypatch.setitem(registry.NETS, "googlenet", spec)
    monkeypatch.delitem(draw_blocks.DRAWINGS, "cnn_pair")
    assert draw_blocks.stale() == ["cnn_pair.svg"]


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_the_document_counts_as_the_tables_do(name):
    (row,) = re.findall(rf"^\| `{name}` \|.*$", DOCUMENT, re.MULTILINE)
    layers = geometry.layer_rows(registry.NETS[name])
    parameters = sum(layer.cost.parameters for layer in layers)
    multiply_adds = sum(layer.cost.multiply_adds for layer in layers)
    assert f"| {parameters:,} |" in row
    assert f"| {multiply_adds / 1e6:,.1f} M |" in row


def test_every_fault_has_its_place_in_the_code():
    section = DOCUMENT.split("\n## 7. ")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", section, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 14))
    for _, places in rows:
        for place in re.findall(r"`([^`]+)`", places):
            found = PROJECT / place
            beside = PROJECT / "trainer" / "nets" / place
            assert found.exists() or beside.exists(), place
