"""What a watcher has to say: once each, as a warning and as an event of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from kernelearn.errors import KernelearnError


class Sayings:
    """Tells what cannot be recorded, and why.

    Args:
        who: the function that the user called.
        event: writes an event of the run.
    """

    def __init__(self, who: str, event: Callable[..., None]) -> None:
        self._who, self.event = who, event
        self._said: set[str] = set()

    def say(self, text: str) -> None:
        """Say it, unless it was said before."""
        if text in self._said:
            return
        self._said.add(text)
        self.event("note", text=text)
        warnings.warn(f"{self._who}: {text}", UserWarning, stacklevel=2)


def giving_up(who: str, error: Exception) -> None:
    """Warn that a recording ends before its training, and why."""
    said = str(error) if isinstance(error, KernelearnError) else f"{type(error).__name__}: {error}."
    warnings.warn(
        f"{who}: {said} Recording ends; training goes on without it. What is recorded can be read.",
        UserWarning,
        stacklevel=3,
    )
