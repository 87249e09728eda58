"""The clients of the load measurement, in a process of their own: REST and gRPC, closed loop.

    python benchmarks/load_clients.py TASK.json

Each client sends an image, waits for the answer, notes it, and sends the next.
"""

import asyncio
import base64
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from pushed_models import signatures

REST = 0
GRPC = 1
DEADLINE_SECONDS = 10.0
HEADERS = {"Content-Type": "application/json"}
VERSION_HEADER = "Slimline-Model-Version"


@dataclasses.dataclass
class Notes:
    """What the clients saw, a row an answered request; failures are told in words."""

    protocols: list[int] = dataclasses.field(default_factory=list)
    clients: list[int] = dataclasses.field(default_factory=list)
    starts: list[float] = dataclasses.field(default_factory=list)
    ends: list[float] = dataclasses.field(default_factory=list)
    versions: list[int] = dataclasses.field(default_factory=list)
    images: list[int] = dataclasses.field(default_factory=list)
    probabilities: list[Sequence[float]] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def add(
        self,
        protocol: int,
        client: int,
        start: float,
        version: int,
        image: int,
        probabilities: Sequence[float],
    ) -> None:
        self.protocols.append(protocol)
        self.clients.append(client)
        self.starts.append(start)
        self.ends.append(time.time())
        self.versions.append(version)
        self.images.append(image)
        self.probabilities.append(probabilities)

    def write(self, path: pathlib.Path) -> None:
        np.savez(
            path,
            protocols=self.protocols,
            clients=self.clients,
            starts=self.starts,
            ends=self.ends,
            versions=self.versions,
            images=self.images,
            probabilities=np.asarray(self.probabilities, np.float32),
            failures=np.asarray(self.failures, np.str_),
        )


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long and how fast a client asks.

    Attributes:
      end: seconds since 1970.
      pause_seconds: between an answer and the next request.
      until: it asks no more once this file is there; or None.
    """

    end: float
    pause_seconds: float
    until: pathlib.Path | None

    def goes_on(self, now: float) -> bool:
        """Whether another request begins at `now`."""
        return now < self.end and not (self.until and self.until.exists())


async def main(task: dict[str, Any]) -> None:
    """Asks until the time is up.

    Args:
      task: `rest` and `grpc` 'HOST:PORT', `model`, `images` a folder of files, `seconds`,
        `rest_clients`, `grpc_clients`, `output` file for the notes; where wanted
        `pause_seconds` and `until`, as in `Pace`.
    """
    files = sorted(pathlib.Path(task["images"]).iterdir())
    encoded = [file.read_bytes() for file in files]
    notes = Notes()
    pace = Pace(
        end=time.time() + task["seconds"],
        pause_seconds=task.get("pause_seconds", 0.0),
        until=pathlib.Path(task["until"]) if "until" in task else None,
    )
    bodies = [_body(data) for data in encoded]
    requests = [_request(task["model"], data) for data in encoded]
    # One connection for each REST client, one channel for each gRPC client.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        print("asking", flush=True)
        url = f"http://{task['rest']}/v1/models/{task['model']}:predict"
        await asyncio.gather(
            *(
                _ask_rest(session, url, bodies, client, pace, notes)
                for client in range(task["rest_clients"])
            ),
            *(
                _ask_grpc(task["grpc"], requests, client, pace, notes)
                for client in range(task["grpc_clients"])
            ),
        )
    notes.write(pathlib.Path(task["output"]))


async def _ask_rest(
    session: aiohttp.ClientSession,
    url: str,
    bodies: list[bytes],
    client: int,
    pace: Pace,
    notes: Notes,
) -> None:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
    image = client
    while pace.goes_on(start := time.time()):
        image = (image + 1) % len(bodies)
        try:
            async with session.post(
                url, data=bodies[image], headers=HEADERS, timeout=timeout
            ) as answer:
                content = await answer.read()
                if answer.status != 200:
                    notes.failures.append(f"REST {answer.status} {content[:200]!r}")
                    continue
                version = int(answer.headers[VERSION_HEADER])
        except (aiohttp.ClientError, TimeoutError) as error:
            notes.failures.append(f"REST {type(error).__name__}: {error}")
            continue
        (prediction,) = json.loads(content)["predictions"]
        notes.add(
            REST, client, start, version, image, prediction[signatures.PROBABILITIES]
        )
        await asyncio.sleep(pace.pause_seconds)


async def _ask_grpc(
    address: str,
    requests: list[predict_pb2.PredictRequest],
    client: int,
    pace: Pace,
    notes: Notes,
) -> None:
    # Without the option gRPC shares one connection between equal channels.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        image = client
        while pace.goes_on(start := time.time()):
            image = (image + 1) % len(requests)
            try:
                answer = await stub.Predict(requests[image], timeout=DEADLINE_SECONDS)
            except grpc.aio.AioRpcError as error:
                notes.failures.append(f"gRPC {error.code().name} {error.details()}")
                continue
            version = answer.model_spec.version.value
            found = answer.outputs[signatures.PROBABILITIES]
            notes.add(
                GRPC, client, start, version, image, tf.make_ndarray(found)[0].tolist()
            )
            await asyncio.sleep(pace.pause_seconds)


def _body(encoded: bytes) -> bytes:
    text = base64.b64encode(encoded).decode()
    return json.dumps(
        {"signature_name": signatures.PREDICT_IMAGES, "instances": [{"b64": text}]}
    ).encode()


def _request(model: str, encoded: bytes) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signatures.PREDICT_IMAGES
    name = signatures.INPUTS[signatures.PREDICT_IMAGES]
    request.inputs[name].CopyFrom(tf.make_tensor_proto([encoded], tf.string))
    return request


if __name__ == "__main__":
    asyncio.run(main(json.loads(pathlib.Path(sys.argv[1]).read_text())))
