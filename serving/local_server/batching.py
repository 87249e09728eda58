"""Micro-batches: the model answers waiting requests together, as a batch costs less a row.

No request waits for others: whenever the model is free it gets the requests of the queue.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Sequence

import numpy as np

from serving.local_server import errors

Tensors = dict[str, np.ndarray]
# (signature name, inputs) -> outputs, in a thread; raises `errors.InvalidInput` if the graph
# refuses an input.
Run = Callable[[str, Tensors], Tensors]

_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(eq=False)
class _Request:
    """At most a batch of rows of a client's request; cancelled if the client is gone."""

    signature_name: str
    form: object  # requests of equal form can be joined, unless it is None
    inputs: Tensors
    rows: int  # 1 for inputs without rows
    first_row: int  # within the client's request
    future: asyncio.Future[Tensors]


_Outcome = tuple[_Request, Tensors | Exception]


class Batcher:
    """A bounded queue in front of a thread; used on one event loop.

    Attributes:
      batch_sizes: rows of a batch -> number of such batches so far.
    """

    def __init__(self, run: Run, *, max_batch_size: int, max_queue: int):
        """`max_batch_size` and `max_queue` are the limits of rows in a batch and waiting.

        An empty queue takes a request of more rows.
        """
        self.batch_sizes: collections.Counter[int] = collections.Counter()
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "batch")
        self._queue: list[_Request] = []
        self._waiting_rows = 0
        self._working: asyncio.Task[None] | None = None
        self._is_closing = False

    async def run(
        self,
        signature_name: str,
        inputs: Tensors,
        deadline: float | None = None,
        rows: int | None = None,
    ) -> Tensors:
        """Outputs for `inputs`, rows in order.

        Args:
          signature_name: of the signature to run.
          inputs: by name.
          deadline: by the clock of the loop, in seconds; None for none.
          rows: of each input and output, at least one; None for tensors without rows, which
            run alone.

        Raises:
          Unavailable: the queue is full, or the batcher is closed.
          DeadlineExceeded: the deadline passed.
          InvalidInput: the graph refuses an input; the error names its row.
          ServerError: the model failed otherwise.
        """
        loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            raise errors.DeadlineExceeded()
        if self._is_closing:
            raise errors.Unavailable("The server is shutting down.")
        after = self._waiting_rows + (rows or 1)
        if self._waiting_rows and after > self._max_queue:
            raise errors.Unavailable()
        requests = self._split(signature_name, inputs, rows)
        self._waiting_rows = after
        self._queue += requests
        if self._working is None:
            # The task begins after all that is ready on the loop, so that simultaneous
            # requests go into one batch.
            self._working = loop.create_task(self._work())
        try:
            async with asyncio.timeout_at(deadline):
                return _joined([await request.future for request in requests])
        except TimeoutError:
            raise errors.DeadlineExceeded() from None
        finally:
            for request in requests:
                if not request.future.cancel() and not request.future.cancelled():
                    request.future.exception()  # else asyncio warns that nobody read it

    async def close(self) -> None:
        """Answers the waiting requests and takes no others."""
        self._is_closing = True
        if self._working is not None:
            await self._working
        self._thread.shutdown()

    def _split(
        self, signature_name: str, inputs: Tensors, rows: int | None
    ) -> list[_Request]:
        """A client's request, cut into requests that fit into a batch."""
        create_future = asyncio.get_running_loop().create_future
        if rows is None:
            return [_Request(signature_name, None, inputs, 1, 0, create_future())]
        shapes = {name: (one.dtype, one.shape[1:]) for name, one in inputs.items()}
        step = self._max_batch_size
        return [
            _Request(
                signature_name=signature_name,
                form=(signature_name, shapes),
                inputs=_rows(inputs, start, start + step),
                rows=min(step, rows - start),
                first_row=start,
                future=create_future(),
            )
            for start in range(0, rows, step)
        ]

    async def _work(self) -> None:
        """Runs batches until nothing waits."""
        running = self._begin()
        while running is not None:
            outcomes = await running
            # Before the answers go out, so that the thread works meanwhile.
            running = self._begin()
            for request, outcome in outcomes:
                if request.future.done():
                    continue
                if isinstance(outcome, Exception):
                    request.future.set_exception(outcome)
                else:
                    request.future.set_result(outcome)
        self._working = None

    def _begin(self) -> asyncio.Future[list[_Outcome]] | None:
        """Runs the oldest request with those that can be joined with it, in order."""
        waiting = [one for one in self._queue if not one.future.cancelled()]
        batch, size = waiting[:1], sum(one.rows for one in waiting[:1])
        for request in waiting[1:]:
            if request.form is None or request.form != batch[0].form:
                continue
            if size + request.rows > self._max_batch_size:
                break
            size += request.rows
            batch.append(request)
        self._queue = [one for one in waiting if one not in batch]
        self._waiting_rows = sum(one.rows for one in self._queue)
        if not batch:
            return None
        self.batch_sizes[size] += 1
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, self._answer, batch)

    def _answer(self, requests: list[_Request]) -> list[_Outcome]:
        """Outcomes of requests that run together.

        If the graph refuses an input, the halves run, so that only the request with the bad
        input fails. A refusal is cheap: it comes from decoding, before the net runs.
        """
        first, rows = requests[0], sum(request.rows for request in requests)
        try:
            inputs = _joined([request.inputs for request in requests])
            outputs = self._run(first.signature_name, inputs)
            if first.form and any(len(value) != rows for value in outputs.values()):
                raise ValueError("an output has another number of rows than the inputs")
        except errors.InvalidInput:
            if len(requests) == 1:
                return [(first, self._refusal(first))]
            middle = len(requests) // 2
            return [*self._answer(requests[:middle]), *self._answer(requests[middle:])]
        except Exception:
            _LOGGER.exception("a batch failed")
            return [(request, errors.ServerError()) for request in requests]
        if len(requests) == 1:
            return [(first, outputs)]
        outcomes: list[_Outcome] = []
        start = 0
        for request in requests:
            outcomes.append((request, _rows(outputs, start, start + request.rows)))
            start += request.rows
        return outcomes

    def _refusal(self, request: _Request) -> errors.InvalidInput:
        """The error of a request that the graph refuses, with its first bad row."""
        bad = 0
        with contextlib.suppress(errors.InvalidInput):
            while bad < request.rows - 1:
                self._run(request.signature_name, _rows(request.inputs, bad, bad + 1))
                bad += 1
        return errors.InvalidInput(
            f"instance {request.first_row + bad}: the model cannot read it"
        )


def _rows(tensors: Tensors, start: int, end: int) -> Tensors:
    return {name: array[start:end] for name, array in tensors.items()}


def _joined(tensors: Sequence[Tensors]) -> Tensors:
    if len(tensors) == 1:
        return tensors[0]
    names = tensors[0].keys()
    return {name: np.concatenate([one[name] for one in tensors]) for name in names}
