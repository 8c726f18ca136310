"""The runs of a page: opened once, followed while they grow, seen when they break or are replaced."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, FormatError, KernelearnError, unknown_name
from kernelearn.recording.files.manifest import MANIFEST, run_folder
from kernelearn.recording.run import Run
from kernelearn.storage import absolute

# Seconds for which a run is not looked at again.
_FRESH = 0.1
# Results that are kept for each run, numbers of one layer at one step mostly: so many, and of so many bytes.
_KEPT, _KEPT_BYTES = 64, 256 * 2**20


class _QuietRun(Run):
    """A run whose damage is told on the page and not on the terminal of the server."""

    def _tell_problems(self) -> None:
        pass


class PageRun:
    """One run of a page.

    Attributes:
        key: its name in addresses; name: as its folder is called; path: of the folder.
        lock: held while something is computed from the run.
        identity: changes when another run is in its place.
        pictures: those that readers gave; pictures_taken: how many there were.
    """

    def __init__(self, key: str, path: Path, is_awaited: bool = False) -> None:
        self.key, self.path, self._is_awaited = key, path, is_awaited
        self.name = path.name if path.name != "record" else path.parent.name
        self.lock = threading.RLock()
        self.pictures: dict[str, Any] = {}
        self.pictures_taken = 0
        self.identity = ""
        self._run: Run | None = None
        self._looked = 0.0
        self._last_step = -1
        self._problem: str | None = None
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def open(self) -> Run:
        """The run as it is now.

        Raises: ArgumentError if its folder is gone, FormatError if it is broken.
        """
        with self.lock:
            now = time.monotonic()
            if self._run is not None and now - self._looked < _FRESH:
                return self._run
            try:
                self._look()
            except (KernelearnError, OSError) as error:
                self._run, self._problem = None, _in_words(error, self.path)
                self._kept.clear()
                if isinstance(error, KernelearnError):
                    raise
                raise ArgumentError(self._problem) from error
            self._looked, self._problem = now, None
            assert self._run is not None
            return self._run

    def _look(self) -> None:
        if self._run is None or self._run.folder != run_folder(self.path):
            self._run = _QuietRun(self.path)
        else:
            self._run.refresh()
        identity = str(self._run.manifest["run"])
        if identity != self.identity:
            if self.identity:
                self._run = _QuietRun(self.path)
            self.identity = identity
            self._kept.clear()
        if self._run.last_step < self._last_step:  # a resumed training took steps back and makes them anew
            self._kept.clear()
        self._last_step = self._run.last_step

    def about(self) -> dict[str, Any]:
        """What a list of runs says of it; never an error."""
        try:
            run = self.open()
        except KernelearnError as error:
            is_there = any((folder / MANIFEST).exists() for folder in (self.path, self.path / "record"))
            return {
                "key": self.key,
                "name": self.name,
                "status": "waiting" if self._is_awaited and not is_there and not self.identity else "broken",
                "last_step": None,
                "problem": str(error),
            }
        return {
            "key": self.key,
            "name": self.name,
            "status": run.status,
            "last_step": run.last_step,
            "problem": None,
        }

    def keep(self, key: Any, make: Callable[[], Any]) -> Any:
        """A result that does not change while the run grows: made once, the least used are forgotten."""
        with self.lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            found = make()
            self._kept[key] = found
            self._forget()
            return found

    def _forget(self) -> None:
        """Forget what was used longest ago, as far as there is too much."""
        size = sum(map(bytes_of, self._kept.values()))
        while len(self._kept) > _KEPT or (size > _KEPT_BYTES and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            size -= bytes_of(gone)


class Library:
    """All runs of a page, in the order in which they were given.

    Args:
        paths: folders of runs, or of trainings that hold one.
        names: what to call them; their folders' names by default.
        lessons: a folder with lessons of the user's own.
        may_be_missing: whether a folder may appear later, as that of a training about to begin.
    Attributes:
        runs: key -> run.
        can_control: whether the page may steer trainings.
    Raises: ArgumentError for no run at all, a folder that is none, or no folder of lessons.
    """

    def __init__(
        self,
        paths: Sequence[Any],
        names: Sequence[str] | None = None,
        lessons: Any = None,
        may_be_missing: bool = False,
    ) -> None:
        if not len(paths):
            raise ArgumentError("A page needs at least one run: the folder of a recorded training.")
        self.runs: dict[str, PageRun] = {}
        self.can_control = False
        self.lessons = None if lessons is None else Path(lessons)
        if self.lessons is not None and not self.lessons.is_dir():
            raise ArgumentError(
                f"There is no folder {str(self.lessons)!r} of lessons; give one with Markdown files."
            )
        for place, given in enumerate(paths):
            path = absolute(given)
            if not may_be_missing:
                run_folder(path)
            name = names[place] if names is not None else None
            self._add(PageRun("", path, may_be_missing), name)

    def _add(self, page_run: PageRun, name: str | None) -> None:
        page_run.name = name or page_run.name
        page_run.key = _free_key(page_run.name, self.runs)
        self.runs[page_run.key] = page_run

    def of(self, key: str) -> PageRun:
        """The run of a key.

        Raises: UnknownNameError.
        """
        if key not in self.runs:
            raise unknown_name("run", key, self.runs)
        return self.runs[key]


def bytes_of(value: Any, depth: int = 3) -> int:
    """Bytes of the arrays in a result: in mappings, sequences and dataclasses, some levels deep.

    >>> bytes_of({"a": np.zeros(4), "b": [np.zeros(2, np.float32)]})
    40
    """
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if depth == 0 or isinstance(value, str | bytes | int | float | type(None)):
        return 0
    if isinstance(value, Mapping):
        return sum(bytes_of(one, depth - 1) for one in value.values())
    if isinstance(value, list | tuple):
        return sum(bytes_of(one, depth - 1) for one in value)
    if is_dataclass(value):
        return sum(bytes_of(getattr(value, one.name, None), depth - 1) for one in fields(value))
    return 0


def _free_key(name: str, taken: Any) -> str:
    """A name of letters, digits, dots, dashes that no other run has."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60] or "run"
    key, number = plain, 2
    while key in taken:
        key, number = f"{plain}-{number}", number + 1
    return key


def _in_words(error: Exception, path: Path) -> str:
    if isinstance(error, FormatError | ArgumentError):
        return str(error)
    return f"The run {str(path)!r} cannot be read now: {error}"
