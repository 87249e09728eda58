"""The client of a model server: takes images, returns class names and scores.

with Client("http://localhost:8501", model="cifar10") as client:
    client.predict(["cat.png"])

It speaks REST or gRPC with TensorFlow Serving and the local server (`slimline serve`). It
imports TensorFlow only after the server refused an image, to say which one and why.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from common.errors import ConfigError, SlimlineError, os_errors_as
from serving import (
    ahead,
    encoding,
    model_spec,
    prediction,
    server_address,
    server_answers,
)
from serving.model_spec import ModelSpec
from serving.prediction import Prediction
from serving.server_answers import Refused, Rows, VersionStatus

BATCH_SIZE = 64
# In base64 less than the 32 MiB (`request_bytes`) that the local server takes.
BATCH_BYTES = 16 << 20
CONCURRENCY = 4
DEADLINE_SECONDS = 30.0
ATTEMPTS = 5
HEALTH_SECONDS = 5.0
_HEADER_NAME = re.compile("[A-Za-z0-9_.-]+")
_HEADER_TEXT = re.compile("[ -~]*")
_back_off = tenacity.wait_random_exponential(multiplier=0.1, max=5.0)

if TYPE_CHECKING:
    from serving.grpc_client import GrpcClient
    from serving.rest_client import RestClient

_Batch = Sequence[tuple[str, bytes]]  # names of images, and their bytes
_Reply = TypeVar("_Reply")


@dataclasses.dataclass(frozen=True)
class Answer:
    """A server's predictions, and the versions of the model that made them.

    Attributes:
      predictions: one an image, in order.
      versions: that answered, ascending; several if a new one was loaded meanwhile; () if
        the server does not say, like TensorFlow Serving by REST.
      labels: class names in label order; () if the order is unknown, or differs between
        versions. Each prediction names the classes of the version that made it.
    """

    predictions: list[Prediction]
    versions: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()


class Client:
    """A model on a server. Threads may share a client."""

    def __init__(
        self,
        address: str,
        model: str | None = None,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        ca_file: str = "",
        batch_size: int = BATCH_SIZE,
        concurrency: int = CONCURRENCY,
        deadline_seconds: float = DEADLINE_SECONDS,
        attempts: int = ATTEMPTS,
    ):
        """Connects at the first request.

        Args:
          address: 'http://HOST:PORT' for REST, 'grpc://HOST:PORT' for gRPC; 'https' and
            'grpcs' encrypt.
          model: 'cifar10', 'cifar10@6' (that version) or 'cifar10:canary' (the version
            with that label); None for the only model of a server that lists its models.
          token: sent as `Authorization: Bearer`; without encryption others can read it.
          headers: sent with every request, by gRPC as metadata.
          ca_file: PEM file of the certificate authorities to trust in place of the
            system's.
          batch_size: images a request, at most; TensorFlow Serving refuses more than
            max_batch_size of its batching parameters.
          concurrency: simultaneous requests, at most.
          deadline_seconds: of a request with all its attempts and waits.
          attempts: at most, if the server cannot be reached or is busy.

        Raises:
          ConfigError: address, model or a header has another form, or the file cannot be
            read.
          ValueError: a number is not positive.
        """
        for name, value in (
            ("batch_size", batch_size),
            ("concurrency", concurrency),
            ("deadline_seconds", deadline_seconds),
            ("attempts", attempts),
        ):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received {value}.")
        all_headers = dict(headers or {})
        if token:
            all_headers["Authorization"] = f"Bearer {token}"
        for name, text in all_headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_TEXT.fullmatch(text):
                raise ConfigError(
                    f"the header '{name}' cannot be sent",
                    expected="letters, digits and '-' in its name, no control characters in"
                    " its value",
                )
        self._address = server_address.parse(address)
        self._spec = None if model is None else model_spec.parse(model)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._deadline_seconds = deadline_seconds
        self._attempts = attempts
        authorities = None
        if ca_file:
            with os_errors_as(
                ConfigError,
                f"cannot read {ca_file}",
                expected="certificates of authorities in PEM form",
            ):
                authorities = pathlib.Path(ca_file).expanduser().read_bytes()
        self._connection: GrpcClient | RestClient
        if self._address.protocol == server_address.GRPC:
            from serving.grpc_client import GrpcClient

            self._connection = GrpcClient(self._address, all_headers, authorities)
        else:
            from serving.rest_client import RestClient

            self._connection = RestClient(
                self._address, all_headers, authorities, concurrency
            )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        model = "" if self._spec is None else f", model='{self._spec}'"
        return f"Client('{self._address.text}'{model})"

    @property
    def address(self) -> str:
        """Address of the server, as given."""
        return self._address.text

    @property
    def model(self) -> str:
        """The model, as NAME, NAME@VERSION or NAME:LABEL.

        Raises:
          ConfigError: none was named, and the server has several, none, or no list of them.
          ServerError: none was named, and the server does not answer.
        """
        return str(self._model())

    def predict(self, images: Sequence[Any], top: int = 5) -> list[Prediction]:
        """A prediction for each image, in order, as `LocalModel.predict` gives it.

        Args:
          images: each a path, encoded bytes (JPEG, PNG, GIF, TIFF, ...), a PIL image, or a
            uint8 array [height, width] or [height, width, channels].
          top: classes of a prediction, at most all.

        Raises:
          DataError: an image cannot be read; the error names it.
          ConfigError: the server does not have the model, or is not a model server.
          ServerError: the server is down, busy, too slow or broken.
          TypeError: `images` is one image, not a sequence.
          ValueError: `top` is less than 1.
        """
        return self.ask(images, top).predictions

    def ask(self, images: Sequence[Any], top: int = 5) -> Answer:
        """As `predict`, with the versions that answered."""
        prediction.check_request(images, top)
        if not len(images):
            return Answer([])
        predict = functools.partial(self._predict, self._model())
        predictions: list[Prediction] = []
        versions: set[int] = set()
        labels: set[tuple[str, ...]] = set()
        batches = self._batches(images)
        # The next batches are read and encoded while the server works.
        with concurrent.futures.ThreadPoolExecutor(self._concurrency) as pool:
            for rows in ahead.results(pool, predict, batches, self._concurrency):
                predictions += [
                    Prediction.of(classes[:top], scores[:top])
                    for classes, scores in zip(rows.classes, rows.scores, strict=True)
                ]
                versions |= set() if rows.version is None else {rows.version}
                labels.add(rows.labels())
        labels.discard(())
        only = labels.pop() if len(labels) == 1 else ()
        return Answer(predictions, tuple(sorted(versions)), only)

    def status(self) -> list[VersionStatus]:
        """State of each version of the model, newest first.

        Raises:
          ConfigError, ServerError: as `predict`.
        """
        spec = self._model()
        ask = functools.partial(self._connection.status, spec)
        return sorted(self._call(spec, ask), key=lambda status: -status.version)

    def metadata(self) -> dict[str, Any]:
        """Version and signatures, in the form of TensorFlow Serving's REST interface.

        Raises:
          ConfigError, ServerError: as `predict`.
        """
        spec = self._model()
        return self._call(spec, functools.partial(self._connection.metadata, spec))

    def models(self) -> list[str]:
        """Names of the server's models.

        Raises:
          ConfigError: the server has no list of them; only the local one has, by REST.
          ServerError: as `predict`.
        """
        names = self._call(None, self._connection.models)
        if names is None:
            raise ConfigError(
                f"{self.address} does not list its models", tip="name one"
            )
        return names

    def is_healthy(self) -> bool:
        """Whether the server answers within five seconds and has the model available.

        Raises:
          ConfigError: there is no such host, it is not a model server, or no model was named
            and the server has no list of them.
        """
        seconds = min(self._deadline_seconds, HEALTH_SECONDS)
        try:
            spec = self._spec or self._only_model(self._connection.models(seconds))
            statuses = self._connection.status(spec, seconds)
        except Refused as refused:
            if refused.code in server_answers.OF_THE_ADDRESS:
                raise self._user_error(refused, self._spec) from refused
            return False
        return any(status.state == server_answers.AVAILABLE for status in statuses)

    def close(self) -> None:
        """Ends the connections."""
        self._connection.close()

    def _model(self) -> ModelSpec:
        if self._spec is None:
            self._spec = self._only_model(self._call(None, self._connection.models))
        return self._spec

    def _only_model(self, names: list[str] | None) -> ModelSpec:
        if names and len(names) == 1:
            return ModelSpec(names[0])
        raise ConfigError(
            f"which model of {self.address}?",
            found="a server that does not list its models"
            if names is None
            else ", ".join(names) or "no models",
            expected="NAME, NAME@VERSION or NAME:LABEL",
            tip=f"--model {names[0] if names else 'NAME'}",
        )

    def _batches(self, images: Sequence[Any]) -> Iterator[_Batch]:
        """Encoded images in batches of at most `batch_size` images and BATCH_BYTES."""
        batch: list[tuple[str, bytes]] = []
        size = 0
        for place, image in enumerate(images):
            name = prediction.name_of(image, place)
            encoded = encoding.encode(image, name, is_decoded=False)
            is_full = len(batch) == self._batch_size
            if batch and (is_full or size + len(encoded) > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append((name, encoded))
            size += len(encoded)
        yield batch

    def _predict(self, spec: ModelSpec, batch: _Batch) -> Rows:
        encoded = [data for _, data in batch]
        ask = functools.partial(self._connection.predict, spec, encoded)
        return self._call(spec, ask, batch)

    def _call(
        self,
        spec: ModelSpec | None,
        ask: Callable[[float], _Reply],
        batch: _Batch = (),
    ) -> _Reply:
        """Calls `ask` with the seconds left until it answers.

        Raises:
          DataError: the server refuses an image of `batch`.
          ConfigError, ServerError: there is no answer within attempts and deadline.
        """
        ends = time.monotonic() + self._deadline_seconds
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: getattr(error, "code", "") in server_answers.RETRIED
            ),
            stop=tenacity.stop_after_attempt(self._attempts)
            | tenacity.stop_before_delay(self._deadline_seconds),
            wait=_wait_seconds,
            reraise=True,
        )
        try:
            return retrying(lambda: ask(max(ends - time.monotonic(), 0.001)))
        except Refused as refused:
            if refused.may_be_an_image:
                for name, data in batch:
                    encoding.encode(data, name)
            raise self._user_error(refused, spec) from refused

    def _user_error(self, refused: Refused, spec: ModelSpec | None) -> SlimlineError:
        return refused.as_user_error(self._address, spec, self._deadline_seconds)


def _wait_seconds(state: tenacity.RetryCallState) -> float:
    """A random, exponentially growing wait, at least as long as the server asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, Refused) else 0.0
    return max(_back_off(state), asked)
