"""What a training was, step by step: `Recorder` writes a run folder, `Run` reads it back.

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_OBJECTS = {
    "Factors": "kernelearn.recording.factors",
    "Part": "kernelearn.recording.factors",
    "Recorder": "kernelearn.recording.recorder",
    "Run": "kernelearn.recording.run",
    "RunWriter": "kernelearn.recording.writer",
    "export": "kernelearn.recording.exporting",
    "list_runs": "kernelearn.recording.catalog",
    "prune": "kernelearn.recording.pruning",
}

__all__ = ["Factors", "Part", "Recorder", "Run", "RunWriter", "export", "list_runs", "prune"]

if TYPE_CHECKING:
    from kernelearn.recording.catalog import list_runs
    from kernelearn.recording.exporting import export
    from kernelearn.recording.factors import Factors, Part
    from kernelearn.recording.pruning import prune
    from kernelearn.recording.recorder import Recorder
    from kernelearn.recording.run import Run
    from kernelearn.recording.writer import RunWriter


def __getattr__(name: str) -> Any:
    """Import a public name on first use and keep it."""
    if name not in _OBJECTS:
        raise AttributeError(f"kernelearn.recording has no {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value = getattr(import_module(_OBJECTS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
