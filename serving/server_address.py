"""The address of a model server and the interface behind it."""

import dataclasses
import urllib.parse

from common.errors import ConfigError

REST = "rest"
GRPC = "grpc"
# Scheme -> interface, whether it is encrypted, and default port.
SCHEMES: dict[str, tuple[str, bool, int | None]] = {
    "http": (REST, False, 80),
    "https": (REST, True, 443),
    "grpc": (GRPC, False, None),
    "grpcs": (GRPC, True, None),
}


@dataclasses.dataclass(frozen=True)
class Address:
    """The address of a server."""

    text: str  # as given, for messages
    protocol: str  # REST or GRPC
    host: str  # name or IP address, an IPv6 one without brackets
    port: int  # TCP port
    is_tls: bool  # whether the connection is encrypted
    path: str = ""  # prefix of the paths of the REST interface behind a proxy, or ''

    @property
    def target(self) -> str:
        """host:port, as in gRPC and in URLs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(text: str) -> Address:
    """The address in a URL.

    Raises:
      ConfigError: it is no URL of a known scheme, or holds a password.
    """
    if "://" not in text:
        raise _refused(text, f"http://{text} for REST, grpc://{text} for gRPC")
    try:
        parts = urllib.parse.urlsplit(text)
        protocol, is_tls, default = SCHEMES.get(parts.scheme, ("", False, None))
        port = parts.port or default
    except ValueError as error:
        raise _refused(text) from error
    if parts.username or parts.password:
        # Not shown: the text holds a password.
        raise ConfigError(
            "the address of the server holds a user name or password",
            tip="give a token beside it; that is not logged with the address",
        )
    path = parts.path.rstrip("/")
    has_rest = parts.query or parts.fragment or (path and protocol != REST)
    if not (protocol and parts.hostname and port) or has_rest:
        raise _refused(text)
    if any(one.isspace() or one in "\\@,'\"" for one in parts.hostname):
        raise _refused(text)
    return Address(text.rstrip("/"), protocol, parts.hostname, port, is_tls, path)


def _refused(text: str, tip: str = "") -> ConfigError:
    return ConfigError(
        f"'{text}' is not the address of a server",
        expected="http://HOST:PORT (REST) or grpc://HOST:PORT; https:// and grpcs:// for"
        " encrypted connections",
        tip=tip or "http://localhost:8501 for a server on this machine",
    )
