"""Ctrl-C and SIGTERM taken as a request to stop at the next safe place, instead of anywhere.

Between two batches weights, optimizer and position agree; in the middle of one they do not.
"""

import signal
import sys
import threading
import weakref
from types import FrameType
from typing import Any

_EXIT_CODE = 128
# All that note signals now.
_WATCHING: weakref.WeakSet["Interrupts"] = weakref.WeakSet()


def is_stop_requested() -> bool:
    """Whether somebody has noted an interrupt, which will stop the training behind its batch.

    What waits within a batch, such as a training that is paused, has to go on then.
    """
    return any(one.requested is not None for one in list(_WATCHING))


class Interrupts:
    """Notes the first interrupt; a second Ctrl-C stops at once.

    Attributes:
        requested: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Start to note signals that nobody else handles; does nothing outside of the main thread."""
        self.requested = None
        _WATCHING.add(self)
        if threading.current_thread() is not threading.main_thread():
            return
        defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        for number, default in defaults.items():
            if number not in self._before and signal.getsignal(number) == default:
                self._before[number] = signal.signal(number, self._note)

    def stop_watching(self) -> None:
        """Give the signals back."""
        _WATCHING.discard(self)
        for number in list(self._before):
            signal.signal(number, self._before.pop(number))

    def deliver(self) -> None:
        """End the program's work as the noted signal would have.

        Raises: KeyboardInterrupt, or SystemExit with 128 + the signal's number.
        """
        number = self.requested
        self.stop_watching()
        self.requested = None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number is not None:
            raise SystemExit(_EXIT_CODE + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            self.stop_watching()
            raise KeyboardInterrupt
        self.requested = number
        print("Stopping after this batch (Ctrl-C again: at once, without saving).", file=sys.stderr)
