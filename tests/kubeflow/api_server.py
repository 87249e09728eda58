"""A small Kubeflow Pipelines API (v2beta1) over a real socket.

Requests are read and answers written by the models that kfp's own client is generated with:
a request with a field that its model does not know is answered with 400. What is refused
follows the Go code of kubeflow/pipelines, backend/src/apiserver.
"""

import contextlib
import dataclasses
import datetime
import email
import http.server
import json
import pathlib
import re
import ssl
import threading
import types
import urllib.parse
import uuid
from collections.abc import Callable
from typing import Any

import kfp_server_api
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

START = datetime.datetime(2026, 11, 26, 3, 0, tzinfo=datetime.UTC)
# A pipeline to send: what kfp's compiler writes, in small.
SPEC = {
    "pipelineInfo": {"name": "tiny"},
    "schemaVersion": "2.1.0",
    "root": {
        "dag": {
            "tasks": {
                name: {
                    "taskInfo": {"name": name},
                    "componentRef": {"name": name},
                    "cachingOptions": {"enableCache": True},
                }
                for name in ("ingest", "train")
            }
        },
        "inputDefinitions": {
            "parameters": {
                "data": {"parameterType": "STRING", "defaultValue": "/images"},
                "steps": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0.0},
                "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5},
            }
        },
    },
    "components": {
        name: {"executorLabel": f"{name}_executor"} for name in ("ingest", "train")
    },
    "deploymentSpec": {
        "executors": {
            f"{name}_executor": {"container": {"image": "registry/slimline:1"}}
            for name in ("ingest", "train")
        }
    },
}
PLATFORM = {
    "platforms": {
        "kubernetes": {
            "deploymentSpec": {
                "executors": {
                    "train_executor": {
                        "pvcMount": [{"constant": "slimline", "mountPath": "/slimline"}]
                    }
                }
            }
        }
    }
}
_MODELS = kfp_server_api.ApiClient()
_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = []


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as it came.

    Attributes:
      method: GET, POST or DELETE.
      path: below /apis/v2beta1/, decoded.
      query: parameters of the URL.
      body: as JSON; None where there is none, or a file.
      headers: name in lower case -> value.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


