"""Micro-batches: requests that wait at the same time are answered together.

A batch costs less a row than single rows do. Nothing waits for company: whenever a runner
is free it takes what is there.
"""

import asyncio
import collections
import dataclasses
import logging
import threading
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
    """A bounded queue and the threads that empty it, on the running event loop.

    Attributes:
      batch_sizes: how many batches of how many rows have been run.
    """

    def __init__(
        self, run: Run, *, max_batch_size: int, max_queue: int, runners: int = 1
    ):
        """Starts the threads.

        Args:
          run: see `Run`.
          max_batch_size: rows in a batch.
          max_queue: rows that may wait. A request with more is taken all the same while
            none waits.
          runners: batches under way at the same time.
        """
        self.batch_sizes: collections.Counter[int] = collections.Counter()
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        # All below is changed under the condition.
        self._condition = threading.Condition()
        self._queue: list[_Request] = []
        self._waiting_rows = 0
        self._is_closing = False
        self._is_wake_up_due = False
        self._threads = [
            threading.Thread(target=self._work, name="batch", daemon=True)
            for _ in range(runners)
        ]
        for thread in self._threads:
            thread.start()

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
          rows: of each input and output, at least one; None where the signature has no
            such thing, so that the request is answered alone.

        Raises:
          Unavailable: the queue is full, or the batcher is closed.
          DeadlineExceeded: nobody waits for the answer any more.
          InvalidInput: the graph refuses an input; the error names its row.
          ServerError: the model failed otherwise.
        """
        if deadline is not None and deadline <= self._loop.time():
            raise errors.DeadlineExceeded()
        futures = self._enqueue(signature_name, inputs, rows)
        try:
            async with asyncio.timeout_at(deadline):
                parts = [await future for future in futures]
        except TimeoutError:
            raise errors.DeadlineExceeded() from None
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # looked at, else asyncio would complain
        return _joined(parts)

    async def close(self) -> None:
        """Answers what waits, then ends the threads."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        for thread in self._threads:
            await self._loop.run_in_executor(None, thread.join)

    def _enqueue(
        self, signature_name: str, inputs: Tensors, rows: int | None
    ) -> list[asyncio.Future[Tensors]]:
        step = self._max_batch_size if rows else 1
        form = None
        if rows:
            shapes = {name: (one.dtype, one.shape[1:]) for name, one in inputs.items()}
            form = signature_name, shapes
        requests = [
            _Request(
                signature_name=signature_name,
                form=form,
                inputs=_rows(inputs, start, start + step) if rows else inputs,
                rows=min(step, (rows or 1) - start),
                first_row=start,
                future=self._loop.create_future(),
            )
            for start in range(0, rows or 1, step)
        ]
        with self._condition:
            if self._is_closing:
                raise errors.Unavailable("The server is shutting down.")
            after = self._waiting_rows + (rows or 1)
            if self._waiting_rows and after > self._max_queue:
                raise errors.Unavailable()
            self._waiting_rows = after
            self._queue.extend(requests)
        if not self._is_wake_up_due:
            # After all else that is ready on the loop: requests that came in the same
            # moment then go into one batch, not the first alone and the others later.
            self._is_wake_up_due = True
            self._loop.call_soon(self._wake_up)
        return [request.future for request in requests]

    def _wake_up(self) -> None:
        self._is_wake_up_due = False
        with self._condition:
            self._condition.notify_all()

    def _work(self) -> None:
        while batch := self._take():
            self.batch_sizes[sum(request.rows for request in batch)] += 1
            outcomes = self._answer(batch)
            try:
                self._loop.call_soon_threadsafe(_deliver, outcomes)
            except RuntimeError:  # the loop was closed before the batcher
                return

    def _take(self) -> list[_Request]:
        """The next batch; none where the batcher is closed and the queue empty."""
        with self._condition:
            while True:
                if batch := self._pop():
                    return batch
                if self._is_closing:
                    return []
                self._condition.wait()

    def _pop(self) -> list[_Request]:
        """The oldest request, and what can be joined with it in its order."""
        waiting = [one for one in self._queue if not one.future.cancelled()]
        batch, size = waiting[:1], sum(one.rows for one in waiting[:1])
        for request in waiting[1:]:
            if request.form is None or request.form != batch[0].form:
                continue
            size += request.rows
            if size > self._max_batch_size:
                break
            batch.append(request)
        self._queue = [one for one in waiting if one not in batch]
        self._waiting_rows = sum(one.rows for one in self._queue)
        return batch

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
        try:
            while bad < request.rows - 1:
                self._run(request.signature_name, _rows(request.inputs, bad, bad + 1))
                bad += 1
        except errors.InvalidInput:
            pass
        return errors.InvalidInput(
            f"instance {request.first_row + bad}: the model cannot read it"
        )


def _rows(tensors: Tensors, start: int, end: int) -> Tensors:
    return {name: array[start:end] for name, array in tensors.items()}


def _joined(parts: Sequence[Tensors]) -> Tensors:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Tells the requests, on the loop."""
    for request, outcome in outcomes:
        if request.future.done():
            continue
        if isinstance(outcome, Exception):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)
