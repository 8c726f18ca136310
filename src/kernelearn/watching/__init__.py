"""Trainings that happen in other programs, watched: the same run folders, for the same explanations.

    watcher = kernelearn.watch(module, optimizer, run="runs/mine", every=100)   # PyTorch, in the user's loop
    ...
    watcher.stop()

    model.fit(x, y, callbacks=[kernelearn.watch_keras("runs/mine", every=100)])          # Keras 3

`book` writes what was seen and knows no program; `pytorch` and `keras` see what a step of theirs does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelearn._lazy import on_first_use

_OBJECTS = {
    "ignite_handler": "kernelearn.watching.pytorch.loops",
    "lightning_callback": "kernelearn.watching.pytorch.loops",
    "trainer_callback": "kernelearn.watching.pytorch.loops",
    "NumberedLoader": "kernelearn.watching.pytorch.loaders",
    "Watcher": "kernelearn.watching.pytorch.watcher",
    "watch": "kernelearn.watching.pytorch.watcher",
    "watch_keras": "kernelearn.watching.keras.callback",
}

__all__ = [
    "NumberedLoader",
    "Watcher",
    "ignite_handler",
    "lightning_callback",
    "trainer_callback",
    "watch",
    "watch_keras",
]

if TYPE_CHECKING:
    from kernelearn.watching.keras.callback import watch_keras
    from kernelearn.watching.pytorch.loaders import NumberedLoader
    from kernelearn.watching.pytorch.loops import ignite_handler, lightning_callback, trainer_callback
    from kernelearn.watching.pytorch.watcher import Watcher, watch

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = on_first_use(__name__, _OBJECTS)
