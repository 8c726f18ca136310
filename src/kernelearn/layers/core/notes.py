"""What a layer remembers of its calls. It is no setting: programs do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int | None, ...]


@dataclass(eq=False)
class CallNotes:
    """Kept apart from the attributes of a layer, which are compared to see whether it has changed.

    Attributes:
        form: how the last call of a `call` of the user's own arranged its outputs.
        is_traced: whether that has run; the layer makes no weights after that.
        shapes: of what the layer gave in the `call` of another one.
        losses: penalties of the last call on arrays.
        made_in_call: (class, line) of the `call` that has made the layer; None, as it should be.
    """

    form: Any = None
    is_traced: bool = False
    shapes: tuple[Shape, ...] = ()
    losses: list[float] = field(default_factory=list)
    made_in_call: tuple[str, str] | None = None
