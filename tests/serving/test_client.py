import concurrent.futures
import contextlib
import io
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError, ServerError
from serving import client as client_module
from serving import encoding, grpc_client, wire_messages
from serving.client import Client
from serving.server_answers import Refused

MODEL = "colours"
GREEN = np.full((4, 4, 3), (20, 50, 30), np.uint8)


def image(red, green, blue):
    return np.full((4, 4, 3), (red, green, blue), np.uint8)


def noise(seed=0, side_px=64):
    return np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3), np.uint8)


def png(pixels):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def connect():
    """Function (model server, **more) -> Client that never waits long."""
    clients = []

    def make(server, model=MODEL, **more):
        address = server if isinstance(server, str) else server.address
        clients.append(Client(address, model, **({"deadline_seconds": 10} | more)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(client_module, "_back_off", lambda state: 0.01)


def test_predict(colours, connect):
    (found,) = connect(colours).predict([GREEN])
    assert found.label == "green"
    # Equal, not only close: float32 as the local model has it.
    assert found.score == float(np.float32(50) / np.float32(100))
    assert found.top == [
        ("green", found.score),
        ("the blue", float(np.float32(0.3))),
        ("red", float(np.float32(0.2))),
    ]
    assert len(connect(colours).predict([GREEN], top=2)[0].top) == 2


def test_all_kinds_of_images_agree_in_order(colours, connect, tmp_path):
    pixels = image(0, 0, 9)
    path = tmp_path / "blue.png"
    path.write_bytes(png(pixels))
    bitmap = io.BytesIO()
    Image.fromarray(pixels).save(bitmap, "BMP")
    kinds = [path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels]
    found = connect(colours).predict([*kinds, bitmap.getvalue(), image(9, 0, 0)])
    assert [prediction.label for prediction in found] == ["the blue"] * 6 + ["red"]


def test_batches_are_small_bounded_and_in_order(colours, connect):
    colours.seconds = 0.05
    shades = [image(shade, 100 - shade, 0) for shade in range(100)]
    found = connect(colours, batch_size=8, concurrency=3).predict(shades)
    reds = [dict(prediction.top)["red"] for prediction in found]
    assert reds == pytest.approx(np.arange(100) / 100)
    assert sorted(colours.batches) == [4] + [8] * 12
    assert colours.most_at_once == 3


def test_batches_are_small_in_bytes(colours, connect, monkeypatch):
    pixels = noise()
    monkeypatch.setattr(client_module, "BATCH_BYTES", 2 * len(png(pixels)) + 1000)
    connect(colours).predict([pixels] * 5)
    assert sorted(colours.batches) == [1, 2, 2]


def test_images_are_read_when_they_are_sent(colours, connect):
    """A folder of millions does not lie in memory."""
    read = []

    class Lazy(list):
        def __iter__(self):
            for place in range(len(self)):
                read.append((place, len(colours.batches)))
                yield GREEN

    colours.seconds = 0.02
    connect(colours, batch_size=1, concurrency=2).predict(Lazy([None] * 12))
    assert read[-1][0] == 11
    # At most three batches wait beside the one that is being made.
    assert all(place - answered <= 5 for place, answered in read)


def test_nothing_gives_nothing(colours, connect):
    assert connect(colours).predict([]) == []
    assert colours.batches == []


def test_wrong_calls_are_refused_at_once(connect):
    client = connect("http://localhost:1")
    with pytest.raises(TypeError, match="put it into a list"):
        client.predict("cat.png")
    with pytest.raises(ValueError, match="at least 1"):
        client.predict([GREEN], top=0)
    for name in ("batch_size", "concurrency", "deadline_seconds", "attempts"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive"):
            connect("http://localhost:1", **{name: 0})


@pytest.mark.parametrize(
    ("model", "asked", "version"),
    [
        ("colours", ("colours", None, None), 9),
        ("colours@7", ("colours", 7, None), 7),
        ("colours:stable", ("colours", None, "stable"), 7),
    ],
)
def test_versions_and_labels(colours, connect, model, asked, version):
    client = connect(colours, model)
    answer = client.ask([GREEN])
    assert colours.asked == [asked]
    # TensorFlow Serving's REST does not say which version answered.
    assert answer.versions == ((version,) if "grpc" in colours.address else ())
    assert answer.labels == ("red", "green", "the blue")
    assert client.metadata()["model_spec"]["version"] == str(version)
    assert client.model == model
    assert repr(client) == f"Client('{colours.address}', model='{model}')"


def test_the_local_server_says_more(serve_rest, connect):
    local = serve_rest(is_local=True)
    client = connect(local, None)
    assert client.models() == ["colours"]
    assert client.ask([GREEN]).versions == (9,)
    assert client.model == "colours"


def test_a_server_that_does_not_tell_its_models(colours, connect):
    client = connect(colours, None)
    with pytest.raises(ConfigError, match="does not list its models"):
        client.models()
    with pytest.raises(ConfigError, match="which model of") as caught:
        client.predict([GREEN])
    assert caught.value.expected == "NAME, NAME@VERSION or NAME:LABEL"
    with pytest.raises(ConfigError, match="which model of"):
        client.is_healthy()


def test_labels_are_left_open_where_they_are(colours, connect):
    assert connect(colours).ask([image(5, 5, 5)]).labels == ()
    found = connect(colours).ask([image(5, 5, 5), image(1, 2, 3)])
    assert found.labels == ("red", "green", "the blue")


def test_versions_with_other_classes_do_not_mix(colours, connect):
    """A new version, with another list of classes, takes over between two batches."""
    colours.class_lists = [("red", "green", "the blue"), ("ant", "red", "bee")]
    client = connect(colours, batch_size=1, concurrency=1)
    answer = client.ask([image(1, 2, 3), image(1, 2, 3), image(3, 2, 1)])
    assert [found.label for found in answer.predictions] == ["the blue", "bee", "red"]
    assert {name for name, _ in answer.predictions[1].top} == {"ant", "red", "bee"}
    assert answer.labels == ()
    colours.class_lists = [("ant", "red", "bee")]
    assert client.ask([image(1, 2, 3)]).labels == ("ant", "red", "bee")


def test_status(colours, connect):
    newest, older = connect(colours).status()
    assert (newest.version, newest.state, newest.error_code) == (9, "AVAILABLE", "OK")
    assert older.version == 7
    (only,) = connect(colours, "colours@7").status()
    assert (only.version, only.error_message) == (7, "")


def test_both_interfaces_give_the_same_metadata(serve_rest, serve_grpc, connect):
    by_rest = connect(serve_rest()).metadata()
    assert connect(serve_grpc()).metadata() == by_rest
    signature = by_rest["metadata"]["signature_def"]["signature_def"]["predict_images"]
    assert signature["inputs"]["images"]["dtype"] == "DT_STRING"
    assert signature["outputs"]["scores"]["tensor_shape"]["dim"][1]["size"] == "3"


def test_is_healthy(colours, connect):
    assert connect(colours).is_healthy()
    assert connect(colours, "colours@7").is_healthy()
    assert not connect(colours, "colours@8").is_healthy()
    assert not connect(colours, "dogs").is_healthy()
    colours.failures.append(("UNAVAILABLE", "not now"))
    assert not connect(colours).is_healthy()


def test_is_healthy_where_nobody_listens(connect):
    for scheme in ("http://", "grpc://"):
        begun = time.monotonic()
        assert not connect(f"{scheme}localhost:1").is_healthy()
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_what_may_be_retried_is(colours, connect, code):
    colours.failures += [(code, "busy")] * 3
    assert connect(colours, attempts=4).predict([GREEN])[0].label == "green"
    assert len(colours.batches) == 4


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("UNAVAILABLE", "cannot answer for colours now"),
        ("RESOURCE_EXHAUSTED", "is busy"),
    ],
)
def test_retries_end(colours, connect, code, message):
    colours.failures += [(code, "so it goes")] * 5
    with pytest.raises(ServerError, match=message) as caught:
        connect(colours, attempts=3).predict([GREEN])
    assert caught.value.found == "so it goes"
    assert len(colours.batches) == 3


@pytest.mark.parametrize(
    ("code", "text", "error", "message"),
    [
        (
            "INVALID_ARGUMENT",
            "no",
            ConfigError,
            "rejects the request for colours",
        ),
        ("NOT_FOUND", "no", ConfigError, "does not serve colours"),
        ("UNAUTHENTICATED", "no", ConfigError, "denies this client access"),
        ("INTERNAL", "oh", ServerError, "failed: oh"),
        ("DEADLINE_EXCEEDED", "late", ServerError, "no answer .* within 10 s"),
    ],
)
def test_what_may_not_be_retried_is_not(colours, connect, code, text, error, message):
    colours.failures += [(code, text)] * 2
    with pytest.raises(error, match=message):
        connect(colours).predict([GREEN])
    assert len(colours.batches) == 1


def test_one_bad_batch_of_many_ends_the_call(colours, connect):
    colours.failures += [("INTERNAL", "oh")]
    with pytest.raises(ServerError, match="failed: oh"):
        connect(colours, batch_size=1, concurrency=2).predict([GREEN] * 50)
    assert len(colours.batches) < 10


def test_the_wait_that_the_server_asks_for(serve_rest, connect):
    model = serve_rest()
    model.retry_after = "1"
    model.failures.append(("RESOURCE_EXHAUSTED", "busy"))
    begun = time.monotonic()
    connect(model).predict([GREEN])
    assert time.monotonic() - begun >= 1
    # Longer than there is time: the answer is known at once.
    model.retry_after = "10"
    model.failures.append(("RESOURCE_EXHAUSTED", "busy"))
    begun = time.monotonic()
    with pytest.raises(ServerError, match="is busy"):
        connect(model, deadline_seconds=8).predict([GREEN])
    assert time.monotonic() - begun < 5


def test_a_connection_that_breaks_is_tried_again(serve_rest, connect):
    model = serve_rest()
    client = connect(model)
    client.predict([GREEN])
    model.failures.append(("CUT", ""))
    assert client.predict([GREEN])[0].label == "green"
    model.failures += [("CUT", "")] * 2
    with pytest.raises(ServerError, match="no model server answers"):
        connect(model, attempts=2).predict([GREEN])


def test_a_server_that_comes_back(serve_grpc, connect):
    with socket.socket() as place:
        place.bind(("localhost", 0))
        port = place.getsockname()[1]
    client = connect(f"grpc://localhost:{port}", attempts=1000)
    timer = threading.Timer(0.7, serve_grpc, kwargs={"port": port})
    timer.start()
    try:
        assert client.predict([GREEN])[0].label == "green"
    finally:
        timer.join()


def test_a_proxy_whose_server_comes_later(serve_grpc, connect):
    """As that of Docker: it takes the connection, and closes it."""
    with socket.create_server(("localhost", 0)) as proxy:
        port = proxy.getsockname()[1]
        proxy.settimeout(0.05)
        is_over = threading.Event()

        def close_all():
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    proxy.accept()[0].close()

        thread = threading.Thread(target=close_all)
        thread.start()
        client = connect(f"grpc://localhost:{port}", attempts=1000)
        with pytest.raises(ServerError, match="no model server answers"):
            connect(f"grpc://localhost:{port}", attempts=2).predict([GREEN])
        assert not client.is_healthy()
        is_over.set()
        thread.join()
    serve_grpc(port=port)
    assert client.predict([GREEN])[0].label == "green"


def test_deadline(colours, connect):
    colours.seconds = 3.0
    begun = time.monotonic()
    with pytest.raises(ServerError, match=r"no answer from .* within 0\.2 s"):
        connect(colours, deadline_seconds=0.2).predict([GREEN])
    assert time.monotonic() - begun < 2.5
    assert len(colours.batches) == 1


def test_deadline_holds_for_all_attempts(colours, connect):
    colours.failures += [("UNAVAILABLE", "no")] * 1000
    begun = time.monotonic()
    with pytest.raises(ServerError, match=r"cannot answer|no answer from"):
        connect(colours, deadline_seconds=0.3, attempts=1000).predict([GREEN])
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("scheme", ["http://", "grpc://"])
def test_a_server_that_says_nothing(connect, scheme):
    with socket.create_server(("localhost", 0)) as mute:
        address = f"{scheme}localhost:{mute.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"no answer from|no model server"):
            connect(address, deadline_seconds=0.3).predict([GREEN])


def test_an_answer_that_drips(connect):
    """Each byte is in time, the whole is not."""

    def drip(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
            try:
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                pass

    with socket.create_server(("localhost", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        address = f"http://localhost:{server.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(ServerError, match=r"within 0\.4 s"):
            connect(address, deadline_seconds=0.4).predict([GREEN])
        assert time.monotonic() - begun < 2
        thread.join()


def test_an_unreadable_image_is_named(colours, connect, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("nothing")
    with pytest.raises(DataError, match=r"cannot read image .*bad\.png: not an image"):
        connect(colours).predict([GREEN, bad])
    assert colours.batches == []


def test_an_image_that_the_server_refuses_is_named(colours, connect):
    whole = png(noise())
    damaged = whole[: len(whole) // 2]
    with pytest.raises(DataError) as caught:
        connect(colours).predict([GREEN, whole, damaged])
    with pytest.raises(DataError) as locally:
        encoding.encode(damaged, "number 2")
    # The words are those of the local model.
    assert caught.value.message == locally.value.message
    assert len(colours.batches) == 1


def test_unknown_models_versions_and_labels(colours, connect):
    for model, text in (
        ("dogs", "Servable not found for request: Latest(dogs)"),
        ("colours@8", "Servable not found for request: Specific(colours, 8)"),
        ("colours:old", "Unrecognized servable version label: old"),
    ):
        with pytest.raises(ConfigError, match=f"does not serve {model}") as caught:
            connect(colours, model).predict([GREEN])
        assert caught.value.found == text


def test_a_batch_that_is_too_large_for_the_server(colours, connect):
    text = "Task size 64 is larger than maximum input batch size 32"
    colours.failures.append(("INVALID_ARGUMENT", text))
    with pytest.raises(ConfigError) as caught:
        connect(colours).predict([GREEN])
    assert caught.value.found == text
    assert "batch_size of at most max_batch_size" in caught.value.tip


def test_a_model_without_our_signature(colours, connect):
    text = 'Serving signature name: "predict_images" not found in signature def'
    colours.failures.append(("INVALID_ARGUMENT", text))
    with pytest.raises(ConfigError) as caught:
        connect(colours).predict([GREEN])
    assert "predict_images" in caught.value.tip


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "[]",
        '{"predictions": []}',
        '{"predictions": [{"scores": [1]}]}',
        '{"predictions": [[0.1]]}',
        "{" * 100_000,
    ],
)
def test_answers_of_another_form(serve_rest, connect, text):
    model = serve_rest()
    model.failures.append(("200", text))
    with pytest.raises(ConfigError, match="is not a model server") as caught:
        connect(model).predict([GREEN])
    assert caught.value.expected == "TensorFlow Serving, or slimline serve"


def test_floats_as_bytes(serve_grpc, connect):
    """TensorFlow Serving can be built to answer so; TensorFlow itself does."""
    (found,) = connect(serve_grpc(is_in_content=True)).predict([GREEN])
    assert found.top[0] == ("green", 0.5)
    assert found.top[2] == ("red", float(np.float32(0.2)))


def response(**outputs):
    found = wire_messages.message_class("PredictResponse")()
    for name, (shape, values) in outputs.items():
        tensor = found.outputs[name]
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        if isinstance(values[0], bytes):
            tensor.dtype = wire_messages.STRING
            tensor.string_val.extend(values)
        else:
            tensor.dtype = wire_messages.FLOAT
            tensor.float_val.extend(values)
    return found


def test_tables_of_a_response():
    found = response(scores=([2, 2], [0.5, 0.25]), classes=([2, 1], [b"a", b"\xff"]))
    # What is left out repeats the last value.
    assert grpc_client._table(found, "scores", 2) == [[0.5, 0.25], [0.25, 0.25]]
    assert grpc_client._table(found, "classes", 2) == [["a"], ["\ufffd"]]


@pytest.mark.parametrize(
    ("shape", "values", "message"),
    [
        ([3, 1], [0.5], r"shape \[3, 1\] with 1 values for 2 images"),
        ([2], [0.5], r"shape \[2\] with 1 values for 2 images"),
        ([2, 1], [0.1, 0.2, 0.3], "3 values"),
    ],
)
def test_outputs_of_another_form(shape, values, message):
    with pytest.raises(Refused, match=message):
        grpc_client._table(response(scores=(shape, values)), "scores", 2)
    with pytest.raises(Refused, match="output 'classes'"):
        grpc_client._table(response(), "classes", 2)
    number = response(scores=([2, 1], [0.5]))
    number.outputs["scores"].dtype = 9
    with pytest.raises(Refused, match="0 values"):
        grpc_client._table(number, "scores", 2)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("307", ConfigError, "redirects its clients"),
        ("405", ConfigError, "is not a model server"),
        ("413", ConfigError, "too large for"),
        ("502", ServerError, "cannot answer"),
        ("418", ServerError, "failed: status 418"),
    ],
)
def test_answers_of_proxies(serve_rest, connect, status, error, message):
    model = serve_rest()
    model.failures += [(status, "<html>")] * 2
    with pytest.raises(error, match=message):
        connect(model, attempts=2).predict([GREEN])


def test_the_wrong_interface(serve_rest, serve_grpc, connect):
    rest, grpc = serve_rest(), serve_grpc()
    for wrong in (f"grpc://{rest.target}", f"http://{grpc.target}"):
        # By name gRPC tries IPv6, too, where nobody listens, and tells what came last.
        address = wrong.replace("localhost", "127.0.0.1")
        with pytest.raises(ConfigError, match="is not a model server") as caught:
            connect(address).predict([GREEN])
        assert "gRPC is at port 8500, REST at port 8501" in caught.value.tip


def test_something_else_listens(connect):
    def greet(server):
        for _ in range(1):
            with server.accept()[0] as connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.recv(1000)

    with socket.create_server(("localhost", 0)) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        with pytest.raises(ConfigError, match="is not a model server"):
            connect(f"http://localhost:{server.getsockname()[1]}").predict([GREEN])
        thread.join()


def test_another_grpc_service(connect):
    import grpc

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    with pytest.raises(ConfigError, match="is not a model server"):
        connect(f"grpc://localhost:{port}").predict([GREEN])
    server.stop(None)


@pytest.mark.parametrize("scheme", ["http://", "grpc://"])
def test_nobody_listens(connect, scheme):
    begun = time.monotonic()
    address = f"{scheme}localhost:1"
    with pytest.raises(ServerError) as caught:
        connect(address).predict([GREEN])
    assert caught.value.message == f"no model server answers at {address}"
    assert caught.value.found == "Connection refused"
    assert caught.value.tip == "slimline serve starts one on this machine"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("scheme", ["http://", "grpc://"])
def test_unknown_host(connect, scheme):
    with pytest.raises(ConfigError, match=r"there is no host 'no\.invalid'"):
        connect(f"{scheme}no.invalid:8501").predict([GREEN])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(key, certificate) for localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    key, pem = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        f" -keyout {key} -out {pem} -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost",
        shell=True,
        check=True,
        capture_output=True,
    )
    return key, pem


@pytest.fixture(params=["rest", "grpc"])
def encrypted(request, certificate):
    """The model behind encrypted connections."""
    key, pem = certificate
    serve = request.getfixturevalue(f"serve_{request.param}")
    if request.param == "grpc":
        return serve(tls=(key.read_bytes(), pem.read_bytes()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return serve(tls=context)


def test_encrypted(encrypted, connect, certificate):
    client = connect(encrypted, ca_file=str(certificate[1]), token="secret")
    assert client.predict([GREEN])[0].label == "green"
    assert encrypted.headers["authorization"] == "Bearer secret"


def test_unknown_authority(encrypted, connect):
    with pytest.raises(ConfigError, match="cannot encrypt the connection") as caught:
        connect(encrypted).predict([GREEN])
    assert "certificate" in caught.value.found.lower()
    assert "--ca-file" in caught.value.tip


def test_certificate_of_another_host(encrypted, connect, certificate):
    address = encrypted.address.replace("localhost", "127.0.0.1")
    with pytest.raises(ConfigError, match="cannot encrypt the connection"):
        connect(address, ca_file=str(certificate[1])).predict([GREEN])


def test_encryption_that_the_server_has_not(colours, connect, certificate):
    address = colours.address.replace("://", "s://")
    with pytest.raises(ConfigError, match="cannot encrypt the connection"):
        connect(address, ca_file=str(certificate[1])).predict([GREEN])


def test_ca_file_that_is_not_there(encrypted, connect):
    with pytest.raises(ConfigError, match=r"none\.pem"):
        connect(encrypted, ca_file="none.pem")


def test_token_and_headers(colours, connect, monkeypatch, tmp_path):
    # A line for the host in ~/.netrc must not take the token's place.
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client = connect(colours, token="secret", headers={"X-Tenant": "birds"})
    client.predict([GREEN])
    assert colours.headers["authorization"] == "Bearer secret"
    assert colours.headers["x-tenant"] == "birds"
    assert "secret" not in repr(client)


@pytest.mark.parametrize(
    "more",
    [
        {"headers": {"x-tenant": "a\r\nb: c"}},
        {"headers": {"x tenant": "a"}},
        {"token": "a\nb"},
    ],
)
def test_headers_that_cannot_be_sent(connect, more):
    with pytest.raises(ConfigError, match=r"the header '.*' cannot be sent"):
        connect("http://localhost:1", **more)


def test_a_path_before_the_interface(serve_rest, connect):
    client = connect(f"{serve_rest().address}/cluster/")
    with pytest.raises(ConfigError, match="is not a model server"):
        client.predict([GREEN])  # the fake has no such path, and says so
    assert client.address.endswith("/cluster")


def test_threads_may_share_a_client(colours, connect):
    client = connect(colours, batch_size=2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        shades = [image(shade, 100 - shade, 0) for shade in range(48)]
        parts = pool.map(
            client.predict, [shades[at : at + 6] for at in range(0, 48, 6)]
        )
        found = [prediction for part in parts for prediction in part]
    assert [dict(one.top)["red"] for one in found] == pytest.approx(np.arange(48) / 100)


def test_a_client_may_be_closed_twice(colours):
    with Client(colours.address, MODEL) as client:
        client.predict([GREEN])
    client.close()


def test_no_tensorflow(colours):
    """A process of its own: here, TensorFlow is loaded already."""
    code = (
        "import json, sys, time\n"
        "begun = time.process_time()\n"
        "from serving.client import Client\n"
        "seconds = time.process_time() - begun\n"
        f"client = Client({colours.address!r}, 'colours')\n"
        f"found = client.predict([bytes.fromhex({png(GREEN).hex()!r})])\n"
        "client.status(), client.metadata(), client.is_healthy()\n"
        "print(json.dumps([found[0].label, 'tensorflow' in sys.modules, seconds]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    label, has_tensorflow, seconds = json.loads(done.stdout)
    assert (label, has_tensorflow) == ("green", False)
    assert seconds < 1.5  # 0.4 where nothing else runs
