"""Requests that mean harm: each gets a refusal of fixed words, and the server goes on.

Their classes: paths (S1), addresses (S2), types of bodies (S3), depth, size and slowness
(S4), words of errors (S5).
"""

import base64
import contextlib
import http.client
import json
import resource
import socket
import struct
import threading
import time
import zlib

import grpc
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MAX_GROWTH_BYTES = 64 << 20
RED = (250, 10, 20)

UPS = (
    "../",
    "..%2f",
    "..%2F",
    "%2e%2e/",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "..%252f",
    "..%255c",
    "..\\",
    "..%5c",
    "..;/",
    "..%00/",
    "..%c0%af",
    "%c0%ae%c0%ae/",
    "..%ef%bc%8f",
    "....//",
    "./.././",
    "%2fproc%2fself%2froot",
    "file:%2f%2f",
    "..%23",
    "..%3f",
    "%u002e%u002e/",
)
NAMES = [up * 4 + "etc/passwd" for up in UPS] + [
    "%00",
    "%ff%fe",
    "~root",
    "C:%5cWindows",
    "colours%00",
    "colours%2f1",
    "colours%2e",
    "COLOURS",
    "x" * 8_000,
    "%e2%80%ae",
]
SLOTS = (
    "/v1/models/{}",
    "/v1/models/{}/metadata",
    "/v1/models/colours/versions/{}",
    "/v1/models/colours/labels/{}",
    "/v1/models/{}:predict",
    "/v1/models/colours/labels/{}:predict",
    "/page/{}",
    "/{}",
)


@pytest.fixture(scope="module", autouse=True)
def good_client(served, png):
    """Asks all the time, and is always answered; memory is where it was afterwards."""
    document = {
        "signature_name": "predict_images",
        "instances": [{"b64": base64.b64encode(png(*RED)).decode()}],
    }
    body, url = json.dumps(document), f"{served.url}/v1/models/colours:predict"
    is_over, failures, count = threading.Event(), [], 0
    with requests.Session() as session:
        # The largest image that is answered leaves its mark on the memory for good.
        largest = document | {
            "instances": [{"b64": base64.b64encode(blank(4_000, 4_000)).decode()}]
        }
        for sent in [json.dumps(largest), *[body] * 50]:
            assert session.post(url, data=sent, timeout=60).status_code == 200
        before = served.rss_bytes()

        def ask():
            nonlocal count
            while not is_over.wait(0.05):
                try:
                    response = session.post(url, data=body, timeout=60)
                    label = response.json()["predictions"][0]["classes"][0]
                    if label != "red":
                        failures.append(label)
                except Exception as error:
                    failures.append(repr(error))
                count += 1

        thread = threading.Thread(target=ask)
        thread.start()
        yield
        is_over.set()
        thread.join()
    assert failures == []
    assert count > 50
    assert served.process.poll() is None
    assert served.rss_bytes() - before < MAX_GROWTH_BYTES


def raw(served, data, wait_seconds=30):
    """Status and body of what comes back for bytes; status 0 for nothing at all."""
    host, _, port = served.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=wait_seconds) as opened:
        with contextlib.suppress(ConnectionError):
            opened.sendall(data)
        with contextlib.suppress(ConnectionError):
            response = http.client.HTTPResponse(opened)
            response.begin()
            return response.status, response.read()
    return 0, b""


def check_refusal(status, body):
    assert 400 <= status < 500, (status, body)
    text = json.loads(body)["error"]
    assert "/" not in text
    assert "Traceback" not in text
    assert len(text) < 200
    return text


