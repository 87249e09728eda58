"""Micro-batches: requests that wait at the same time are answered together.

A batch costs less a row than single rows do. Nothing waits for company: whenever the model
is free it gets what is there.
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
# Answers inputs by a signature, in a thread; `errors.InvalidInput` where one of the inputs
# is refused.
Run = Callable[[str, Tensors], Tensors]

_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(eq=False)
class _Request:
    """Inputs that are kept together, at most a batch; cancelled where nobody waits."""

    signature_name: str
    form: object  # requests of the same one can be joined; None can not
    inputs: Tensors
    rows: int  # 1 where there are none
    first_row: int  # of what the client sent
    future: asyncio.Future[Tensors]


_Outcome = tuple[_Request, Tensors | Exception]


class Batcher:
    """A bounded queue before a thread; to be used on one event loop.

    Attributes:
      batch_sizes: how many batches of how many rows have been run.
    """

    def __init__(self, run: Run, *, max_batch_size: int, max_queue: int):
        """Waits for requests.

        Args:
          run: see `Run`.
          max_batch_size: rows in a batch.
          max_queue: rows that may wait. A request with more is taken all the same while
            none waits.
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
          signature_name: whom to ask.
          inputs: by name.
          deadline: by the clock of the loop; None for none.
          rows: of each input and output, at least one; None for none, to be asked alone.

        Raises:
          Unavailable: the queue is full, or the batcher is closed.
          DeadlineExceeded: nobody waits for the answer any more.
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
        requests = self._parts(signature_name, inputs, rows)
        self._waiting_rows = after
        self._queue += requests
        if self._working is None:
            # Begins when all else that is ready on the loop has had its turn: requests that
            # came in the same moment then go into one batch.
            self._working = loop.create_task(self._work())
        try:
            async with asyncio.timeout_at(deadline):
                return _joined([await request.future for request in requests])
        except TimeoutError:
            raise errors.DeadlineExceeded() from None
        finally:
            for request in requests:
                if not request.future.cancel() and not request.future.cancelled():
                    request.future.exception()  # looked at, else asyncio would complain

    async def close(self) -> None:
        """Answers what waits and takes nothing more."""
        self._is_closing = True
        if self._working is not None:
            await self._working
        self._thread.shutdown()

    def _parts(
        self, signature_name: str, inputs: Tensors, rows: int | None
    ) -> list[_Request]:
        """A request cut into pieces that fit into a batch."""
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
            # Before the answers go out, so that the thread has something to do meanwhile.
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
        """Has the oldest request run, and what can be joined with it in its order."""
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
        """Outcomes of requests that are run together.

        Where the graph refuses an input, the halves are run, so that the bad one alone has
        no answer and the good ones are computed once. A refusal costs little: it comes from
        decoding, before the net.
        """
        first, rows = requests[0], sum(request.rows for request in requests)
        try:
            inputs = _joined([request.inputs for request in requests])
            outputs = self._run(first.signature_name, inputs)
            if first.form and any(len(value) != rows for value in outputs.values()):
                raise ValueError("an output has not one row an input")
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
        """The error of a request that the graph refuses, with the row at fault."""
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


def _joined(parts: Sequence[Tensors]) -> Tensors:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
