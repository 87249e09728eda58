"""REST against a server that runs: documented shapes, versions, errors, curl."""

import base64
import gzip
import json
import shutil
import subprocess
import zlib

import numpy as np
import pytest
import requests

COLOURS = ((250, 10, 20), (30, 220, 9), (0, 70, 200))
NAMES = ["red", "green", "blue"]


@pytest.fixture
def model(served):
    return f"{served.url}/v1/models/colours"


@pytest.fixture(scope="module")
def encoded(png):
    return [{"b64": base64.b64encode(png(*colour)).decode()} for colour in COLOURS]


def post(url, document, **options):
    return requests.post(url, data=json.dumps(document), timeout=30, **options)


def best_first(probabilities):
    order = np.argsort(-probabilities, kind="stable")
    return [NAMES[place] for place in order]


def test_status(model):
    response = requests.get(model, timeout=30)
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.json() == {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in (2, 1)
        ]
    }
    one = requests.get(f"{model}/versions/1", timeout=30).json()
    assert [entry["version"] for entry in one["model_version_status"]] == ["1"]
    by_label = requests.get(f"{model}/labels/canary", timeout=30).json()
    assert [entry["version"] for entry in by_label["model_version_status"]] == ["2"]


def test_metadata(model):
    document = requests.get(f"{model}/labels/canary/metadata", timeout=30).json()
    assert document["model_spec"] == {
        "name": "colours",
        "signature_name": "",
        "version": "2",
    }
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "predict_images", "classify"} <= signatures.keys()
    images = signatures["predict_images"]
    assert images["method_name"] == "tensorflow/serving/predict"
    assert images["inputs"]["images"]["dtype"] == "DT_STRING"
    assert images["inputs"]["images"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }


@pytest.mark.parametrize(
    ("path", "version"),
    [("", 1), ("/versions/1", 1), ("/versions/2", 2), ("/labels/canary", 2)],
)
def test_predict_in_rows(model, encoded, offline, path, version):
    document = {"signature_name": "predict_images", "instances": encoded}
    response = post(f"{model}{path}:predict", document)
    assert response.headers["Slimline-Model-Version"] == str(version)
    rows = response.json()["predictions"]
    wanted = offline(COLOURS, bias=0.0 if version == 1 else 1.5)
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], wanted, atol=1e-5
    )
    for row, probabilities in zip(rows, wanted, strict=True):
        assert row.keys() == {"classes", "probabilities", "scores"}
        assert row["classes"] == best_first(probabilities)
        np.testing.assert_allclose(
            row["scores"], sorted(probabilities)[::-1], atol=1e-5
        )


def test_predict_in_columns_and_by_name(model, encoded, offline, example, png):
    wanted = offline(COLOURS)
    serialised = [
        {"b64": base64.b64encode(example(png(*colour))).decode()} for colour in COLOURS
    ]
    asked = [
        {"signature_name": "predict_images", "inputs": encoded},
        {"signature_name": "predict_images", "inputs": {"images": encoded}},
        {"inputs": {"examples": serialised}},
    ]
    for document in asked:
        columns = post(f"{model}:predict", document).json()["outputs"]
        np.testing.assert_allclose(columns["probabilities"], wanted, atol=1e-5)
        assert columns["classes"][1] == best_first(wanted[1])
    rows = [{"images": one} for one in encoded]
    document = {"signature_name": "predict_images", "instances": rows}
    answer = post(f"{model}:predict", document).json()["predictions"]
    np.testing.assert_allclose([a["probabilities"] for a in answer], wanted, atol=1e-5)


def test_classify(model, encoded, offline):
    document = {
        "signature_name": "classify",
        "context": {"camera": "north"},
        "examples": [{"image/encoded": one} for one in encoded],
    }
    response = post(f"{model}/versions/2:classify", document)
    results = response.json()["results"]
    wanted = offline(COLOURS, bias=1.5)
    assert [[label for label, _ in row] for row in results] == [
        best_first(row) for row in wanted
    ]
    scores = [[score for _, score in row] for row in results]
    np.testing.assert_allclose(scores, -np.sort(-wanted, axis=1), atol=1e-5)
    assert response.headers["Slimline-Model-Version"] == "2"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        (
            "GET",
            "/v1/models/nope",
            "",
            404,
            "Could not find any versions of model nope",
        ),
        ("GET", "/v1/models/colours/versions/9", "", 404, "colours"),
        ("GET", "/v1/models/colours/labels/gone", "", 400, "version label: gone"),
        ("GET", "/v1/models/nope/metadata", "", 404, "Latest(nope)"),
        ("GET", "/v1/models", "", 400, "Malformed request"),
        ("GET", "/v1/models/colours:predict", "", 400, "Malformed request"),
        ("POST", "/v1/models/colours", "{}", 400, "Malformed request"),
        ("DELETE", "/v1/models/colours", "", 400, "Malformed request"),
        ("POST", "/v1/models/colours:explain", "{}", 400, "Malformed request"),
        ("POST", "/v1/models/colours:regress", "{}", 400, "Malformed request"),
        ("POST", "/", "{}", 405, "Method Not Allowed"),
        ("POST", "/api/models", "{}", 405, "Method Not Allowed"),
        ("GET", "/index.html", "", 404, "Not Found"),
        ("POST", "/v1/models/half:predict", '{"instances": [1]}', 404, "Latest(half)"),
        (
            "POST",
            "/v1/models/colours/versions/9:predict",
            '{"instances": ["a"]}',
            404,
            "Specific(colours, 9)",
        ),
        (
            "POST",
            "/v1/models/colours/labels/gone:predict",
            '{"instances": ["a"]}',
            400,
            "Unrecognized servable version label: gone",
        ),
        ("POST", "/v1/models/colours:predict", "{", 400, "JSON Parse error"),
        ("POST", "/v1/models/colours:predict", "{}", 400, "Missing 'inputs'"),
        (
            "POST",
            "/v1/models/colours:predict",
            '{"instances": ["a"], "signature_name": "gone"}',
            400,
            'Serving signature key "gone" not found.',
        ),
        (
            "POST",
            "/v1/models/colours:classify",
            '{"examples": [{"image/encoded": "a"}]}',
            400,
            "Expected classification signature",
        ),
        (
            "POST",
            "/v1/models/colours:predict",
            '{"instances": ["no image"], "signature_name": "predict_images"}',
            400,
            "instance 0: neither JPEG nor PNG",
        ),
    ],
)
def test_errors(served, method, path, body, status, text):
    response = requests.request(method, served.url + path, data=body, timeout=30)
    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert text in response.json()["error"]


