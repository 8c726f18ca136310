"""A line of progress on the terminal for what an engine does before it runs, and how to be quiet about it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar

# Seconds before the line appears.
PATIENCE = 1.0

_shows_progress: ContextVar[bool] = ContextVar("shows_progress", default=True)


@contextlib.contextmanager
def quiet(is_quiet: bool = True) -> Iterator[None]:
    """No line of progress inside, as `fit(verbose=0)` wants it."""
    token = _shows_progress.set(_shows_progress.get() and not is_quiet)
    try:
        yield
    finally:
        _shows_progress.reset(token)


class Progress:
    """One line on the terminal that counts, after a while; none where nobody sees it.

    Args:
        text: the line, with {done} and {total}.
        total: what is counted to.
    """

    def __init__(self, text: str, total: int) -> None:
        self.text, self.total = text, total
        self._start = self._last = time.monotonic()
        self._is_shown = False

    def show(self, done: int) -> None:
        """Write the line anew, ten times a second at most."""
        now = time.monotonic()
        if now - self._start < PATIENCE or now - self._last < 0.1 or not self._has_watcher():
            return
        self._last, self._is_shown = now, True
        self._write("\r" + self.text.format(done=done, total=self.total))

    def end(self) -> None:
        """Clear the line."""
        if self._is_shown:
            self._write("\r\x1b[K")

    @staticmethod
    def _has_watcher() -> bool:
        return _shows_progress.get() and sys.stderr is not None and sys.stderr.isatty()

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed terminal is no reason to stop
            sys.stderr.write(text)
            sys.stderr.flush()
