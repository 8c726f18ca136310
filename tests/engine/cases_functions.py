"""Examples of functions entry by entry, conditions, and reductions: a part of `cases.ALL`."""

import math

import numpy as np
from scipy import special

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import no_gradient
from tests.engine.helpers import Case


def normal(*shape, seed=0):
    """Normal numbers that float32 holds exactly."""
    rng = np.random.default_rng((seed, *shape))
    return rng.normal(size=shape).astype("float32").astype("float64")


def _between(low, high):
    """Numbers that float32 holds exactly, none close to a whole number or half of one."""
    numbers = np.linspace(low, high, 15).reshape(3, 5)
    near = np.abs(numbers * 2 - np.rint(numbers * 2)) < 0.05
    return (numbers + 0.04 * near).astype("float32").astype("float64")


# Function -> where it is looked at, and the same from Python's mathematics.
SINGLE = {
    "sqrt": ((0.1, 5), math.sqrt),
    "rsqrt": ((0.1, 5), lambda x: x**-0.5),
    "exp": ((-3, 3), math.exp),
    "expm1": ((-3, 3), math.expm1),
    "log": ((0.1, 5), math.log),
    "log1p": ((-0.9, 5), math.log1p),
    "log2": ((0.1, 5), math.log2),
    "log10": ((0.1, 5), math.log10),
    "sin": ((-9, 9), math.sin),
    "cos": ((-9, 9), math.cos),
    "tan": ((-1.4, 1.4), math.tan),
    "sinh": ((-3, 3), math.sinh),
    "cosh": ((-3, 3), math.cosh),
    "arcsin": ((-0.9, 0.9), math.asin),
    "arccos": ((-0.9, 0.9), math.acos),
    "arctan": ((-5, 5), math.atan),
    "arcsinh": ((-5, 5), math.asinh),
    "arccosh": ((1.1, 5), math.acosh),
    "arctanh": ((-0.9, 0.9), math.atanh),
    "erf": ((-2.5, 2.5), math.erf),
    "erfinv": ((-0.95, 0.95), special.erfinv),
    "reciprocal": ((0.1, 5), lambda x: 1 / x),
    "square": ((-3, 3), lambda x: x * x),
    "abs": ((-3, 3), abs),
    "sign": ((-3, 3), lambda x: math.copysign(1, x)),
    "floor": ((-3, 3), math.floor),
    "ceil": ((-3, 3), math.ceil),
    "round": ((-3, 3), round),
}
PAIRS = {
    "divide": lambda x, y: x / y,
    "power": math.pow,
    "floor_divide": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "arctan2": math.atan2,
    "logaddexp": lambda x, y: math.log(math.exp(x) + math.exp(y)),
}
COMPARISONS = {
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
}


def _each(function):
    """Of the numbers of arrays, without NumPy's own functions."""
    return lambda *arrays, **attrs: np.vectorize(function, otypes=[float])(*arrays)


def _conditions(function):
    return lambda *arrays: np.vectorize(function, otypes=[bool])(*arrays)


def _is_smooth(operator):
    return OPERATORS[operator].gradient is not no_gradient


_MIXED = np.array([[1.0, np.nan, -np.inf], [np.inf, 0.0, -0.0]])
_TRUTH, _OTHER = np.array([[True, False], [False, True]]), np.array([[True, True], [False, False]])
_X, _Y = _between(0.3, 4), _between(0.7, 2)[::-1]
_COUNTS = np.array([[0, 1, 2, 3, 1], [2, 2, 0, 1, 3], [1, 1, 1, 0, 0]]).astype("float64")

