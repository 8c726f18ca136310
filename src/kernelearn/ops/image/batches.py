"""One image or many, channels first or last: brought to (n, *sizes, c) and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelearn.errors import ShapeError
from kernelearn.ops._run import Value
from kernelearn.ops._shapes import one
from kernelearn.ops.convolution import _back, channels_to_end
from kernelearn.ops.moving.shaping import expand_dims, squeeze

# From (n, *sizes, c) to the form in which images came.
Back = Callable[[Value], Value]


def as_batch(images: Any, data_format: str | None, what: str, rank: int = 2) -> tuple[Value, Back]:
    """Images as (n, *sizes, c), and the way back.

    Args:
        rank: spatial axes.
    Raises: ShapeError unless it is one image or many.
    """
    x = one(images)
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{what} takes one image ({rank + 1} axes) or many ({rank + 2}); got shape {x.shape}."
        )
    is_single = x.ndim == rank + 1
    batch = channels_to_end(expand_dims(x, 0) if is_single else x, data_format)

    def back(y: Value) -> Value:
        y = _back(y, data_format)
        return squeeze(y, 0) if is_single else y

    return batch, back
