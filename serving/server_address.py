"""Where a model server listens, and which of its two interfaces is there."""

import dataclasses
import socket
import ssl
import urllib.parse

from schema.errors import ConfigError
from serving import refusals
from serving.refusals import Refused

REST = "rest"
GRPC = "grpc"
# Scheme -> interface and whether it is encrypted.
SCHEMES = {
    "http": (REST, False),
    "https": (REST, True),
    "grpc": (GRPC, False),
    "grpcs": (GRPC, True),
}
_PORTS = {"http": 80, "https": 443}
# How a client of HTTP/2 begins, with an empty frame of settings. A server of HTTP/2 sends
# its settings in return; one of HTTP/1 has never heard of the method PRI.
# Reference: RFC 9113, sections 3.4 and 6.5.
_HTTP2_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP1_REQUEST = b"GET / HTTP/1.0\r\n\r\n"
_FRAME_HEAD_BYTES = 9
_SETTINGS_FRAME = 4


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
      text: as it was given, for messages.
      protocol: REST, GRPC, or '' where the server is to be asked.
      host: name or number; an IPv6 one without brackets.
      port: TCP port.
      is_tls: whether the connection is encrypted.
      path: that a proxy puts before the paths of the REST interface, or ''.
    """

    text: str
    protocol: str
    host: str
    port: int
    is_tls: bool = False
    path: str = ""

    @property
    def target(self) -> str:
        """host:port, as gRPC and the authority of a URL have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(text: str) -> Address:
    """The address that 'HOST:PORT' or a URL means.

    Raises:
      ConfigError: it is neither, or holds a password.
    """
    scheme, has_scheme, _ = text.partition("://")
    if has_scheme and scheme not in SCHEMES:
        raise _refused(text)
    try:
        parts = urllib.parse.urlsplit(text if has_scheme else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise _refused(text) from error
    if parts.username or parts.password:
        # Not shown: the text holds a password.
        raise ConfigError(
            "the address of the server holds a user name or password",
            tip="give a token beside it; that is not logged with the address",
        )
    port = port or _PORTS.get(parts.scheme)
    protocol, is_tls = SCHEMES.get(parts.scheme, ("", False))
    path = parts.path.rstrip("/")
    has_rest = parts.query or parts.fragment or (path and protocol != REST)
    if not parts.hostname or not port or has_rest or not _is_host(parts.hostname):
        raise _refused(text)
    return Address(text.rstrip("/"), protocol, parts.hostname, port, is_tls, path)


def find_protocol(address: Address, timeout_seconds: float) -> str:
    """REST or GRPC: what the server at an address without a scheme speaks.

    Raises:
      Refused: there is no answer.
      ConfigError: there is no such host, or it wants encrypted connections.
    """
    try:
        reply = _first_reply(address, timeout_seconds, _HTTP2_BEGIN)
        if reply[3:4] == bytes([_SETTINGS_FRAME]):
            return GRPC
        # Servers of HTTP/1 answer each in its way, or close the connection without a word,
        # as do encrypted ones, and proxies whose server is not there yet.
        if reply or _first_reply(address, timeout_seconds, _HTTP1_REQUEST):
            return REST
    except socket.gaierror as error:
        raise unknown_host(address) from error
    except TimeoutError as error:
        raise Refused(refusals.DEADLINE_EXCEEDED, "the time is over") from error
    except OSError as error:
        raise Refused(refusals.NO_CONNECTION, error.strerror or str(error)) from error
    if _is_encrypted(address, timeout_seconds):
        raise ConfigError(
            f"the server at {address.target} wants encrypted connections",
            tip=f"https://{address.target} or grpcs://{address.target}",
        )
    raise Refused(refusals.NO_CONNECTION, "the connection is closed at once")


def _first_reply(address: Address, timeout_seconds: float, request: bytes) -> bytes:
    """What comes back at first; b'' where the connection is closed."""
    with _connect(address, timeout_seconds) as connection:
        try:
            connection.sendall(request)
            return connection.recv(_FRAME_HEAD_BYTES)
        except ConnectionError:
            return b""


def _is_encrypted(address: Address, timeout_seconds: float) -> bool:
    # Nothing is sent that anybody may not read.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            _connect(address, timeout_seconds) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


def _connect(address: Address, timeout_seconds: float) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout_seconds)


def unknown_host(address: Address) -> ConfigError:
    """The error where a name has no address."""
    return ConfigError(f"there is no host '{address.host}'", found=address.text)


def encryption_error(address: Address, reason: str) -> ConfigError:
    """The error where an encrypted connection does not come about."""
    return ConfigError(
        f"no encrypted connection to {address.text}",
        found=reason,
        expected="a certificate for this host by a known authority",
        tip="--ca-file names the authority of an own certificate; http:// and grpc:// do"
        " not encrypt",
    )


def not_a_model_server(address: Address, found: str) -> ConfigError:
    """The error where something else listens."""
    return ConfigError(
        f"what listens at {address.text} is no model server",
        found=found,
        expected="TensorFlow Serving, or slimline serve",
        tip="gRPC is at port 8500, REST at port 8501, where nobody changed it",
    )


def _is_host(host: str) -> bool:
    return not any(sign.isspace() or sign in "\\@,'\"" for sign in host)


def _refused(text: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is no address of a server",
        expected="HOST:PORT, http://HOST:PORT (REST) or grpc://HOST:PORT; https:// and"
        " grpcs:// for encrypted connections",
        tip="localhost:8501 for a server on this machine",
    )
