"""The microscope: a page over recorded runs, its data, its server, its single-file export and its widget.

`answers.answer` is the one door to the numbers: the server asks it for every address, the export asks it once
for each address that it holds. Nothing here computes what `explain` does not.
"""

from collections.abc import Callable
from typing import Any

from kernelearn._lazy import on_first_use

# Public name -> the module of this package that defines it.
_OBJECTS = {
    "export": "exporting",
    "serve": "serving",
    "Library": "library",
    "answer": "answers",
}

__all__ = ["Library", "answer", "export", "serve"]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = on_first_use(
    __name__, {name: f"{__name__}.{module}" for name, module in _OBJECTS.items()}, names=__all__
)
