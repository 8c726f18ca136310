"""The precision of products: convolutions and dense layers multiply operands rounded to bfloat16.

bfloat16 is float32 with 8 bits of significand instead of 24: the same range, two to three decimal digits. A
product of two of them is exact in float32, so rounding the operands and summing in float32 is what processors
with such products do, up to the order of the sum.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.errors import unknown_name

PRECISIONS = ("float32", "bfloat16")


def round_to_bfloat16(x: Array) -> Array:
    """Round to the nearest bfloat16, ties to even; what is too large becomes infinite, NaN stays NaN.

    Args:
        x: any shape; float64 goes through float32.
    Returns: an array of the dtype of x.

    >>> round_to_bfloat16(np.array([1.00390625, 1.01171875, 3.1415927], np.float32))
    array([1.      , 1.015625, 3.140625], dtype=float32)
    """
    x = np.asarray(x)
    with np.errstate(over="ignore", invalid="ignore"):
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    # NOTE: adding just under half of the last kept bit, and one more if that bit is odd, rounds ties to even.
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    result = np.where(np.isnan(x), x, rounded.view(np.float32).reshape(x.shape))
    return result.astype(x.dtype, copy=False)


def with_precision(function: Callable[..., Array]) -> Callable[..., Array]:
    """Give a function of two operands the attribute `precision`: the type that both are rounded to first.

    "float32" leaves them as they are, "bfloat16" rounds them; sums are the function's own.
    """

    @wraps(function)
    def run(x: Array, other: Array, *, precision: str, **attrs: Any) -> Array:
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        if precision == "bfloat16":
            x, other = round_to_bfloat16(x), round_to_bfloat16(other)
        return function(x, other, **attrs)

    return run
