"""The watchers of this process that write: one that is in the way of a newer one ends.

A training that failed leaves its watcher behind. Nobody calls `stop`, and a notebook keeps the error with all
that it reaches, so that nothing is freed and the folder stays locked. So who begins anew, with the same model
or in the same folder, takes its place.
"""

from __future__ import annotations

import contextlib
import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.locks import when_locked_here
from kernelearn.storage import absolute

if TYPE_CHECKING:
    from kernelearn.watching.book import WatchBook


_WATCHERS: weakref.WeakSet[Standing] = weakref.WeakSet()


class Standing:
    """A watcher, as others see it.

    It ends when another takes its place and when nobody has it any more; a forked process has none.
    """

    _book: WatchBook | None = None
    _is_on = False  # whether it records, or is going to

    @property
    def folder(self) -> Path | None:
        """Of its run."""
        raise NotImplementedError

    @property
    def watched(self) -> Any:
        """The model; None before a training."""
        raise NotImplementedError

    def end(self, kind: str = "finished") -> None:
        """End the recording and close its files; where it has ended, nothing happens."""
        raise NotImplementedError

    @property
    def is_writing(self) -> bool:
        """Whether it holds a run open."""
        return self._is_on and self._book is not None

    def stand(self) -> None:
        """Say that it writes."""
        _WATCHERS.add(self)

    def event(self, kind: str, **about: Any) -> None:
        """Note what happened, at the step that was done last."""
        if self._book is not None and self._is_on:
            self._book.event(kind, **about)

    def give_way(self) -> None:
        """End, as interrupted."""
        self.end("interrupted")

    def forget(self) -> None:
        """End without touching the run: it is that of another process."""
        self._is_on = False

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.give_way()


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method, for what the watcher has itself: the watcher is freed as soon as nobody else has it."""
    kept = weakref.WeakMethod(method)

    def call(*arguments: Any, **options: Any) -> Any:
        found = kept()
        return None if found is None else found(*arguments, **options)

    return call


def take_over(who: str, folder: Path, model: Any) -> None:
    """End what writes into a folder, or watches a model, from this process; with a warning."""
    for older in _writing():
        if older.watched is model or _is_of(older, folder):
            _end(older, f"{who}: the", "the same model or folder is watched anew")


def _end(watcher: Standing, the: str, why: str) -> None:
    watcher.give_way()
    warnings.warn(
        f"{the} recording into {str(watcher.folder)!r} was not stopped (did its training fail?). It ends "
        f"here, as interrupted: {why}. Of two trainings at a time give each a model and a folder of its own.",
        UserWarning,
        stacklevel=4,
    )


def _is_of(watcher: Standing, folder: Path) -> bool:
    return watcher.folder is not None and absolute(watcher.folder) == absolute(folder)


def _leave(folder: Path) -> None:
    """Something else of this process wants to write into a folder."""
    for watcher in _writing():
        if _is_of(watcher, folder):
            _end(watcher, "The", "another run is written into its folder")


def _writing() -> list[Standing]:
    return [watcher for watcher in list(_WATCHERS) if watcher.is_writing]


def _forget_all() -> None:
    """In a process that was forked off: the files belong to its parent."""
    for watcher in _writing():
        watcher.forget()


when_locked_here(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
