"""The check's outcome in words."""

import json

import pytest

from components.infra_check import node as infra

REPORT = {
    "is_blessed": True,
    "sentences": ["loaded in 1.2 s"],
    "refusals": [],
    "rules": [],
    "latency_ms": {"p50": 3.1, "p99": 12.3, "calls": 100},
    "size_bytes": 3_140_000,
    "answers": {"images": 20, "asked": 80, "equal": 80, "largest_difference": 1e-7},
}


def test_in_short(tmp_path) -> None:
    (tmp_path / "infra.json").write_text(json.dumps(REPORT))
    assert infra.in_short(infra.read(str(tmp_path))) == (
        "loaded, 80 of 80 answers equal to training, p99 12 ms, 3.1 MB"
    )
    refused = REPORT | {"is_blessed": False, "refusals": ["this is bad", "and this"]}
    assert infra.in_short(refused) == "refused: this is bad; and this"


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("INFRA_BLESSED", "TensorFlow Serving loaded the model and answered"),
        (
            "INFRA_NOT_BLESSED",
            "refused: TensorFlow Serving did not load the model, or did not answer",
        ),
    ],
)
def test_the_stock_validator_leaves_a_mark_only(tmp_path, mark, sentence) -> None:
    (tmp_path / mark).touch()
    report = infra.read(str(tmp_path))
    assert infra.in_short(report) == sentence
    (rule,) = report["rules"]
    assert rule["is_kept"] is report["is_blessed"] is (mark == "INFRA_BLESSED")


def test_what_views_cost_is_told() -> None:
    assert infra.in_short(REPORT) == (
        "loaded, 80 of 80 answers equal to training, p99 12 ms, 3.1 MB"
    )
    plain = {"plain_latency_ms": {"p50": 1.0, "p99": 4.1, "calls": 100}}
    assert infra.in_short(REPORT | plain) == (
        "loaded, 80 of 80 answers equal to training, p99 12 ms (4 ms without test-time"
        " views), 3.1 MB"
    )
