"""docs/systems.md counts as the tables of the nets do, and names code that exists."""

import pathlib
import re

import pytest

from trainer.nets import geometry, registry

PROJECT = pathlib.Path(__file__).parents[1]
DOCUMENT = (PROJECT / "docs" / "systems.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_the_document_counts_as_the_tables_do(name):
    rows = re.findall(rf"^\| `{name}` \|.*$", DOCUMENT, re.MULTILINE)
    assert rows
    layers = geometry.layer_rows(registry.NETS[name])
    parameters = sum(layer.cost.parameters for layer in layers)
    multiply_adds = sum(layer.cost.multiply_adds for layer in layers)
    for row in rows:
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
