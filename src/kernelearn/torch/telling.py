"""What is said to the user, once in a process: why something runs in PyTorch."""

from __future__ import annotations

import warnings

# What `warn_once` has said in this process.
SAID: set[str] = set()


def warn_once(message: str) -> None:
    """A warning that is said once in a process."""
    if message not in SAID:
        SAID.add(message)
        warnings.warn(message, stacklevel=3)
