"""Models of other programs, in and out: one room for each program, each between its files and our layers.

`load_model`, `Model.save`, `load_weights` and `save_weights` come here by the kind of a file
(`formats.model_files`). Nothing that a file names is imported or run.
"""

from typing import TYPE_CHECKING

from kernelearn._lazy import on_first_use

if TYPE_CHECKING:
    from kernelearn.conversion.keras.living import from_keras, to_keras

_OBJECTS = {
    "from_keras": "kernelearn.conversion.keras.living",
    "to_keras": "kernelearn.conversion.keras.living",
}
__all__ = ["from_keras", "to_keras"]
__getattr__, __dir__ = on_first_use(__name__, _OBJECTS)
