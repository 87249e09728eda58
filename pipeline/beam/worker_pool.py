"""Beam workers forked from one process that has imported what they need.

    python -m pipeline.beam.worker_pool serve SOCKET
    python -m pipeline.beam.worker_pool work

Beam's own workers import TensorFlow and TFX each time, some ten processor seconds for every
worker of every job. `serve` imports once and forks. A runner starts `work` in place of
Beam's worker: it passes its environment to the pool at `SLIMLINE_WORKER_POOL` and runs as
long as the worker. Each ends when the other end of its socket or standard input closes.
"""

import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading

from pipeline.beam import processes

# Modules of all components with Beam jobs. Importing them starts no session and no gRPC, so
# that the process can be forked.
PRELOADED = (
    "apache_beam.runners.worker.sdk_worker_main",
    "components.image_example_gen.beam_job",
    "components.model_evaluator.analysis",
    "tfx.components.statistics_gen.executor",
    "tfx.components.transform.executor",
)
REAP_SECONDS = 1.0
_DONE = b"0"
_FAILED = b"1"


def serve(path: str) -> None:
    """Forks a worker for each connection to the socket `path`, until stdin ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        # Callers can connect now, and wait for the imports.
        print("ready", flush=True)
        for module in PRELOADED:
            if select.select([sys.stdin], [], [], 0)[0]:
                return
            importlib.import_module(module)
        workers: set[int] = set()
        while True:
            ready, _, _ = select.select([sys.stdin, listener], [], [], REAP_SECONDS)
            workers = {worker for worker in workers if not _has_ended(worker)}
            if sys.stdin in ready:
                break
            if listener in ready:
                connection, _ = listener.accept()
                pid = os.fork()
                if not pid:
                    listener.close()
                    _be_worker(connection)
                connection.close()
                workers.add(pid)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def work(path: str) -> int:
    """Runs as long as a worker from the pool at `path`; returns its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(dict(os.environ)).encode() + b"\n")
        return 0 if connection.recv(1) == _DONE else 1


def _has_ended(worker: int) -> bool:
    return os.waitpid(worker, os.WNOHANG)[0] != 0


def _be_worker(connection: socket.socket) -> None:
    """Runs Beam's worker in this forked process, and ends it."""
    code = _FAILED
    try:
        with open(os.devnull) as nothing:  # noqa: PTH123, a descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        with connection.makefile("rb") as file:
            os.environ.update(json.loads(file.readline()))
        # Removes handlers of imported modules: Beam sends logs to its runner.
        logging.getLogger().handlers.clear()
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main([])
        code = _DONE
    except BaseException as error:
        print(f"a worker failed: {error!r}", file=sys.stderr, flush=True)
    finally:
        connection.sendall(code)
        os._exit(0)


def _end_with(connection: socket.socket) -> None:
    """Ends this process when its caller is gone."""
    if not connection.recv(1):
        os._exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(work(os.environ[processes.POOL_VARIABLE]))
