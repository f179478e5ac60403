"""Jobs side by side, their results in order."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


def in_order(
    job: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yield `job(item)` of all items, done by `workers` threads.

    When one fails, or whoever takes the results stops or is interrupted, those not yet begun are
    dropped.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(job, items)
    finally:
        pool.shutdown(cancel_futures=True)