FUNCTIONS = [
    *[
        Case(name, (_between(*span),), {}, _each(function), smooth=(0,) * _is_smooth(name))
        for name, (span, function) in SINGLE.items()
    ],
    *[
        Case(name, (_X, _Y), {}, _each(function), smooth=(0, 1) * _is_smooth(name))
        for name, function in PAIRS.items()
    ],
    Case("power", (_X, _Y[:1]), {}, _each(math.pow), smooth=(0, 1), label="row"),
    Case("power_by", (_X,), {"exponent": -1.5}, lambda x, exponent: x**-1.5, smooth=(0,)),
    *[
        Case(name, (_COUNTS, _COUNTS[::-1]), {}, _conditions(function))
        for name, function in COMPARISONS.items()
    ],
    Case("logical_and", (_TRUTH, _OTHER), {}, _conditions(lambda a, b: a and b)),
    Case("logical_or", (_TRUTH, _OTHER), {}, _conditions(lambda a, b: a or b)),
    Case("logical_xor", (_TRUTH, _OTHER), {}, _conditions(lambda a, b: a != b)),
    Case("logical_not", (_TRUTH,), {}, _conditions(lambda a: not a)),
    *[
        Case(name, (_MIXED,), {}, _conditions(test))
        for name, test in (("isnan", math.isnan), ("isinf", math.isinf), ("isfinite", math.isfinite))
    ],
    Case(
        "where",
        (_COUNTS[:, :1] > 1, _X, _Y[0]),
        {},
        lambda c, x, y: np.stack([np.array([y, row][int(holds)]) for (holds,), row in zip(c, x)]),
        smooth=(1, 2),
    ),
    Case("cast", (_X,), {"dtype": "int32"}, lambda x, dtype: [[int(v) for v in row] for row in x]),
    Case("cast", (_TRUTH,), {"dtype": "float32"}, lambda x, dtype: [[1.0, 0.0], [0.0, 1.0]], label="bool"),
    Case("cast", (_X,), {"dtype": "float64"}, lambda x, dtype: x, smooth=(0,), label="float"),
    Case("stop_gradient", (_X,), {}, lambda x: x),
]

_T = normal(2, 3, 4)
_ZEROS = np.array([[2.0, 3.0, 0.5], [0.0, 4.0, 1.5], [0.0, 3.0, 0.0]])
_STEPS = ((np.arange(24) * 7 % 24) * 0.25 - 2.9).reshape(2, 3, 4)
REDUCTIONS = [
    Case(
        "reduce_mean",
        (_T,),
        {"axes": (0,)},
        lambda x, **a: (x[0] + x[1]) / 2,
        terms=3,
        smooth=(0,),
        label="first",
    ),
    Case(
        "reduce_min",
        (_STEPS,),
        {"axes": (0, 2)},
        lambda x, **a: -np.sort(-x.swapaxes(0, 1).reshape(3, 8))[:, -1],
        smooth=(0,),
    ),
    Case("reduce_min", (_TRUTH,), {"axes": (1,)}, lambda x, **a: [all(row) for row in x], label="all"),
    Case(
        "reduce_max",
        (_TRUTH,),
        {"axes": (1,), "keepdims": True},
        lambda x, **a: [[any(row)] for row in x],
        label="any",
    ),
    Case(
        "reduce_prod", (_T,), {"axes": (1,)}, lambda x, **a: x[:, 0] * x[:, 1] * x[:, 2], terms=3, smooth=(0,)
    ),
    Case(
        "reduce_prod",
        (_ZEROS,),
        {"axes": (1,)},
        lambda x, **a: [math.prod(row) for row in x],
        smooth=(0,),
        label="zeros",
    ),
    Case("image_count", (_T,), {"dtype": "float64"}, lambda x, **a: 2.0),
    *[
        Case(name, (_STEPS,), {"axis": 1, "keepdims": keepdims}, oracle, label=str(keepdims))
        for keepdims in (False, True)
        for name, oracle in (
            ("argmax", lambda x, axis, keepdims: np.argsort(x, 1)[:, -1:][:, slice(None) if keepdims else 0]),
            ("argmin", lambda x, axis, keepdims: np.argsort(x, 1)[:, :1][:, slice(None) if keepdims else 0]),
        )
    ],
    Case(
        "cumsum",
        (_T,),
        {"axis": 1},
        lambda x, **a: np.stack([x[:, : i + 1].sum(1) for i in range(3)], 1),
        terms=3,
        smooth=(0,),
    ),
    Case(
        "cumsum",
        (_T,),
        {"axis": -1, "reverse": True},
        lambda x, **a: np.stack([x[..., i:].sum(-1) for i in range(4)], -1),
        terms=4,
        smooth=(0,),
        label="reverse",
    ),
    Case(
        "cumprod",
        (_ZEROS,),
        {"axis": 1},
        lambda x, **a: np.stack([x[:, : i + 1].prod(1) for i in range(3)], 1),
        terms=3,
        smooth=(0,),
    ),
    Case("cumprod_grad", (normal(3, 3), _ZEROS), {"axis": 1}, terms=9),
]
