"""Jobs side by side, their results in order."""

from concurrent.futures import ThreadPoolExecutor


def in_order(job, items, workers):
    """Yield `job(item)` of all items, done by `workers` threads.

    When one fails, or whoever takes the results stops or is interrupted, those not yet begun are
    dropped.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(job, items)
    finally:
        pool.shutdown(cancel_futures=True)
