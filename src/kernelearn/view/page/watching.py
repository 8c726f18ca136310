"""Notices how runs change: grown, ended, replaced, broken or gone; one look serves all who watch."""

from __future__ import annotations

import threading
import time
from typing import Any

from kernelearn.errors import KernelearnError
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.view.page.library import PageRun


class Watcher:
    """Looks at runs, each at most once every so many seconds.

    Args:
        every: seconds between two looks.
    """

    def __init__(self, every: float = 0.2) -> None:
        self.every = every
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, dict[str, Any]]] = {}
        self._first: dict[str, str] = {}

    def state(self, page_run: PageRun) -> dict[str, Any]:
        """{"event": "change", "gone" or "replaced", "data": what is said of it}."""
        with self._lock:
            when, found = self._seen.get(page_run.key, (0.0, {}))
            if found and time.monotonic() - when < self.every:
                return found
            found = self._look(page_run)
            self._seen[page_run.key] = (time.monotonic(), found)
            return found

    def _look(self, page_run: PageRun) -> dict[str, Any]:
        try:
            run = page_run.open()
        except KernelearnError as error:
            is_there = any(
                (folder / MANIFEST).exists() for folder in (page_run.path, page_run.path / "record")
            )
            event = "change" if is_there else "gone"
            return {"event": event, "data": {"status": "broken", "problem": str(error)}}
        data = {
            "status": run.status,
            "last_step": run.last_step,
            "events": len(run.events),
            "stamp": page_run.identity,
            "problems": len(run.problems),
        }
        was = self._first.setdefault(page_run.key, page_run.identity)
        if was != page_run.identity:
            self._first[page_run.key] = page_run.identity
            return {"event": "replaced", "data": data}
        return {"event": "change", "data": data}
