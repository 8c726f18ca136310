"""Decode the next batches while the current one is being trained on.

Threads fill fixed places of a batch, so the result does not depend on which of them is faster.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from kernelearn.data.padding import Padding
from kernelearn.data.stores import Store

_AHEAD = 2  # batches decoded beyond the one in use


def prefetch(
    store: Store, batches: Iterable[tuple[np.ndarray, slice]], padding: Padding | None = None
) -> Iterator[np.ndarray]:
    """Raw arrays for some rows of each batch, in order.

    Args:
        batches: the row numbers of a batch, which decide its size, and which of them are wanted.

    The threads live as long as this iterator: they end when it is exhausted, closed, dropped or fails.
    An error met ahead of time is raised when its batch is due.
    """
    pool = ThreadPoolExecutor(store.workers, thread_name_prefix="kernelearn-decode")
    waiting: deque[tuple[np.ndarray, list[Future[None]]]] = deque()
    try:
        for rows, wanted in batches:
            waiting.append(_submit(pool, store, rows, wanted, padding))
            if len(waiting) > _AHEAD:
                yield _finish(*waiting.popleft())
        while waiting:
            yield _finish(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, store: Store, rows: np.ndarray, wanted: slice, padding: Padding | None
) -> tuple[np.ndarray, list[Future[None]]]:
    """Start one task per thread, each with its own stretch of the batch."""
    own = rows[wanted]
    out = store.empty(rows, padding, len(own))
    cuts = np.linspace(0, len(own), min(store.workers, len(own)) + 1).astype(int)
    tasks = [pool.submit(store.read_into, out[a:b], own[a:b]) for a, b in itertools.pairwise(cuts)]
    return out, tasks


def _finish(out: np.ndarray, tasks: list[Future[None]]) -> np.ndarray:
    for task in tasks:
        task.result()
    return out