@pytest.mark.parametrize("slot", SLOTS)
def test_paths_lead_nowhere(served, slot):
    opened = served.audit.stat().st_size
    assert opened > 0
    for name in NAMES:
        method = "POST" if slot.endswith(":predict") else "GET"
        body = '{"instances": ["a"]}' if method == "POST" else ""
        head = (
            f"{method} {slot.format(name)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        check_refusal(*raw(served, head.encode()))
    with served.audit.open() as file:
        file.seek(opened)
        for line in file:
            event, path = line.split()[:2]
            assert event != "socket.connect", line
            path = path.strip("'\",()b")
            assert path.startswith((str(served.root), "/proc/self/")), line


def test_model_specs_lead_nowhere(served, png):
    spots = ("name", "version_label", "signature_name")
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for name in [*NAMES, "../../etc/passwd", "/etc/passwd", "a\0b", "", "ä" * 100]:
            for spot in spots:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = "colours"
                request.model_spec.signature_name = "predict_images"
                request.inputs["images"].CopyFrom(tf.make_tensor_proto([png(*RED)]))
                if spot == "signature_name" and not name:
                    continue
                setattr(request.model_spec, spot, name)
                with pytest.raises(grpc.RpcError) as refused:
                    stub.Predict(request, timeout=30)
                assert refused.value.code().name in (
                    "NOT_FOUND",
                    "INVALID_ARGUMENT",
                    "FAILED_PRECONDITION",
                )
                assert "/" not in refused.value.details()
        for version in (-1, 0, -(1 << 63), (1 << 63) - 1):
            request.model_spec.Clear()
            request.model_spec.name = "colours"
            request.model_spec.version.value = version
            with pytest.raises(grpc.RpcError) as refused:
                stub.Predict(request, timeout=30)
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND


B64 = base64.b64encode(b"a").decode()
BODIES = {
    "deep lists": b'{"instances": ' + b"[" * 250_000,
    "deep objects": b'{"a":' * 250_000,
    "closed deep lists": b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "nine levels": b'{"instances": [[[[[[[["a"]]]]]]]]}',
    "long integer": b'{"instances": [' + b"9" * 5_000 + b"]}",
    "long exponent": b'{"instances": [1e' + b"9" * 5_000 + b"]}",
    "infinite": b'{"instances": [1e999]}',
    "NaN": b'{"instances": [NaN]}',
    "minus infinity": b'{"instances": [-Infinity]}',
    "number": b'{"instances": [1.5]}',
    "ragged": b'{"instances": [["a"], ["a", "b"]]}',
    "mixed": b'{"instances": ["a", 1, null, {}]}',
    "null": b"null",
    "list": b"[]",
    "string": b'"a"',
    "truncated": b'{"instances": ["a"',
    "trailing": b'{"instances": ["a"]} {}',
    "equal keys": b'{"instances": ["a"], "instances": ["b"]}',
    "no UTF-8": b'{"instances": ["\xff"]}',
    "UTF-16": '{"instances": ["a"]}'.encode("utf-16"),
    "UTF-32": '{"instances": ["a"]}'.encode("utf-32"),
    "NUL": b"\x00" * 1_000,
    "surrogate": b'{"instances": ["\\ud800"]}',
    "escapes without end": b'{"a": "' + b'\\"' * 500_000,
    "spaces": b" " * 5_000_000,
    "commas": b'{"instances": [' + b"0," * 2_000_000 + b"0]}",
    "too many": json.dumps({"instances": ["a"] * 1_025}).encode(),
    "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 100,
    "multipart": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--",
    "form": b"instances=a&signature_name=b",
    "XML": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "path": b'{"instances": ["/etc/passwd"], "signature_name": "predict_images"}',
    "url": b'{"instances": ["http://169.254.169.254/latest"],'
    b' "signature_name": "predict_images"}',
    "file url": b'{"inputs": {"images": ["file:///etc/passwd"]},'
    b' "signature_name": "predict_images"}',
    "url of a model": b'{"url": "http://127.0.0.1:1/a.mar", "instances": ["a"]}',
    "path as signature": b'{"instances": ["a"], "signature_name": "../../etc/passwd"}',
    "wrong signature type": b'{"instances": ["a"], "signature_name": ["a"]}',
    "no base64": b'{"instances": [{"b64": "\\u0000\\u0000"}]}',
    "not an Example": json.dumps({"instances": [{"b64": B64}]}).encode(),
    "deep Example": json.dumps(
        {"instances": [{"b64": base64.b64encode(b"\x0a\x7f" * 5_000).decode()}]}
    ).encode(),
    "markup": b'{"instances": ["<script>"], "signature_name": "<img onerror=a>"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(served, name):
    for path in ("colours:predict", "colours:classify", "colours/versions/2:predict"):
        response = requests.post(
            f"{served.url}/v1/models/{path}", data=BODIES[name], timeout=60
        )
        check_refusal(response.status_code, response.content)


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )


def png_file(width, height, rows=b"\x00\x00\x00\x00", *between):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = [chunk(b"IHDR", header), *between, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def blank(width, height):
    return png_file(width, height, bytes((1 + 3 * width) * height))


def test_pixels_of_a_request_are_added_up(served):
    encoded = {"b64": base64.b64encode(blank(4_000, 4_000)).decode()}
    document = {"signature_name": "predict_images", "instances": [encoded] * 17}
    response = requests.post(
        f"{served.url}/v1/models/colours:predict", data=json.dumps(document), timeout=60
    )
    text = check_refusal(response.status_code, response.content)
    assert text.startswith("272,000,000 pixels in all")


def jpeg_file(width, height):
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    segment = b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    return b"\xff\xd8" + segment + b"\xff\xd9"


def damaged_images(png):
    whole = png(*RED, side_px=40, kind="JPEG")
    pixels = png(*RED, side_px=40)
    bomb = b"name\0\0" + zlib.compress(bytes(20 << 20), 9)
    found = {
        f"PNG of {width}x{height}": png_file(width, height)
        for width, height in [
            (30_000, 30_000),
            (0, 0),
            (0, 5),
            (1 << 31, 1 << 31),
            ((1 << 31) - 1, 1),
            (20_000, 1),
            (1, 20_000),
            (4_001, 4_000),
        ]
    }
    found |= {
        f"JPEG of {width}x{height}": jpeg_file(width, height)
        for width, height in [(65_535, 65_535), (0, 0), (65_535, 1), (10, 10)]
    }
    found |= {
        f"JPEG cut at {share} %": whole[: len(whole) * share // 100]
        for share in range(10, 100, 10)
    }
    found |= {
        f"PNG cut at {share} %": pixels[: len(pixels) * share // 100]
        for share in range(10, 100, 10)
    }
    return found | {
        "nothing": b"",
        "text": b"hello",
        "GIF": png(*RED, kind="GIF"),
        "BMP": png(*RED, kind="BMP"),
        "WebP": png(*RED, kind="WEBP"),
        "TIFF": png(*RED, kind="TIFF"),
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "PNG without pixels": png_file(64, 64),
        "narrow PNG": blank(1, 101),
        "narrowest PNG": blank(16_384, 1),
        "PNG with a colour profile that is a bomb": png_file(
            64, 64, b"", chunk(b"iCCP", bomb)
        ),
        "PNG with text that is a bomb": png_file(64, 64, b"", chunk(b"zTXt", bomb)),
    }


def test_images_get_one_verdict_from_both_protocols(served, png):
    found = damaged_images(png)
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for name, data in found.items():
            encoded = {"b64": base64.b64encode(data).decode()}
            document = {"signature_name": "predict_images", "instances": [encoded]}
            response = requests.post(
                f"{served.url}/v1/models/colours:predict",
                data=json.dumps(document),
                timeout=60,
            )
            assert response.status_code == 400, name
            text = check_refusal(response.status_code, response.content)
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "colours"
            request.model_spec.signature_name = "predict_images"
            request.inputs["images"].CopyFrom(tf.make_tensor_proto([data], tf.string))
            with pytest.raises(grpc.RpcError) as refused:
                stub.Predict(request, timeout=60)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, name
            assert refused.value.details() == text


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (16_300, 163), (4_000, 4_000)])
def test_odd_sizes_are_answered(served, size):
    document = {
        "signature_name": "predict_images",
        "instances": [{"b64": base64.b64encode(blank(*size)).decode()}],
    }
    response = requests.post(
        f"{served.url}/v1/models/colours:predict", data=json.dumps(document), timeout=60
    )
    assert response.status_code == 200, response.text


def test_large_bodies(served):
    head = (
        b"POST /v1/models/colours:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: close\r\n"
    )
    megabyte = bytes(1 << 20)
    announced = head + b"Content-Length: 100000000\r\n\r\n" + 100 * megabyte
    assert check_refusal(*raw(served, announced[: 101 << 20]))
    chunked = (b"%x\r\n" % len(megabyte)) + megabyte + b"\r\n"
    endless = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked * 100
    assert "more than" in check_refusal(*raw(served, endless))
    small = (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"1\r\n \r\n" * 300_000
        + b"0\r\n\r\n"
    )
    assert check_refusal(*raw(served, small, 120))
    lied = head + b"Content-Length: 10\r\n\r\n" + b" " * 1_000
    assert raw(served, lied)[0] == 400


def test_a_thousand_connections_and_two_hundred_slow_ones(served):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_000:
        pytest.skip("this user may not open 2,000 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    addresses = [(served.rest, 1_000), (served.grpc, 200)]
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(
                socket.create_connection((address.split(":")[0], int(port)), timeout=10)
            )
            for address, count in addresses
            for port in [address.rpartition(":")[2]] * count
        ]
        for _ in range(8):
            for opened in idle[::5]:
                with contextlib.suppress(OSError):
                    opened.send(b"G")
            time.sleep(0.1)
        for _ in range(5):
            response = requests.get(f"{served.url}/v1/models/colours", timeout=10)
            assert response.status_code == 200
        with grpc.insecure_channel(served.grpc) as channel:
            grpc.channel_ready_future(channel).result(timeout=20)


def test_compressed_messages_are_bounded_by_what_they_become(served):
    path = "/tensorflow.serving.PredictionService/Predict"
    with grpc.insecure_channel(served.grpc) as channel:
        call = channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(100 << 20), timeout=60, compression=grpc.Compression.Gzip)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_that_send_nothing(served):
    """They hold no memory, and a good call goes on beside them."""
    path = "/tensorflow.serving.PredictionService/Predict"
    is_over = threading.Event()

    def nothing():
        is_over.wait(20)
        yield from ()

    with grpc.insecure_channel(served.grpc) as channel:
        calls = [channel.stream_unary(path).future(nothing()) for _ in range(50)]
        time.sleep(0.5)
        with grpc.insecure_channel(
            served.grpc, [("grpc.use_local_subchannel_pool", 1)]
        ) as other:
            with pytest.raises(grpc.RpcError) as refused:
                other.unary_unary(path)(b"", timeout=20)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        is_over.set()
        for call in calls:
            call.cancel()
