"""Types that the formulas and the operator table speak of, and what is asked of them everywhere."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

# An array of any of the types that programs hold; each function says what it expects.
Array = NDArray[Any]
# Sizes or positions along some axes; of a whole array, None stands for the number of images.
Sizes = tuple[int, ...]
Shape = tuple[int | None, ...]
# (before, after) along each spatial axis, in pixels; negative ones crop.
Pairs = tuple[tuple[int, int], ...]
# (start, end) along each axis; None: all of it.
Bounds = tuple[tuple[int, int] | None, ...]

# (start, count, step) along each axis; None: all of it.
Places = tuple[tuple[int, int, int] | None, ...]

# Who gets the outputs of a run by their labels; and who is told that a group of them is there, by its number.
Use = Callable[[dict[str, Array]], None]
Reached = Callable[[int, dict[str, Array]], None]


def known(size: int | None) -> int:
    """A size that is not the number of images."""
    assert size is not None, "the number of images is known only when a step runs"
    return size


def inverse_order(order: Sequence[int]) -> Sizes:
    """The order of axes that undoes another.

    >>> inverse_order((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(order.index(axis) for axis in range(len(order)))
