"""Changes of shape in both directions: numbers stay where they are if they can, else axes are moved first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kernelearn.conversion.torch.placed import Placed, reshaped, segments, unflattened


def reshaped_by(
    x: Placed,
    shape: tuple[int, ...],
    in_order: Callable[[Placed], Placed],
    ordered: Callable[[Placed, Sequence[int]], Placed],
    reshape: Callable[[Any, tuple[int, ...]], Any],
) -> Placed | None:
    """A value in another shape of the origin; None if that mixes images with each other.

    Args:
        in_order, ordered: bring features or axes to the order of the origin, or to one that is given.
        reshape: changes the sizes of a tensor, given without the images.
    """
    if shape == x.shape:
        return x
    found = unflattened(x, shape)
    if found is None:
        x = in_order(x)
        found = reshaped(x, shape)
    if found is None:
        x = ordered(x, _in_runs(x, shape))
        found = reshaped(x, shape)
    if found is None:
        return None
    tensor = x.tensor if found.sizes == x.sizes else reshape(x.tensor, found.sizes)
    return Placed(tensor, shape, found.order, found.places)


def _in_runs(x: Placed, shape: Sequence[int]) -> tuple[int, ...]:
    """An order in which axes that become one stand beside each other, and the rest where it is."""
    parts = sorted(
        segments(x.shape, shape), key=lambda part: min((x.order.index(a) for a in part.before), default=0)
    )
    order = [axis for part in parts for axis in part.before]
    return (x.images_axis, *(axis for axis in order if axis != x.images_axis))
