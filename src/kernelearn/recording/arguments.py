"""What the Recorder and those who watch other programs are given, checked before the first step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError


def checked_count(who: str, name: str, value: Any, least: int = 0, meaning: str = "") -> int:
    """A whole number of at least `least`; ArgumentError for what is none.

    Args:
        meaning: of the number, for the message.

    >>> checked_count("Recorder", "kernels_every", np.int64(3))
    3
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ArgumentError(
            f"{who}: {name} must be a whole number of at least {least}{meaning}, got {value!r}."
        )
    return int(value)


def checked_flag(who: str, name: str, value: Any) -> bool:
    """True or False; ArgumentError for anything else: "no" would be taken for yes.

    >>> checked_flag("Recorder", "overwrite", np.bool_(True))
    True
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{who}: {name} must be True or False, got {value!r}.")
    return bool(value)


def checked_folder(who: str, name: str, value: Any) -> Path:
    """The folder of a run; ArgumentError for what names none."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(f"{who}: {name} must be the name of a folder, got {value!r}.")
    if not os.fspath(value):
        raise ArgumentError(f"{who}: {name} is empty; give the name of a folder.")
    return Path(value)
