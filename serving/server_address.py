"""Where a model server listens, by which of its two interfaces."""

import dataclasses
import urllib.parse

from common.errors import ConfigError

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


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
      text: as it was given, for messages.
      protocol: REST or GRPC.
      host: name or number; an IPv6 one without brackets.
      port: TCP port.
      is_tls: whether the connection is encrypted.
      path: that a proxy puts before the paths of the REST interface, or ''.
    """

    text: str
    protocol: str
    host: str
    port: int
    is_tls: bool
    path: str = ""

    @property
    def target(self) -> str:
        """host:port, as gRPC and the authority of a URL have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(text: str) -> Address:
    """The address that a URL means.

    Raises:
      ConfigError: it is no URL of a known scheme, or holds a password.
    """
    if "://" not in text:
        raise _refused(text, f"http://{text} for REST, grpc://{text} for gRPC")
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise _refused(text) from error
    if parts.username or parts.password:
        # Not shown: the text holds a password.
        raise ConfigError(
            "the address of the server holds a user name or password",
            tip="give a token beside it; that is not logged with the address",
        )
    protocol, is_tls = SCHEMES.get(parts.scheme, ("", False))
    path = parts.path.rstrip("/")
    has_rest = parts.query or parts.fragment or (path and protocol != REST)
    if not (protocol and parts.hostname and port) or has_rest:
        raise _refused(text)
    if any(one.isspace() or one in "\\@,'\"" for one in parts.hostname):
        raise _refused(text)
    return Address(text.rstrip("/"), protocol, parts.hostname, port, is_tls, path)


def _refused(text: str, tip: str = "") -> ConfigError:
    return ConfigError(
        f"'{text}' is no address of a server",
        expected="http://HOST:PORT (REST) or grpc://HOST:PORT; https:// and grpcs:// for"
        " encrypted connections",
        tip=tip or "http://localhost:8501 for a server on this machine",
    )
