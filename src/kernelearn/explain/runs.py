"""Recorded runs as people hand them to explanations: opened, or as the path of their folder."""

from __future__ import annotations

import os
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.recording.run import Run


def opened(source: Any) -> Any:
    """The run in a folder, for the path of one; all else as it is.

    Raises: ArgumentError if there is no such folder; FormatError if it is no run.
    """
    return Run(source) if isinstance(source, str | os.PathLike) else source


def is_run(source: Any) -> bool:
    """Whether something is a recorded run."""
    return hasattr(source, "kernels") and hasattr(source, "steps")


def run_of(run: Any, what: str) -> Any:
    """A run that a function needs, opened.

    Args:
        what: the function, for the message.
    Raises: as `opened`, and ArgumentError for what is no run.
    """
    run = opened(run)
    if not is_run(run):
        raise ArgumentError(
            f"{what} takes a recorded run or the path of its folder, got {type(run).__name__}."
        )
    return run
