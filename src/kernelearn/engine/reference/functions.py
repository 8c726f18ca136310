"""Functions entry by entry: of one number, of two, and conditions. NumPy's, where NumPy has them.

Functions of one number keep its type; results are finite, without warnings, wherever those of mathematics
are.
"""

from collections.abc import Callable

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference import special

# --- of one number


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


def reciprocal(x: Array) -> Array:
    """1 / x."""
    return 1 / x


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "sqrt": np.sqrt,
    "rsqrt": rsqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "erf": special.erf,
    "erfinv": special.erfinv,
    "reciprocal": reciprocal,
    "square": np.square,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
}


def power_by(x: Array, *, exponent: float) -> Array:
    """x^exponent."""
    return np.power(x, np.asarray(exponent, x.dtype))


# --- of two numbers


def logaddexp(x: Array, y: Array) -> Array:
    """log(e^x + e^y) = max + log1p(e^(min - max)), without overflow; two equal infinities stay."""
    larger, smaller = np.maximum(x, y), np.minimum(x, y)
    gap = np.where(np.isinf(larger) & (larger == smaller), x.dtype.type(0), smaller - larger)
    return larger + np.log1p(np.exp(gap))


PAIRS: dict[str, Callable[..., Array]] = {
    "divide": np.true_divide,
    "power": np.power,
    "floor_divide": np.floor_divide,
    "mod": np.mod,
    "arctan2": np.arctan2,
    "logaddexp": logaddexp,
}

# --- conditions

COMPARISONS: dict[str, Callable[..., Array]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}

LOGICAL: dict[str, Callable[..., Array]] = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}

LOGICAL_NOT = np.logical_not
TESTS: dict[str, Callable[..., Array]] = {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}


def where(condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y."""
    return np.where(condition, x, y)


def cast(x: Array, *, dtype: str) -> Array:
    """The same numbers in another type: floats lose what is behind the point; anything but zero is True."""
    return x.astype(dtype)


def stop_gradient(x: Array) -> Array:
    """x itself; gradients end here."""
    return x
