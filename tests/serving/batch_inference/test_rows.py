import csv
import io
import json
import os
import pathlib

import pytest

from common.errors import ConfigError
from serving.batch_inference import rows

ROW = rows.Row("photos/a.png", [("cat", 0.75), ("dog", 0.25)], "pets@7")


def test_csv():
    assert rows.heading("csv", 2) == b"file,label_1,score_1,label_2,score_2,model\n"
    assert rows.encode("csv", [ROW, ROW]) == (
        b"photos/a.png,cat,0.75,dog,0.25,pets@7\n" * 2
    )


def test_jsonl():
    assert rows.heading("jsonl", 2) == b""
    lines = rows.encode("jsonl", [ROW, ROW]).splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == {
        "file": "photos/a.png",
        "label": "cat",
        "score": 0.75,
        "top": [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}],
        "model": "pets@7",
    }


def test_scores_lose_nothing():
    score = 0.30000001192092896
    row = rows.Row("a", [("cat", score)], "")
    assert json.loads(rows.encode("jsonl", [row]))["score"] == score
    (cells,) = csv.reader(io.StringIO(rows.encode("csv", [row]).decode()))
    assert float(cells[2]) == score


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("\t=1", "\\t=1"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\udcff", "\\udcff"),
        ("left\u202eright", "left\\u202eright"),
        ('a,"b"', 'a,"b"'),
        ("Käfer 猫.png", "Käfer 猫.png"),
        ("a=b", "a=b"),
    ],
)
def test_text_in_csv_is_inert(text, cell):
    encoded = rows.encode("csv", [rows.Row(text, [(text, 0.5)], "m")]).decode()
    assert encoded.count("\n") == 1
    (cells,) = csv.reader(io.StringIO(encoded))
    assert cells == [cell, cell, "0.5", "m"]


@pytest.mark.parametrize(
    "name", ["\udcff\udc80.png", "\x00\n\x1b", "猫", "=a", "\u2028"]
)
def test_names_come_back_from_jsonl(name):
    encoded = rows.encode("jsonl", [ROW._replace(file=name)])
    assert encoded.isascii()
    assert encoded.count(b"\n") == 1
    assert os.fsencode(json.loads(encoded)["file"]) == os.fsencode(name)


@pytest.mark.parametrize(
    ("name", "format"), [("a.csv", "csv"), ("a.CSV", "csv"), ("b.c.jsonl", "jsonl")]
)
def test_format_of(name, format):
    assert rows.format_of(pathlib.Path(name)) == format


@pytest.mark.parametrize("name", ["a", "a.json", "csv", "a.csv.gz"])
def test_other_formats_are_refused(name):
    with pytest.raises(ConfigError, match=f"cannot tell the format of {name}"):
        rows.format_of(pathlib.Path(name))
