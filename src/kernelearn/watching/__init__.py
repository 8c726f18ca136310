"""Trainings that happen in other programs, watched: the same run folders, for the same explanations.

    watcher = kernelearn.watch(module, optimizer, run="runs/mine", every=100)   # PyTorch, in the user's loop
    ...
    watcher.stop()

`book` writes what was seen and knows no program; `pytorch` sees what a step of PyTorch does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelearn._lazy import on_first_use

_OBJECTS = {
    "NumberedLoader": "kernelearn.watching.pytorch.loaders",
    "Watcher": "kernelearn.watching.pytorch.watcher",
    "watch": "kernelearn.watching.pytorch.watcher",
}

__all__ = ["NumberedLoader", "Watcher", "watch"]

if TYPE_CHECKING:
    from kernelearn.watching.pytorch.loaders import NumberedLoader
    from kernelearn.watching.pytorch.watcher import Watcher, watch

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = on_first_use(__name__, _OBJECTS)
