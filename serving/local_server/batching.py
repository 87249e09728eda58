"""Micro-batches: requests that wait at the same time are answered together.

A batch costs less an image than single images do. Nothing waits for company: whenever a
runner is free it takes what is there.
"""

import asyncio
import collections
import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from serving.local_server import errors

Outputs = dict[str, np.ndarray]
# Answers inputs by a signature, in a thread; `errors.InvalidInput` where one of the inputs
# is refused.
Run = Callable[[str, list[bytes]], Outputs]

_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(eq=False)
class _Request:
    """Inputs that are kept together, at most a batch.

    Attributes:
      number: of the request, rising.
      signature_name: whom to ask.
      inputs: at least one.
      first_place: of the first input in what the client sent.
      future: of the outputs; cancelled where nobody waits for them any more.
    """

    number: int
    signature_name: str
    inputs: list[bytes]
    first_place: int
    future: asyncio.Future[Outputs]


_Outcome = tuple[_Request, Outputs | Exception]


class Batcher:
    """A bounded queue and the threads that empty it, on the running event loop.

    Attributes:
      batch_sizes: how many batches of which size have been run.
    """

    def __init__(
        self, run: Run, *, max_batch_size: int, max_queue: int, runners: int = 1
    ):
        """Starts the threads.

        Args:
          run: see `Run`.
          max_batch_size: inputs in a batch.
          max_queue: inputs that may wait. A request with more is taken all the same while
            none waits.
          runners: batches under way at the same time.
        """
        self.batch_sizes: collections.Counter[int] = collections.Counter()
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        # By signature, because a batch has one. All below is changed under the condition.
        self._queues: dict[str, collections.deque[_Request]] = {}
        self._waiting_count = 0
        self._request_count = 0
        self._is_closing = False
        self._is_wake_up_due = False
        self._threads = [
            threading.Thread(target=self._work, name="batch", daemon=True)
            for _ in range(runners)
        ]
        for thread in self._threads:
            thread.start()

    async def run(
        self, signature_name: str, inputs: Sequence[bytes], deadline: float | None
    ) -> Outputs:
        """Outputs for `inputs`, in order.

        Args:
          signature_name: whom to ask.
          inputs: at least one.
          deadline: by the clock of the loop; None for none.

        Raises:
          Overloaded: the queue is full.
          DeadlineExceeded: nobody waits for the answer any more.
          InvalidInput: the graph refuses an input; the error names its place.
          InternalError: the model failed otherwise.
          ShuttingDown: the batcher is closed.
        """
        if deadline is not None and deadline <= self._loop.time():
            raise errors.DeadlineExceeded
        futures = self._enqueue(signature_name, list(inputs))
        try:
            async with asyncio.timeout_at(deadline):
                parts = [await future for future in futures]
        except TimeoutError:
            raise errors.DeadlineExceeded from None
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # looked at, else asyncio would complain
        if len(parts) == 1:
            return parts[0]
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }

    async def close(self) -> None:
        """Answers what waits, then ends the threads."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        for thread in self._threads:
            await self._loop.run_in_executor(None, thread.join)

    def _enqueue(
        self, signature_name: str, inputs: list[bytes]
    ) -> list[asyncio.Future[Outputs]]:
        with self._condition:
            if self._is_closing:
                raise errors.ShuttingDown
            after = self._waiting_count + len(inputs)
            if self._waiting_count and after > self._max_queue:
                raise errors.Overloaded
            self._waiting_count = after
            queue = self._queues.setdefault(signature_name, collections.deque())
            requests = [
                _Request(
                    number=self._request_count,
                    signature_name=signature_name,
                    inputs=inputs[start : start + self._max_batch_size],
                    first_place=start,
                    future=self._loop.create_future(),
                )
                for start in range(0, len(inputs), self._max_batch_size)
            ]
            self._request_count += 1
            queue.extend(requests)
        if not self._is_wake_up_due:
            # After all else that is ready on the loop: requests that came in the same
            # moment then go into one batch, not the first alone and the others later.
            self._is_wake_up_due = True
            self._loop.call_soon(self._wake_up)
        return [request.future for request in requests]

    def _wake_up(self) -> None:
        self._is_wake_up_due = False
        with self._condition:
            self._condition.notify(
                -(-self._waiting_count // self._max_batch_size)  # as many as have work
            )

    def _work(self) -> None:
        while batch := self._take():
            self.batch_sizes[sum(len(request.inputs) for request in batch)] += 1
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
        batch: list[_Request] = []
        size = 0
        while queue := self._oldest_queue(batch):
            request = queue[0]
            if batch and size + len(request.inputs) > self._max_batch_size:
                break
            queue.popleft()
            self._waiting_count -= len(request.inputs)
            if not request.future.cancelled():
                batch.append(request)
                size += len(request.inputs)
        return batch

    def _oldest_queue(
        self, batch: Sequence[_Request]
    ) -> collections.deque[_Request] | None:
        """The queue that the batch goes on with, or the one whose turn it is."""
        if batch:
            return self._queues[batch[0].signature_name]
        queues = [queue for queue in self._queues.values() if queue]
        return min(queues, key=lambda queue: queue[0].number, default=None)

    def _answer(self, requests: list[_Request]) -> list[_Outcome]:
        """Outcomes of requests that are run together.

        Where the graph refuses an input, the halves are run, so that the bad one alone has
        no answer and the good ones are computed once. A refusal costs little: it comes from
        decoding, before the net.
        """
        inputs = [one for request in requests for one in request.inputs]
        try:
            outputs = self._run(requests[0].signature_name, inputs)
            if any(len(value) != len(inputs) for value in outputs.values()):
                raise ValueError("an output has not one row an input")
        except errors.InvalidInput:
            if len(requests) > 1:
                middle = len(requests) // 2
                return [
                    *self._answer(requests[:middle]),
                    *self._answer(requests[middle:]),
                ]
            return [(requests[0], self._refusal(requests[0]))]
        except Exception:
            _LOGGER.exception("a batch failed")
            return [(request, errors.InternalError()) for request in requests]
        if len(requests) == 1:
            return [(requests[0], outputs)]
        outcomes: list[_Outcome] = []
        start = 0
        for request in requests:
            end = start + len(request.inputs)
            rows = {name: value[start:end] for name, value in outputs.items()}
            outcomes.append((request, rows))
            start = end
        return outcomes

    def _refusal(self, request: _Request) -> errors.InvalidInput:
        """The error of a request that the graph refuses, with the place of the input."""
        low, high = 0, len(request.inputs)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._run(request.signature_name, request.inputs[low:middle])
            except errors.InvalidInput:
                high = middle
            else:
                low = middle
        return errors.InvalidInput(
            f"instance {request.first_place + low}: the model cannot read it"
        )


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Tells the requests, on the loop."""
    for request, outcome in outcomes:
        if request.future.done():
            continue
        if isinstance(outcome, Exception):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)
