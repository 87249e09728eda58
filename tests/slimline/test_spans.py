"""Patterns on the command line."""

import json

import pytest


@pytest.fixture
def pattern(tmp_path, fakes):
    for span, per_class in ((1, 3), (2, 5)):
        fakes.class_folders(tmp_path / "pets" / str(span), per_class=per_class)
    return f"{tmp_path}/pets/{{SPAN}}"


def test_inspect_shows_what_a_pattern_resolves_to(call, pattern, tmp_path) -> None:
    code, out, _ = call("data", "inspect", pattern)
    assert code == 0
    lines = out.splitlines()
    assert lines[:4] == [
        "spans      2",
        f"  span 2  {tmp_path}/pets/2",
        f"  span 1  {tmp_path}/pets/1",
        "newest    span 2",
    ]
    assert "images    10, 2 classes, colour, png" in lines
    code, out, _ = call("data", "inspect", pattern, "--json")
    document = json.loads(out)
    assert document["inspection"]["path"] == f"{tmp_path}/pets/2"
    assert [data["span"] for data in document["spans"]] == [1, 2]


def test_a_plain_path_has_no_spans(call, tmp_path, pattern) -> None:
    code, out, _ = call("data", "inspect", tmp_path / "pets" / "1", "--json")
    assert code == 0 and json.loads(out)["spans"] == []


@pytest.mark.parametrize("command", [("data", "inspect"), ("run", "folder", "--data")])
def test_no_span_is_there(call, tmp_path, pattern, command) -> None:
    code, _, error = call(*command, f"{tmp_path}/pets/{{SPAN:3}}")
    assert code == 4
    assert f"error: no span matches {tmp_path}/pets/{{SPAN:3}}" in error
    assert f"  found: in {tmp_path}/pets: 1/, 2/" in error


def test_a_pattern_that_cannot_be(call) -> None:
    code, _, error = call("data", "inspect", "pets/{SPAN}/{YYYY}")
    assert code == 2
    assert "cannot read the pattern pets/{SPAN}/{YYYY}: a number and a date" in error


def test_init_names_the_contract_after_the_pattern(call, pattern, tmp_path) -> None:
    code, out, _ = call("data", "init", pattern)
    assert code == 0
    assert (tmp_path / "schema" / "pets" / "labels.txt").read_text() == "cat\ndog\n"
    assert "slimline run photos --data" in out and "{SPAN}" in out