class Failure(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


def route(method: str, pattern: str) -> Callable[[Callable], Callable]:
    """Registers a method of `ApiServer` for the paths of `pattern`."""

    def register(handler: Callable) -> Callable:
        _ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


class ApiServer:
    """The server and what it holds.

    Attributes:
      requests: all that came.
      experiments, runs, schedules, pipelines: id -> the client's model.
      versions: id of the pipeline -> its versions.
      failures: (method, path) -> the answer instead.
      is_shared: whether requests must name a namespace.
      token: that requests must bring; '' lets all in.
    """

    def __init__(self) -> None:
        """Listens on a free port of this machine."""
        self.requests: list[Request] = []
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.schedules: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, list[Any]] = {}
        self.failures: dict[tuple[str, str], tuple[int, bytes, str]] = {}
        self.is_shared = False
        self.token = ""
        self._created = 0
        self._http = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), _handler_of(self)
        )
        self._http.daemon_threads = True
        self._scheme = "http"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the API's host."""
        return f"{self._scheme}://localhost:{self._http.server_port}"

    def close(self) -> None:
        """Ends the server."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def use_tls(self, certificate: str, key: str) -> None:
        """Speaks TLS from now on; the arguments are PEM files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._scheme = "https"

    def fail(self, method: str, path: str, status: int, message: str) -> None:
        """Answers requests of `path` with an error as the server words them."""
        body = {"error": message, "code": 13, "message": message, "details": []}
        self.say(method, path, status, json.dumps(body).encode(), "application/json")

    def say(
        self, method: str, path: str, status: int, body: bytes, content_type: str
    ) -> None:
        """Answers requests of `path` with these bytes."""
        self.failures[method, path] = status, body, content_type

    def sent(self, method: str) -> list[str]:
        """Paths of the requests of `method`, in order."""
        return [found.path for found in self.requests if found.method == method]

    def answer(self, request: Request, body: bytes) -> Any:
        """The model that answers a request.

        Raises:
          Failure: it is refused.
        """
        if self.token and request.headers.get("authorization") != (
            f"Bearer {self.token}"
        ):
            raise Failure(401, "Request header error: there is no user identity header")
        for method, pattern, handler in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return handler(self, request, body, *match.groups())
        raise Failure(404, "Not Found")

    # The API.

    @route("GET", "healthz")
    def _health(self, request: Request, body: bytes) -> Any:
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=self.is_shared)

    @route("GET", "experiments")
    def _list_experiments(self, request: Request, body: bytes) -> Any:
        listed, token = self._page(self.experiments, request)
        return kfp_server_api.V2beta1ListExperimentsResponse(
            experiments=listed, next_page_token=token
        )

    @route("POST", "experiments")
    def _create_experiment(self, request: Request, body: bytes) -> Any:
        made = _read(body, "V2beta1Experiment")
        self._check_namespace(made.namespace)
        if _named(self.experiments, made.display_name):
            raise Failure(409, f"The name {made.display_name} already exist.")
        made.experiment_id, made.created_at = self._new()
        self.experiments[made.experiment_id] = made
        return made

    @route("GET", "runs")
    def _list_runs(self, request: Request, body: bytes) -> Any:
        listed, token = self._page(self.runs, request)
        return kfp_server_api.V2beta1ListRunsResponse(
            runs=listed, next_page_token=token
        )

    @route("POST", "runs")
    def _create_run(self, request: Request, body: bytes) -> Any:
        made = _read(body, "V2beta1Run")
        self._check_job(made)
        made.run_id, made.created_at = self._new()
        made.state = "PENDING"
        self.runs[made.run_id] = made
        return made

    @route("GET", "runs/([^/]+)")
    def _get_run(self, request: Request, body: bytes, run_id: str) -> Any:
        return _get(self.runs, run_id, "Run")

    @route("DELETE", "runs/([^/]+)")
    def _delete_run(self, request: Request, body: bytes, run_id: str) -> None:
        _get(self.runs, run_id, "Run")
        del self.runs[run_id]

    @route("GET", "recurringruns")
    def _list_schedules(self, request: Request, body: bytes) -> Any:
        listed, token = self._page(self.schedules, request)
        return kfp_server_api.V2beta1ListRecurringRunsResponse(
            recurring_runs=listed, next_page_token=token
        )

    @route("POST", "recurringruns")
    def _create_schedule(self, request: Request, body: bytes) -> Any:
        made = _read(body, "V2beta1RecurringRun")
        self._check_job(made)
        if not 1 <= int(made.max_concurrency) <= 10:
            raise Failure(400, "The max concurrency of the job is out of range")
        made.recurring_run_id, made.created_at = self._new()
        made.status = "ENABLED" if made.mode == "ENABLE" else "DISABLED"
        self.schedules[made.recurring_run_id] = made
        return made

    @route("GET", "recurringruns/([^/]+)")
    def _get_schedule(self, request: Request, body: bytes, schedule_id: str) -> Any:
        return _get(self.schedules, schedule_id, "Job")

    @route("DELETE", "recurringruns/([^/]+)")
    def _delete_schedule(self, request: Request, body: bytes, schedule_id: str) -> None:
        _get(self.schedules, schedule_id, "Job")
        del self.schedules[schedule_id]

    @route("GET", "pipelines")
    def _list_pipelines(self, request: Request, body: bytes) -> Any:
        listed, token = self._page(self.pipelines, request)
        return kfp_server_api.V2beta1ListPipelinesResponse(
            pipelines=listed, next_page_token=token
        )

    @route("POST", "pipelines")
    def _create_pipeline(self, request: Request, body: bytes) -> Any:
        made = _read(body, "V2beta1Pipeline")
        self._check_namespace(made.namespace)
        if _named(self.pipelines, made.display_name):
            raise Failure(409, f"The name {made.display_name} already exist.")
        made.pipeline_id, made.created_at = self._new()
        self.pipelines[made.pipeline_id] = made
        self.versions[made.pipeline_id] = []
        return made

    @route("GET", "pipelines/([^/]+)")
    def _get_pipeline(self, request: Request, body: bytes, pipeline_id: str) -> Any:
        return _get(self.pipelines, pipeline_id, "Pipeline")

    @route("DELETE", "pipelines/([^/]+)")
    def _delete_pipeline(self, request: Request, body: bytes, pipeline_id: str) -> None:
        _get(self.pipelines, pipeline_id, "Pipeline")
        if self.versions[pipeline_id]:
            raise Failure(400, "Failed to delete: it has existing pipeline versions")
        del self.pipelines[pipeline_id]

    @route("POST", "pipelines/upload_version")
    def _upload_version(self, request: Request, body: bytes) -> Any:
        pipeline_id = request.query["pipelineid"]
        _get(self.pipelines, pipeline_id, "Pipeline")
        name = request.query["name"]
        if any(found.display_name == name for found in self.versions[pipeline_id]):
            raise Failure(409, f"The name {name} already exist.")
        spec, *platform = yaml.safe_load_all(_uploaded(request, body))
        made = kfp_server_api.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            display_name=name,
            pipeline_spec={"pipeline_spec": spec, "platform_spec": platform[0]}
            if platform
            else spec,
        )
        made.pipeline_version_id, made.created_at = self._new()
        self.versions[pipeline_id].append(made)
        return made

    @route("GET", "pipelines/([^/]+)/versions")
    def _list_versions(self, request: Request, body: bytes, pipeline_id: str) -> Any:
        _get(self.pipelines, pipeline_id, "Pipeline")
        versions = {
            found.pipeline_version_id: found for found in self.versions[pipeline_id]
        }
        listed, token = self._page(versions, request, is_in_namespace=False)
        return kfp_server_api.V2beta1ListPipelineVersionsResponse(
            pipeline_versions=listed, next_page_token=token
        )

    @route("GET", "pipelines/([^/]+)/versions/([^/]+)")
    def _get_version(
        self, request: Request, body: bytes, pipeline_id: str, version_id: str
    ) -> Any:
        versions = {
            found.pipeline_version_id: found for found in self.versions[pipeline_id]
        }
        return _get(versions, version_id, "PipelineVersion")

    @route("DELETE", "pipelines/([^/]+)/versions/([^/]+)")
    def _delete_version(
        self, request: Request, body: bytes, pipeline_id: str, version_id: str
    ) -> None:
        found = self._get_version(request, body, pipeline_id, version_id)
        self.versions[pipeline_id].remove(found)

    def _check_job(self, job: Any) -> None:
        """What the server asks of runs and schedules."""
        if not job.display_name:
            raise Failure(400, "The run name is empty. Please specify a valid name")
        if job.experiment_id not in self.experiments:
            raise Failure(404, f"Experiment {job.experiment_id} not found.")
        if job.pipeline_spec:
            return
        reference = job.pipeline_version_reference
        if not reference:
            raise Failure(400, "Please specify a pipeline by a spec or a version")
        if not any(
            found.pipeline_version_id == reference.pipeline_version_id
            for found in self.versions.get(reference.pipeline_id, ())
        ):
            raise Failure(404, "PipelineVersion not found.")

    def _check_namespace(self, namespace: str | None) -> None:
        if self.is_shared and not namespace:
            raise Failure(400, "Invalid request: Namespace is empty")

    def _page(
        self, entries: dict[str, Any], request: Request, is_in_namespace: bool = True
    ) -> tuple[list[Any], str | None]:
        """One page of a list, filtered by name and experiment, and the next one's token."""
        if is_in_namespace and "experiment_id" not in request.query:
            self._check_namespace(request.query.get("namespace"))
        found = list(entries.values())
        if request.query.get("filter"):
            (predicate,) = json.loads(request.query["filter"])["predicates"]
            assert predicate["operation"] in (1, "EQUALS")
            assert predicate["key"] == "display_name"
            name = predicate["stringValue"]
            found = [entry for entry in found if entry.display_name == name]
        if experiment := request.query.get("experiment_id"):
            found = [entry for entry in found if entry.experiment_id == experiment]
        if request.query.get("sort_by") == "created_at desc":
            found.reverse()
        start = int(request.query.get("page_token") or 0)
        end = start + int(request.query.get("page_size") or 20)
        return found[start:end], str(end) if end < len(found) else None

    def _new(self) -> tuple[str, datetime.datetime]:
        """Id and time of a new entry: a minute after the one before."""
        self._created += 1
        return (
            str(uuid.UUID(int=self._created)),
            START + datetime.timedelta(minutes=self._created),
        )


