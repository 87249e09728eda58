import pytest

from common.errors import ConfigError
from serving import model_spec, server_address
from serving.model_spec import ModelSpec
from serving.server_address import GRPC, REST


@pytest.mark.parametrize(
    ("text", "protocol", "target", "is_tls", "path"),
    [
        ("grpc://10.0.0.7:1", GRPC, "10.0.0.7:1", False, ""),
        ("http://[::1]:8500", REST, "[::1]:8500", False, ""),
        ("http://localhost:8501", REST, "localhost:8501", False, ""),
        ("http://localhost:8501/", REST, "localhost:8501", False, ""),
        ("http://models.example", REST, "models.example:80", False, ""),
        ("https://models.example/a/b/", REST, "models.example:443", True, "/a/b"),
        ("grpc://localhost:8500", GRPC, "localhost:8500", False, ""),
        ("grpcs://[2001:db8::1]:443", GRPC, "[2001:db8::1]:443", True, ""),
    ],
)
def test_addresses(text, protocol, target, is_tls, path):
    found = server_address.parse(text)
    assert (found.protocol, found.target) == (protocol, target)
    assert (found.is_tls, found.path) == (is_tls, path)
    assert found.text == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:x",
        ":8500",
        "grpc://localhost",
        "grpc://localhost:8500/path",
        "localhost:8500/path",
        "http://",
        "http://localhost:1?a=b",
        "http://localhost:1#a",
        "ftp://localhost:1",
        "HTTP//localhost:1",
        "http://local host:1",
        "http://[::1:8500",
        "http://a\\b:1",
    ],
)
def test_no_addresses(text):
    with pytest.raises(ConfigError, match="is not the address of a server") as caught:
        server_address.parse(text)
    assert "HOST:PORT" in caught.value.expected


def test_an_address_without_a_scheme_is_told_how_to_go_on():
    with pytest.raises(ConfigError) as caught:
        server_address.parse("localhost:8501")
    assert caught.value.tip == (
        "http://localhost:8501 for REST, grpc://localhost:8501 for gRPC"
    )


def test_a_password_is_not_repeated():
    with pytest.raises(ConfigError, match="user name or password") as caught:
        server_address.parse("https://me:secret@models.example")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cifar10", ModelSpec("cifar10")),
        ("cifar10@6", ModelSpec("cifar10", 6)),
        ("a.b_c-1:canary", ModelSpec("a.b_c-1", None, "canary")),
        ("m@9223372036854775807", ModelSpec("m", 2**63 - 1)),
    ],
)
def test_models(text, expected):
    found = model_spec.parse(text)
    assert found == expected
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "@6", "m@", "m@x", "m@-1", "m@9223372036854775808"),
        *("m:", "m:a:b", "a/b", "m@1:a", "../m", "m@1/..", "m m", "m\n"),
    ],
)
def test_no_models(text):
    with pytest.raises(ConfigError, match="does not name a model of a server"):
        model_spec.parse(text)
