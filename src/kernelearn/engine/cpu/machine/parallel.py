"""Compiling many kernels at once, in several threads, with a line of progress.

While this thread writes the text of kernels, others compile those that are written, the largest first.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from kernelearn.engine.cpu.machine import codegen, compiler, threads
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.progress import Progress

# Threads beside the caller's.
MAX_HELPERS = 15
STACK_BYTES = 2**23
# Seconds between two looks at how far the others are.
LOOK = 0.05


class _Work:
    """Modules that wait to be compiled, and what became of the others."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.blobs: dict[str, bytes] = {}
        self.error: BaseException | None = None
        # (minus the length, name, text); those of nobody, which end a helper, come last.
        self._waiting: queue.PriorityQueue[tuple[float, str, str]] = queue.PriorityQueue()

    def add(self, name: str, text: str) -> None:
        """One more module."""
        self._waiting.put((-len(text), name, text))

    def end(self) -> None:
        """No more come: one helper will know."""
        self._waiting.put((1.0, "", ""))

    def give_up(self) -> None:
        """Let nobody begin with another one."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()

    def compile_one(self, is_patient: bool) -> bool:
        """Compile the largest that waits; whether there may be more.

        Args:
            is_patient: whether to wait for one.
        """
        try:
            _, name, text = self._waiting.get(is_patient)
        except queue.Empty:
            return False
        if not name:
            return False
        self.blobs[name] = codegen.compile_object(text, self.target)
        return True

    def help(self) -> None:
        """Compile until no more come; what goes wrong is kept for the caller."""
        try:
            while self.error is None and self.compile_one(is_patient=True):
                pass
        except BaseException as error:
            self.error = error


def compile_all(names: Sequence[str], text: Callable[[str], str], target: Target) -> dict[str, bytes]:
    """Object files of modules: name -> blob.

    Args:
        text: gives the LLVM IR of a module.
    """
    work, total = _Work(target), len(names)
    progress = Progress("Compiling {total} kernels for this processor, once: {done}/{total}", total)
    with _helpers(min(total, threads.get_num_threads(), MAX_HELPERS + 1) - 1, work) as helpers:
        for name in names:
            work.add(name, text(name))
            progress.show(len(work.blobs))
        while work.error is None and work.compile_one(is_patient=False):
            progress.show(len(work.blobs))
        for _ in helpers:
            work.end()
        for helper in helpers:
            while helper.is_alive():
                helper.join(LOOK)
                progress.show(len(work.blobs))
    progress.end()
    if work.error is not None:
        raise work.error
    return work.blobs


@contextlib.contextmanager
def _helpers(count: int, work: _Work) -> Iterator[list[threading.Thread]]:
    """Threads that compile with the caller, until the block is left; without more of them, these do."""
    helpers: list[threading.Thread] = []
    try:
        with contextlib.suppress(RuntimeError), _deep_stacks():  # no more threads
            for _ in range(count):
                helper = threading.Thread(target=work.help, name="kernelearn-compile", daemon=True)
                helper.start()
                helpers.append(helper)
        yield helpers
    finally:
        work.give_up()
        for _ in helpers:
            work.end()
        for helper in helpers:
            helper.join()


@contextlib.contextmanager
def _deep_stacks() -> Iterator[None]:
    """Threads that are started inside have the stack that LLVM is used to: some systems give far less."""
    usual = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(usual)


def load_all(keys: Sequence[str], target: Target, text: Callable[[int, str], str]) -> list[compiler.Function]:
    """Functions as `compiler.load` gives them; the missing ones are compiled together.

    Args:
        keys: one per function; equal keys are the same function.
        text: (number of the key, name of the function) -> LLVM IR.
    """
    digests = [compiler.entry_digest(key, target) for key in keys]
    first = {digest: number for number, digest in reversed(list(enumerate(digests)))}

    def text_of(digest: str) -> str:
        return text(first[digest], compiler.function_name(digest))

    found = compiler.load_missing(digests, target, lambda missing: compile_all(missing, text_of, target))
    return [found[digest] for digest in digests]
