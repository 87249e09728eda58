"""Requests that mean harm, as bytes of HTTP, in the kinds that a measurement tells apart."""

import base64
import json
import struct
import zlib
from collections.abc import Callable

_MEGABYTE = 1_000_000
_ALLOWED_BYTES = 32 << 20
_NAMES = ("../" * 4 + "etc/passwd", "..%2f" * 4 + "etc/passwd", "%00", "x" * 8_000)


def connections(model: str) -> list[bytes]:
    """None: connections alone, which are there with every kind."""
    return []


def names(model: str) -> list[bytes]:
    """Models that are not there, under names that lead elsewhere."""
    return [_request(f"/v1/models/{name}:predict", b"{}") for name in _NAMES]


def bodies(model: str) -> list[bytes]:
    """Small and middling bodies that are no requests: deep, endless, or of wrong types."""
    found = [
        b'{"instances": ' + b"[" * 250_000,
        b'{"a":' * 250_000,
        b'{"instances": [' + b"9" * 5_000 + b"]}",
        b'{"instances": [1e999]}',
        b'{"instances": [1.5]}',
        b'{"instances": [["a"], ["a", "b"]]}',
        b'{"instances": ["a"',
        b"\x00" * 1_000,
        b'{"a": "' + b'\\"' * 500_000,
        b" " * 5 * _MEGABYTE,
        b'{"instances": [' + b"0," * 2 * _MEGABYTE + b"0]}",
        json.dumps({"instances": ["a"] * 1_025}).encode(),
    ]
    return [_request(_predict(model), body) for body in found]


def values(model: str) -> list[bytes]:
    """As many JSON values as are let through, of a type that no model takes."""
    return [_request(_predict(model), b'{"instances": [' + b"0," * 65_000 + b"0]}")]


def large(model: str) -> list[bytes]:
    """One string as long as a body may be: no image, and base64 of none."""
    rest = _ALLOWED_BYTES - 100
    found = [
        b'{"instances": ["' + b"a" * rest + b'"]}',
        b'{"instances": [{"b64": "' + b"!" * rest + b'"}]}',
        b'{"a": "' + b"\\n" * (rest // 2) + b'"}',
    ]
    return [_request(_predict(model), body) for body in found]


def too_large(model: str) -> list[bytes]:
    """100 MB, by the header and in chunks."""
    body = b"a" * 100 * _MEGABYTE
    chunk = b"a" * 65_536
    chunks = (f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n") * 1_600 + b"0\r\n\r\n"
    head = _request(_predict(model), b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    return [_request(_predict(model), body), head + chunks]


def images(model: str) -> list[bytes]:
    """What is no image, or says that it has 900 megapixels, or ends early."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"x")
    jpeg = b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00"
    found = []
    for image in (png, png[:20], jpeg, b"hello", b"", b"GIF89a"):
        text = base64.b64encode(image).decode()
        document = {
            "signature_name": "predict_images",
            "instances": [{"b64": text}],
        }
        found.append(_request(_predict(model), json.dumps(document).encode()))
    return found


KINDS: dict[str, Callable[[str], list[bytes]]] = {
    kind.__name__: kind
    for kind in (connections, names, images, bodies, values, large, too_large)
}


def _predict(model: str) -> str:
    return f"/v1/models/{model}:predict"


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )
