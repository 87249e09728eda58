"""A way to a Kubeflow Pipelines server: kfp's client, with errors that are sentences."""

import contextlib
import dataclasses
import functools
import io
import json
import logging
import ssl
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import kfp
import kfp_server_api
import urllib3

from common.errors import ConfigError, ServerError, SlimlineError

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
API = "the API of Kubeflow Pipelines"
_MESSAGE_CHARACTERS = 300


@dataclasses.dataclass(frozen=True)
class Connection:
    """How the server is reached.

    Attributes:
      host: URL of the API, as http://localhost:8080 or https://kubeflow.example.com/pipeline;
        https:// where it names no protocol.
      namespace: of the user, on a server that several share.
      token: for the header Authorization, '' for none.
      cookie: of a log-in in the browser, '' for none.
      ca_file: certificates (PEM) that the server's is checked against, '' for the usual.
    """

    host: str
    namespace: str = ""
    token: str = ""
    cookie: str = ""
    ca_file: str = ""


class Client(kfp.Client):
    """kfp's client, which asks once and not for ever, and writes no file of its own."""

    _health: Any = None

    def _load_config(self, *arguments: Any, **named: Any) -> Any:
        """See base class."""
        config = super()._load_config(*arguments, **named)
        config.retries = urllib3.Retry(
            total=None, connect=1, read=0, redirect=3, status=0, other=0
        )
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """See base class.

        Raises:
          ServerError: something answers, but not the API.
        """
        if self._health is None:
            api = self._healthz_api
            health = api.healthz_service_get_healthz(_request_timeout=_timeout())
            try:
                json.loads(api.api_client.last_response.data)
            except ValueError as error:
                raise ServerError(
                    "a web page answers in place of the API of Kubeflow Pipelines",
                    tip="it may be a log-in: --token-file FILE; or another path: Kubeflow's"
                    " gateway has the API below /pipeline",
                ) from error
            self._health = health
        return self._health

    def set_user_namespace(self, namespace: str) -> None:
        """See base class; kept in memory."""
        self._context_setting["namespace"] = namespace

    def limit_time(self) -> None:
        """From now on no request waits for ever, as those of the base class do."""
        api = self._run_api.api_client
        call = api.call_api

        @functools.wraps(call)
        def limited(*arguments: Any, **named: Any) -> Any:
            named["_request_timeout"] = named.get("_request_timeout") or _timeout()
            return call(*arguments, **named)

        api.call_api = limited

    def make_pipeline(self, name: str, namespace: str | None) -> Any:
        """An empty pipeline, whose first version then has its own name."""
        body = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=namespace)
        return self._pipelines_api.pipeline_service_create_pipeline(body=body)


def connect(connection: Connection) -> tuple[Client, str | None]:
    """The client, and the namespace to name in requests: None on a server of one's own.

    Raises:
      ConfigError: no host, a certificate that is not trusted, no rights, or no namespace
        where one is needed.
      ServerError: it does not answer as it should.
    """
    host = url(connection.host)
    if connection.ca_file:
        _check_certificates(connection.ca_file)
    with asking(host, API):
        client = Client(
            host=host,
            # The base class means its default by none.
            namespace=connection.namespace or "kubeflow",
            existing_token=connection.token or None,
            cookies=connection.cookie or None,
            ssl_ca_cert=connection.ca_file or None,
        )
        is_shared = bool(client.get_kfp_healthz().multi_user)
    client.limit_time()
    if not is_shared:
        # A server of one's own is to be asked without one.
        client.set_user_namespace("")
        return client, None
    namespace = connection.namespace or client.get_user_namespace()
    if not namespace:
        raise ConfigError(
            f"{host} is shared: name your namespace",
            tip="--namespace NAME, that of your profile",
        )
    return client, namespace


def url(host: str) -> str:
    """The server's URL with its protocol and without a slash at the end.

    Raises:
      ConfigError: there is none, or it is no URL.
    """
    if not host:
        raise ConfigError(
            "no Kubeflow Pipelines server is named",
            expected="--host URL, or the variable KFP_HOST",
            tip="kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, then"
            " --host http://localhost:8080",
        )
    full = host if "://" in host else f"https://{host}"
    is_address = False
    with contextlib.suppress(urllib3.exceptions.LocationValueError):
        parts = urllib3.util.parse_url(full)
        is_address = bool(parts.host) and parts.scheme in ("http", "https")
    if not is_address:
        raise ConfigError(
            f"'{host}' is not the address of a server",
            expected="as in http://localhost:8080",
        )
    return full.rstrip("/")


@contextlib.contextmanager
def asking(host: str, subject: str) -> Iterator[None]:
    """Turns errors of the client into sentences; what it prints and warns of vanishes.

    Args:
      host: the server's URL.
      subject: what is asked for.
    """
    retries = logging.getLogger("urllib3.connectionpool")
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SlimlineError:
        raise
    except kfp_server_api.ApiException as error:
        raise _refused(error, host, subject) from error
    except urllib3.exceptions.HTTPError as error:
        raise _unreachable(error, host) from error
    except ValueError as error:
        raise ServerError(
            f"{host} sent an answer that cannot be read", found=str(error)
        ) from error
    finally:
        retries.setLevel(level)


def _check_certificates(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ConfigError(
            f"{path} holds no certificates",
            found=error.strerror or str(error),
            expected="PEM, as -----BEGIN CERTIFICATE-----",
        ) from error


def _timeout() -> tuple[float, float]:
    return CONNECT_SECONDS, READ_SECONDS


def _refused(
    error: kfp_server_api.ApiException, host: str, subject: str
) -> SlimlineError:
    """The sentence for an answer that is an error."""
    said = _message(error)
    match error.status:
        case 401:
            return ConfigError(
                f"{host} requires a login (401)",
                found=said,
                tip="--token-file FILE, or the variable SLIMLINE_KUBEFLOW_TOKEN or"
                " SLIMLINE_KUBEFLOW_COOKIE",
            )
        case 403:
            return ConfigError(
                f"{host} denies it (403): {subject}",
                found=said,
                tip="is --namespace right? its owner grants rights",
            )
        case 404 if subject == API:
            return ConfigError(
                f"{API} is not at {host} (404)",
                tip="Kubeflow's gateway has it below /pipeline",
            )
        case 404:
            return ConfigError(f"no {subject} at {host} (404)", found=said)
        case 409:
            return ConfigError(
                f"the name is taken (409): {subject}", found=said, tip="choose another"
            )
        case status if status and status < 500:
            return ConfigError(
                f"{host} refuses the request ({status}): {subject}", found=said
            )
    return ServerError(f"{host} failed ({error.status}): {subject}", found=said)


def _message(error: kfp_server_api.ApiException) -> str:
    """What the server says of an error, in a line; '' where it says nothing to people."""
    try:
        body = json.loads(error.body or "")
        text = str(body.get("message") or body.get("error") or "").strip()
    except (ValueError, AttributeError):
        return ""
    line = text.partition("\n")[0]
    return textwrap.shorten(line, _MESSAGE_CHARACTERS, placeholder=" ...")


def _unreachable(error: Exception, host: str) -> SlimlineError:
    """The sentence for an answer that does not come."""
    reason = getattr(error, "reason", None) or error
    match reason:
        case urllib3.exceptions.SSLError():
            return _no_trust(str(reason), host)
        case urllib3.exceptions.NameResolutionError():
            return ServerError(
                f"cannot find the host of {host}", tip="is --host spelled right?"
            )
        case urllib3.exceptions.NewConnectionError():
            return ServerError(
                f"nothing answers at {host}",
                tip="does the server run, or its kubectl port-forward?",
            )
        case urllib3.exceptions.ReadTimeoutError():
            return ServerError(f"{host} does not answer within {READ_SECONDS:g} s")
        case urllib3.exceptions.ConnectTimeoutError():
            return ServerError(
                f"{host} cannot be reached within {CONNECT_SECONDS:g} s",
                tip="a firewall, or a network that this machine is not in?",
            )
    return ServerError(f"{host} closed the connection", found=str(reason))


def _no_trust(reason: str, host: str) -> ConfigError:
    """The sentence for a failure of TLS; `reason` is OpenSSL's text."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ConfigError(
            f"the certificate of {host} is not trusted",
            found=reason.partition("verify failed: ")[2].partition(" (_ssl")[0],
            tip="--ca-cert FILE with the certificates (PEM) that it is signed by",
        )
    return ConfigError(
        f"{host} does not speak TLS",
        found=reason.partition("] ")[2].partition(" (_ssl")[0],
        tip=f"is it --host {host.replace('https://', 'http://', 1)}?",
    )
