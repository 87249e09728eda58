"""The measurement beside hostile clients counts what it should."""

import http.client
import io

import hostile_requests
import numpy as np
import pytest
import rounds
import serving_hostile
from serving_hostile import Phase


def notes(latencies) -> dict:
    """Answers of both protocols, one a second from 0 on."""
    starts = np.tile(np.arange(len(latencies), dtype=float), 2)
    return {
        "protocols": np.repeat([0, 1], len(latencies)),
        "starts": starts,
        "ends": starts + np.concatenate([latencies, 2 * np.array(latencies)]),
    }


def test_each_phase_counts_the_answers_that_began_in_it() -> None:
    latencies = [0.01] * 10 + [0.02] * 10 + [0.01] * 10 + [0.05] * 10
    phases = [
        Phase("quiet", 0, 9.5, 0),
        Phase("names", 10, 19.5, 7),
        Phase("quiet", 20, 29.5, 0),
        Phase("images", 30, 39.5, 8),
    ]
    first, second = serving_hostile.summarise(notes(latencies), phases)
    assert (first["kind"], first["requests"]) == ("names", 7)
    assert first["REST"]["quiet_ms"] == {"p50": 10, "p99": 10}
    assert first["REST"]["hostile_ms"] == {"p50": 20, "p99": 20}
    assert first["gRPC"]["hostile_ms"] == {"p50": 40, "p99": 40}
    assert first["REST"]["ratio_of_p99"] == 2
    assert second["gRPC"]["ratio_of_p99"] == 5


def test_rounds_give_their_median() -> None:
    latencies = [0.01, 0.01, 0.01, 0.09, 0.01, 0.03]
    phases = [
        Phase("names" if place % 2 else "quiet", place, place + 0.5, 1)
        for place in range(6)
    ]
    (result,) = serving_hostile.summarise(notes(latencies), phases)
    assert result["REST"]["hostile_ms"]["p99"] == 30
    assert result["requests"] == 3


def test_a_phase_without_an_answer_is_no_measurement() -> None:
    phases = [Phase("quiet", 0, 5, 0), Phase("names", 100, 105, 0)]
    with pytest.raises(rounds.BenchmarkError, match="no answer beside 'names'"):
        serving_hostile.summarise(notes([0.01] * 10), phases)


@pytest.mark.parametrize("kind", sorted(set(hostile_requests.KINDS) - {"too_large"}))
def test_requests_are_whole(kind) -> None:
    for request in hostile_requests.KINDS[kind]("net"):
        head, _, body = request.partition(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        assert line.startswith(b"POST /v1/models/")
        fields = http.client.parse_headers(io.BytesIO(headers + b"\r\n\r\n"))
        assert int(fields["Content-Length"]) == len(body) <= 32 << 20
