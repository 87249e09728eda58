"""Sentences of errors in the words of Python; all of those in the sources are tried."""

import ast
import pathlib
import re

import pytest

from common import errors, python_words

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = (
    "common",
    "storage",
    "schema",
    "pushed_models",
    "components",
    "trainer",
    "data_check",
    "report",
    "pipeline",
    "serving",
)
# Reached by commands that Python has no function for: a part of a run, an import of
# weights, and what compiles or schedules.
WITHOUT_FUNCTION = re.compile(
    r"weights/(mapping|store|checkpoints)\.py|pipeline/runs/(partial_runs|parts)\.py"
    r"|pipeline/(kube|airflow|scheduling|tfx_command)\w*"
)

OTHER_PROGRAMS = re.compile(r"(tar|uv|slimline (weights|models|serve)) [^;,)]*")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--set train.epochs=3", 'settings={"train.epochs": 3}'),
        (
            "--set a.b=auto --set c.d=true, or less",
            'settings={"a.b": "auto", "c.d": True}, or less',
        ),
        ("--set 'a.b=[30, x]' does", 'settings={"a.b": [30, "x"]} does'),
        (
            """--set 'a.b=["*, 1=none", x=y]'""",
            'settings={"a.b": ["*, 1=none", "x=y"]}',
        ),
        ("--skip-unknown leaves out", "skips_unknown=True leaves out"),
        ("--split all measures", 'split="all" measures'),
        ("--by-number takes number k", "by_number=True takes number k"),
        ("--beam-option workers=4", 'settings={"engine.workers": 4}'),
        ("--data PATH with a folder", 'data="PATH" with a folder'),
        ("another --root", "another root=..."),
        ("--no-cache", "use_cache=False"),
        (
            "--force-push REASON replaces it",
            'settings={"serving.force_push": "..."} replaces it',
        ),
        ("slimline runs lists them", "sl.runs() lists them"),
        ("slimline run makes one", "sl.run(...) makes one"),
        ("`slimline data check`; or", "`sl.data.check(...)`; or"),
        (
            "slimline data init a/b --output DIR writes",
            'sl.data.init("a/b", output="DIR") writes',
        ),
        (
            "slimline run mnist_mlp --set train.steps=3 trains",
            'sl.run("mnist_mlp", settings={"train.steps": 3}) trains',
        ),
        (
            "slimline models prune cats --keep 2 makes room",
            'sl.models("cats").prune(keep=2) makes room',
        ),
        ("slimline weights list shows them", "slimline weights list shows them"),
        ("tar --dereference", "tar --dereference"),
    ],
)
def test_flags_and_commands(text, expected):
    assert python_words.in_python(text) == expected


def test_errors_speak_python_except_in_a_command():
    error = errors.ConfigError("no data", tip="--data PATH; slimline runs lists them")
    assert str(error) == 'no data\n  tip: data="PATH"; sl.runs() lists them'
    with errors.of_a_command():
        assert str(error) == "no data\n  tip: --data PATH; slimline runs lists them"
    assert error.tip == "--data PATH; slimline runs lists them"
    assert "sl.runs()" in str(error)


def text_of(node):
    """The text of an expression; what is filled in stands as VALUE."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(text_of, values))
        case ast.FormattedValue():
            return "VALUE"
        case ast.BinOp(left=left, right=right):
            return text_of(left) + text_of(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{text_of(body)} / {text_of(other)}"
    return ""


def sentences():
    """Place and text of all that is given to an error."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            place = str(file.relative_to(ROOT))
            if WITHOUT_FUNCTION.search(place):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name.endswith("Error"):
                        values = [*node.args, *(each.value for each in node.keywords)]
                        yield from ((place, text_of(value)) for value in values)


def test_no_error_names_a_flag_to_python():
    tried = 0
    for place, text in sentences():
        tried += "--" in text or "slimline " in text
        found = OTHER_PROGRAMS.sub("", text)
        told = python_words.in_python(found)
        left = re.findall(r"--[a-z][a-z-]*|slimline (?:run|data)\b", told)
        assert not left, f"{place}: {told}"
    assert tried > 40