def _read(body: bytes, kind: str) -> Any:
    """A request's body as its model."""
    model = _MODELS.deserialize(types.SimpleNamespace(data=body), kind)
    if _keys(_MODELS.sanitize_for_serialization(model)) != _keys(json.loads(body)):
        raise Failure(400, f"the body is no {kind}")
    return model


def _keys(value: Any) -> Any:
    """The keys of JSON: numbers of 64 bits may come as text."""
    if isinstance(value, dict):
        return {key: _keys(inner) for key, inner in value.items()}
    return [_keys(inner) for inner in value] if isinstance(value, list) else None


def _uploaded(request: Request, body: bytes) -> str:
    """Text of the file in a form."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(head + body).get_payload()
    assert part.get_param("name", header="content-disposition") == "uploadfile"
    return part.get_payload(decode=True).decode()


def _get(entries: dict[str, Any], entry_id: str, kind: str) -> Any:
    if entry_id not in entries:
        raise Failure(404, f"{kind} {entry_id} not found.")
    return entries[entry_id]


def _named(entries: dict[str, Any], name: str) -> list[Any]:
    return [found for found in entries.values() if found.display_name == name]


def _handler_of(server: ApiServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urllib.parse.urlsplit(self.path)
            is_json = "json" in self.headers.get("Content-Type", "")
            request = Request(
                self.command,
                urllib.parse.unquote(address.path).removeprefix("/apis/v2beta1/"),
                dict(urllib.parse.parse_qsl(address.query)),
                json.loads(body) if body and is_json else None,
                {name.lower(): value for name, value in self.headers.items()},
            )
            server.requests.append(request)
            if failure := server.failures.get((request.method, request.path)):
                return self._send(*failure)
            try:
                answer = server.answer(request, body)
            except Failure as error:
                status = kfp_server_api.GooglerpcStatus(message=error.message)
                return self._send(error.status, _rendered(status))
            return self._send(200, _rendered(answer or {}))

        do_GET = do_POST = do_DELETE = _serve

        def _send(
            self, status: int, body: bytes, content_type: str = "application/json"
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            with contextlib.suppress(ConnectionError):  # the client has waited enough
                self.end_headers()
                self.wfile.write(body)

    return Handler


def _rendered(model: Any) -> bytes:
    return json.dumps(_MODELS.sanitize_for_serialization(model)).encode()


def write_package(path: pathlib.Path) -> pathlib.Path:
    """Writes the pipeline above as a file."""
    path.write_text(yaml.safe_dump_all([SPEC, PLATFORM]), encoding="utf-8")
    return path


def write_certificate(folder: pathlib.Path) -> tuple[str, str]:
    """Certificate for localhost that only itself vouches for, and its key (PEM files)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "certificate.pem"), str(folder / "key.pem")
