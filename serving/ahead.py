"""Work that threads do ahead of its consumer."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def results(
    pool: futures.Executor,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    most: int,
) -> Iterator[_Result]:
    """Yields `function(item)` of each item, in order.

    At most `most` results are computed or kept beyond the one that the consumer waits for,
    which bounds memory. Calls that have not begun when the consumer stops are cancelled.
    """
    waiting: collections.deque[futures.Future[_Result]] = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
