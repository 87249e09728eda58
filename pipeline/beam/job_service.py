"""Beam's job service as a process that ends with the one that started it.

    python -m pipeline.beam.job_service

It prints its address and serves until its standard input ends.
"""

import os
import signal
import sys

from apache_beam.runners.portability import local_job_service


def main() -> None:
    """Serves until standard input ends, then ends itself and what it started."""
    service = local_job_service.LocalJobServicer()
    port = service.start_grpc_server()
    print(f"localhost:{port}", flush=True)
    sys.stdin.read()
    service.stop()
    # A job that still runs has threads that wait for its workers.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
