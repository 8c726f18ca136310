"""What a training was, step by step: `Recorder` writes a run folder, `Run` reads it back.

Names are imported when they are first used.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelearn._lazy import on_first_use

_OBJECTS = {
    "Factors": "kernelearn.recording.factors",
    "Intervention": "kernelearn.recording.interventions",
    "Interventions": "kernelearn.recording.repeating",
    "Part": "kernelearn.recording.factors",
    "Recorder": "kernelearn.recording.recorder",
    "Run": "kernelearn.recording.run",
    "RunWriter": "kernelearn.recording.files.writer",
    "StageRecord": "kernelearn.recording.factors",
    "export": "kernelearn.recording.exporting",
    "list_runs": "kernelearn.recording.catalog",
    "prune": "kernelearn.recording.pruning",
}

__all__ = [
    "Factors",
    "Intervention",
    "Interventions",
    "Part",
    "Recorder",
    "Run",
    "RunWriter",
    "StageRecord",
    "export",
    "list_runs",
    "prune",
]

if TYPE_CHECKING:
    from kernelearn.recording.catalog import list_runs
    from kernelearn.recording.exporting import export
    from kernelearn.recording.factors import Factors, Part, StageRecord
    from kernelearn.recording.files.writer import RunWriter
    from kernelearn.recording.interventions import Intervention
    from kernelearn.recording.pruning import prune
    from kernelearn.recording.recorder import Recorder
    from kernelearn.recording.repeating import Interventions
    from kernelearn.recording.run import Run

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = on_first_use(__name__, _OBJECTS)
