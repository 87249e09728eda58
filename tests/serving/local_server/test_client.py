"""The client and the local server, as processes of their own talk to each other."""

import json

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from serving.client import Client
from slimline.cli import main

COLOURS = [(250, 10, 20), (30, 220, 9), (0, 70, 200), (90, 90, 90)]


@pytest.fixture(params=["http://", "grpc://"])
def address(request, served):
    """Of the server in each form."""
    place = served.rest if request.param == "http://" else served.grpc
    return f"{request.param}{place}"


def scores(predictions):
    """In label order."""
    return np.asarray(
        [
            [dict(found.top)[label] for label in ("red", "green", "blue")]
            for found in predictions
        ]
    )


@pytest.mark.parametrize(
    ("model", "version", "bias"),
    [
        ("colours", 1, 0.0),  # where TensorFlow Serving would give 2, the newest
        ("colours@2", 2, 1.5),
        ("colours:stable", 1, 0.0),
        ("colours:canary", 2, 1.5),
    ],
)
def test_answers_are_those_worked_out_by_hand(
    address, png, offline, model, version, bias
):
    with Client(address, model, batch_size=3) as client:
        answer = client.ask([png(*colour) for colour in COLOURS])
    assert answer.versions == (version,)
    assert answer.labels == ("red", "green", "blue")
    np.testing.assert_allclose(
        scores(answer.predictions), offline(COLOURS, bias=bias), atol=1e-5
    )


def test_all_that_the_server_tells(address):
    with Client(address, "colours") as client:
        assert client.is_healthy()
        assert [found.version for found in client.status()] == [2, 1]
        assert {found.state for found in client.status()} == {"AVAILABLE"}
        signatures = client.metadata()["metadata"]["signature_def"]["signature_def"]
        assert {"predict_images", "serving_default", "classify"} <= set(signatures)


def test_both_interfaces_tell_the_same(served):
    with (
        Client(served.url, "colours") as rest,
        Client(f"grpc://{served.grpc}", "colours") as grpc,
    ):
        assert rest.metadata() == grpc.metadata()
        assert rest.status() == grpc.status()


def test_models(served):
    with Client(served.url) as client:
        assert client.models() == ["colours", "wide"]
        with pytest.raises(ConfigError, match="which model of") as caught:
            client.predict([b""])
        assert caught.value.found == "colours, wide"


def test_refusals(address, png):
    for model in ("dogs", "colours@8", "colours:old"):
        with Client(address, model) as client:
            with pytest.raises(ConfigError, match=f"does not serve {model}"):
                client.predict([png(1, 2, 3)])
            assert not client.is_healthy()


def test_a_damaged_image_is_named(address, png):
    whole = png(1, 2, 3, side_px=64)
    damaged = whole[: len(whole) - 20]
    with (
        Client(address, "colours") as client,
        pytest.raises(DataError, match="cannot read image number 1: PNG data are"),
    ):
        client.predict([whole, damaged])


def test_the_command_says_the_same_by_all_roads(
    served, png, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = [f"{name}.png" for name in ("red", "green", "blue", "gray")]
    for file, colour in zip(files, COLOURS, strict=True):
        (tmp_path / file).write_bytes(png(*colour))
    found = []
    for road in (
        ["--root", str(served.root)],
        ["--server", served.url],
        ["--server", f"grpc://{served.grpc}"],
    ):
        arguments = ["predict", *files, "--model", "colours@2", "--json", *road]
        assert main.main(arguments) == 0
        found.append(json.loads(capfd.readouterr().out))
    assert found[1].pop("server") == served.url
    assert found[2].pop("server") == f"grpc://{served.grpc}"
    for document in found[1:]:
        assert document.pop("versions") == [2]
        assert document.pop("model") == "colours@2"
        assert document["labels"] == found[0]["labels"]
    assert found[1] == found[2]
    for local, remote in zip(
        found[0]["predictions"], found[1]["predictions"], strict=True
    ):
        assert local["label"] == remote["label"]
        by_label = {one["label"]: one["score"] for one in remote["top"]}
        for one in local["top"]:
            assert by_label[one["label"]] == pytest.approx(one["score"], abs=1e-5)