def test_metrics(served, model, encoded):
    def count():
        page = requests.get(
            f"{served.url}/monitoring/prometheus/metrics", timeout=30
        ).text
        lines = dict(
            line.rsplit(" ", 1) for line in page.splitlines() if line[:1] != "#"
        )
        ok = ':tensorflow:serving:request_count{model_name="colours",status="OK"}'
        examples = ':tensorflow:serving:request_example_count_total{model="colours"}'
        latency = (
            ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="REST",'
            'model_name="colours"}'
        )
        unknown = ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}'
        assert float(lines["slimline_ready"]) == 1
        return [float(lines.get(name, 0)) for name in (ok, examples, latency, unknown)]

    before = count()
    document = {"signature_name": "predict_images", "instances": encoded}
    post(f"{model}:predict", document)
    post(f"{served.url}/v1/models/x{'y' * 20}:predict", document)
    assert [b - a for a, b in zip(before, count(), strict=True)] == [1, 3, 1, 1]


def test_list_of_models(served):
    models = requests.get(f"{served.url}/api/models", timeout=30).json()["models"]
    assert [model["name"] for model in models] == ["colours", "wide"]
    colours, wide = models
    assert colours["answers"] == 1
    assert colours["classes"] == NAMES
    assert colours["labels"] == {"canary": 2, "stable": 1}
    assert [entry["version"] for entry in colours["versions"]] == [2, 1]
    assert wide["answers"] == 7
    assert len(wide["classes"]) == 12


def test_page_is_closed_to_other_sites(served):
    response = requests.get(f"{served.url}/", timeout=30)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in response.headers
    port = served.rest.rpartition(":")[2]
    for headers, status in [
        ({"Host": "evil.example"}, 421),
        ({"Host": f"evil.example:{port}"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 421),
        ({"Origin": "null"}, 421),
        ({"Host": f"localhost:{port}"}, 200),
        ({"Host": f"[::1]:{port}"}, 200),
        ({"Host": "models.internal"}, 200),
        ({"Origin": f"http://127.0.0.1:{port}"}, 200),
    ]:
        response = requests.get(f"{served.url}/api/models", headers=headers, timeout=30)
        assert response.status_code == status, headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 200),
        ({"Content-Type": "text/plain"}, 200),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/python-pickle"}, 415),
        ({"Content-Type": "application/octet-stream"}, 200),
        ({"Content-Type": "application/x-protobuf"}, 415),
        ({"Content-Encoding": "gzip"}, 400),  # said, and not so
        ({"Content-Encoding": "identity"}, 200),
    ],
)
def test_kinds_of_bodies(model, encoded, headers, status):
    document = {"signature_name": "predict_images", "instances": encoded[:1]}
    assert post(f"{model}:predict", document, headers=headers).status_code == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies(model, encoded, encoding):
    document = {"signature_name": "predict_images", "instances": encoded}
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    response = requests.post(
        f"{model}:predict",
        data=pack(json.dumps(document).encode()),
        headers={"Content-Encoding": encoding},
        timeout=30,
    )
    assert len(response.json()["predictions"]) == len(encoded)


def test_curl_as_documented(model, encoded):
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl")

    def curl(*arguments):
        call = subprocess.run(
            [program, "-s", *arguments], capture_output=True, check=True, timeout=30
        )
        return call.stdout.decode()

    assert json.loads(curl(model))["model_version_status"][0]["state"] == "AVAILABLE"
    body = json.dumps({"signature_name": "predict_images", "instances": encoded})
    answer = json.loads(curl("-d", body, "-X", "POST", f"{model}:predict"))
    assert [row["classes"][0] for row in answer["predictions"]] == NAMES
    refused = curl("-i", "-d", '{"instances": [1.0,5.0]}', f"{model}x:predict")
    head, _, body = refused.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404 Not Found")
    assert json.loads(body) == {
        "error": "Servable not found for request: Latest(coloursx)"
    }
