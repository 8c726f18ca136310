"""The watchers of this process that write: one that is in the way of a newer one ends.

A training that failed leaves its watcher behind. Nobody calls `stop`, and a notebook keeps the error with all
that it reaches, so that nothing is freed and the folder stays locked. So who begins anew, with the same model
or in the same folder, takes its place.
"""

from __future__ import annotations

import os
import warnings
import weakref
from pathlib import Path
from typing import Any, Protocol

from kernelearn.storage import absolute


class Standing(Protocol):
    """A watcher, as others see it."""

    @property
    def folder(self) -> Path | None:
        """Of its run."""

    @property
    def watched(self) -> Any:
        """The model."""

    @property
    def is_writing(self) -> bool:
        """Whether it holds a run open."""

    def give_way(self) -> None:
        """End, as interrupted."""

    def forget(self) -> None:
        """End without touching the run: it is that of another process."""


_WATCHERS: weakref.WeakSet[Any] = weakref.WeakSet()


def stand(watcher: Standing) -> None:
    """Say that a watcher writes, or is going to."""
    _WATCHERS.add(watcher)


def take_over(who: str, folder: Path, model: Any) -> None:
    """End what writes into a folder, or watches a model, from this process; with a warning."""
    place = absolute(folder)
    for older in _writing():
        if older.watched is not model and absolute(older.folder) != place:
            continue
        older.give_way()
        warnings.warn(
            f"{who}: the recording into {str(older.folder)!r} was not stopped (did its training fail?). It "
            "ends here, as interrupted: the same model or folder is watched anew. Of two trainings at "
            "a time give each a model and a folder of its own.",
            UserWarning,
            stacklevel=3,
        )


def _writing() -> list[Any]:
    return [watcher for watcher in list(_WATCHERS) if watcher.is_writing]


def _forget_all() -> None:
    """In a process that was forked off: the files belong to its parent."""
    for watcher in _writing():
        watcher.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
