"""Compiling many kernels at once: in helper processes and in this one, with a line of progress."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from kernelearn.engine.cpu.machine import compiler, threads
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.machine.worker import Worker, can_start
from kernelearn.engine.progress import Progress

# Characters of LLVM IR that are worth a helper process: it starts in 0.2 s and compiles 2 million a second.
TEXT_PER_WORKER = 700_000
MAX_WORKERS = 15


def compile_all(texts: Mapping[str, str], target: Target) -> dict[str, bytes]:
    """Object files of modules: name -> blob, for name -> text. The largest are compiled first."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in sorted(texts, key=lambda n: -len(texts[n])):
        waiting.put(name)
    blobs: dict[str, bytes] = {}
    progress = Progress("Compiling {total} kernels for this processor, once: {done}/{total}", len(texts))
    with _helpers(_worker_count(texts), waiting, texts, target, blobs):
        while True:
            for name in _taken(waiting):
                blobs[name] = compiler.compile_object(texts[name], target)
                progress.show(len(blobs))
            if len(blobs) == len(texts):
                break
            # The helpers have the rest; what one of them fails at comes back.
            time.sleep(0.002)
            progress.show(len(blobs))
    progress.end()
    return blobs


def _worker_count(texts: Mapping[str, str]) -> int:
    if not can_start():
        return 0
    useful = sum(map(len, texts.values())) // TEXT_PER_WORKER
    return max(0, min(useful, threads.get_num_threads() - 1, MAX_WORKERS))


def _taken(waiting: queue.SimpleQueue[str]) -> Iterator[str]:
    """Entries of the queue until it is empty."""
    with contextlib.suppress(queue.Empty):
        while True:
            yield waiting.get_nowait()


@contextlib.contextmanager
def _helpers(
    count: int,
    waiting: queue.SimpleQueue[str],
    texts: Mapping[str, str],
    target: Target,
    blobs: dict[str, bytes],
) -> Iterator[None]:
    """Helper processes that take from the queue, each driven by a thread, until the block is left."""
    workers: list[Worker] = []
    with contextlib.suppress(OSError):  # no more processes: do with these
        workers.extend(Worker() for _ in range(count))
    drivers = [
        threading.Thread(target=_drive, args=(worker, waiting, texts, target, blobs), daemon=True)
        for worker in workers
    ]
    try:
        for driver in drivers:
            with contextlib.suppress(RuntimeError):  # no more threads
                driver.start()
        yield
    finally:
        for worker in workers:
            worker.close()
        for driver in drivers:
            if driver.ident is not None:
                driver.join(timeout=5)


def _drive(
    worker: Worker,
    waiting: queue.SimpleQueue[str],
    texts: Mapping[str, str],
    target: Target,
    blobs: dict[str, bytes],
) -> None:
    """Have a helper compile what is waiting; what it fails at goes back, and the helper is left alone."""
    for name in _taken(waiting):
        blob = worker.compile(texts[name], target)
        if blob is None:
            waiting.put(name)
            return
        blobs[name] = blob


def load_all(keys: Sequence[str], target: Target, text: Callable[[int, str], str]) -> list[compiler.Function]:
    """Functions as `compiler.load` gives them; the missing ones are compiled together.

    Args:
        keys: one per function; equal keys are the same function.
        text: (number of the key, name of the function) -> LLVM IR.
    """
    digests = [compiler.entry_digest(key, target) for key in keys]
    first = {digest: number for number, digest in reversed(list(enumerate(digests)))}

    def compiled(missing: list[str]) -> dict[str, bytes]:
        texts = {digest: text(first[digest], compiler.function_name(digest)) for digest in missing}
        return compile_all(texts, target)

    found = compiler.load_missing(digests, target, compiled)
    return [found[digest] for digest in digests]
