"""Hints in words, and runs beside each other."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.explain.comparison import compare_runs
from kernelearn.explain.findings import Hint
from kernelearn.explain.findings import hints as find_hints
from kernelearn.view.page.asking import Ask
from kernelearn.view.page.library import Library, PageRun

# Kind of a hint -> the view that shows why.
_VIEWS = {
    "dead channels": {"view": "families"},
    "repeated filters": {"view": "families"},
    "large updates": {"view": "bench"},
    "a layer that hardly moves": {"view": "bench"},
}


def hints(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """What stands out in a run."""
    run = page_run.open()
    # While a run grows, it is looked at again a hundred times at most.
    grown = run.last_step // max(run.last_step // 100, 1)
    found = page_run.keep(("hints", grown, run.ending), lambda: find_hints(run))
    return {"hints": [_hint(hint) for hint in found]}


def _hint(hint: Hint) -> dict[str, Any]:
    view = dict(_VIEWS.get(hint.kind, {"view": "bench"}))
    return {**hint.to_dict(), "view": {**view, **({"layer": hint.layer} if hint.layer else {})}}


def compare(library: Library, ask: Ask) -> dict[str, Any]:
    """Two or more runs beside each other."""
    keys = ask.texts("runs")
    if len(keys) < 2:
        raise ArgumentError("A comparison needs at least two runs: runs=KEY,KEY.")
    runs = [library.of(key).open() for key in keys]
    return compare_runs(runs, keys).to_dict()
