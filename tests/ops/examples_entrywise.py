"""Examples of functions entry by entry, of comparisons, conditions and types."""

from functools import partial

import numpy as np
from scipy import special

from kernelearn import ops
from tests.ops.example import NORMAL, POSITIVE, UNIT, Example


def _single(name, oracle, array=NORMAL, **more):
    return Example(name, lambda f, x: f(x), oracle, (array,), **more)


def _pair(name, oracle, arrays=(NORMAL, POSITIVE), **more):
    return Example(name, lambda f, x, y: f(x, y), oracle, arrays, **more)


def _quotient(x):
    """Infinite between 0 and 1, and finite elsewhere."""
    return ops.divide(x, ops.floor(x))


def _of_quotient(name):
    return lambda x: getattr(np, name)(x / np.floor(x))


def _of_conditions(name):
    return lambda x: getattr(np, name)(x > 0, x < 1)


_BOOL, _INDEX = {"dtype": "bool"}, {"dtype": "int32"}
# Names that only a newer NumPy has.
OLDER = {f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}
ANYWHERE = [
    "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "arctan", "arcsinh", "square", "abs", "absolute",
    "sign", "floor", "ceil", "round", "trunc", "negative", "atan", "asinh",
]  # fmt: skip
TWO = [
    "add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "mod", "arctan2", "logaddexp",
    "maximum", "minimum",
]  # fmt: skip

ENTRYWISE = [
    *[
        _single(name, getattr(np, OLDER.get(name, name)), array)
        for array, names in (
            (NORMAL, ANYWHERE),
            (POSITIVE, ["sqrt", "log", "log1p", "log2", "log10", "reciprocal"]),
            (UNIT, ["arcsin", "arccos", "arctanh", "asin", "acos", "atanh"]),
        )
        for name in names
    ],
    _single("rsqrt", lambda x: x**-0.5, POSITIVE),
    Example("arccosh", lambda f, x: f(x + 1), lambda x: np.arccosh(x + 1), (POSITIVE,)),
    Example("acosh", lambda f, x: f(x + 1), lambda x: np.arccosh(x + 1), (POSITIVE,)),
    _single("erf", special.erf),
    _single("erfinv", special.erfinv, UNIT),
    Example("round", lambda f, x: f(x, 2), lambda x: np.round(x, 2), label="decimals"),
    Example("stop_gradient", lambda f, x: f(x), lambda x: x),
    Example(
        "nan_to_num",
        lambda f, x: f(_quotient(x), posinf=7.0, neginf=-7.0),
        lambda x: np.nan_to_num(x / np.floor(x), posinf=7, neginf=-7),
    ),
    *[_pair(name, getattr(np, name)) for name in TWO],
    _pair("atan2", np.arctan2),
    Example(
        "cross",
        lambda f, x, y: f(x[:, :, :3], y[:, :, 1:4]),
        lambda x, y: np.cross(x[:, :, :3], y[:, :, 1:4]),
        (NORMAL, POSITIVE),
    ),
    _pair("power", np.power, (POSITIVE, NORMAL)),
    *[
        Example("power", lambda f, x, p=p: f(x, p), lambda x, p=p: x**p, (POSITIVE,), label=str(p))
        for p in (0, 1, 2, 3, 0.5, -0.5, -1, 1.5, 2.25)
    ],
    *[
        Example(name, lambda f, x: f(2, x), partial(getattr(np, name), 2), (POSITIVE,), label="number")
        for name in ("add", "subtract", "multiply", "divide", "mod", "floor_divide", "power", "maximum")
    ],
    Example("add", lambda f, x: f(x, x[:, :1]), lambda x: x + x[:, :1], label="row"),
    Example(
        "multiply", lambda f, x: f(x[:, :1], x[:, :, :1]), lambda x: x[:, :1] * x[:, :, :1], label="cross"
    ),
    Example("add", lambda f, x: f(x, np.arange(5)), lambda x: x + np.arange(5), label="integers"),
    Example("multiply", lambda f, x: f(x > 0, x < 1), lambda x: (x > 0) & (x < 1), label="bool", **_BOOL),
    Example("clip", lambda f, x: f(x, -0.5, 1), lambda x: np.clip(x, -0.5, 1)),
    *[
        Example(name, lambda f, x, y: f(x, y), getattr(np, name), (NORMAL, UNIT), **_BOOL)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ],
    Example("equal", lambda f, x: f(x > 0, x < 1), lambda x: (x > 0) == (x < 1), label="bool", **_BOOL),
    Example("less", lambda f, x: f(x > 0, x < 1), lambda x: (x > 0) < (x < 1), label="bool", **_BOOL),
    *[
        Example(name, lambda f, x: f(x > 0, x < 1), _of_conditions(name), **_BOOL)
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    Example("logical_not", lambda f, x: f(x > 0), lambda x: x <= 0, **_BOOL),
    *[
        Example(name, lambda f, x: f(_quotient(x)), _of_quotient(name), **_BOOL)
        for name in ("isnan", "isinf", "isfinite")
    ],
    Example("where", lambda f, x, y: f(x > 0, x, y), lambda x, y: np.where(x > 0, x, y), (NORMAL, UNIT)),
    Example(
        "where", lambda f, x: f(x[:, :, :1] > 0, x, 1), lambda x: np.where(x[:, :, :1] > 0, x, 1), label="row"
    ),
    Example("cast", lambda f, x: f(x * 9, "int32"), lambda x: (x * 9).astype("int32"), dtype="int32"),
    Example("cast", lambda f, x: f(x > 0, "float32"), lambda x: (x > 0) * 1.0, label="bool"),
    Example("abs", lambda f, x: f(x > 0), lambda x: (x > 0) * 1, label="bool", **_INDEX),
    Example(
        "square",
        lambda f, x: f(ops.cast(x * 9, "int32")),
        lambda x: (x * 9).astype(int) ** 2,
        label="int",
        **_INDEX,
    ),
    Example(
        "round",
        lambda f, x: f(ops.cast(x * 9, "int32")),
        lambda x: (x * 9).astype(int),
        label="int",
        **_INDEX,
    ),
    Example(
        "floor", lambda f, x: f(ops.cast(x * 9, "int32")), lambda x: (x * 9).astype(int) * 1.0, label="int"
    ),
    Example(
        "add",
        lambda f, x: f(ops.cast(x * 9, "int32"), 1),
        lambda x: (x * 9).astype(int) + 1,
        label="int",
        **_INDEX,
    ),
    Example(
        "add",
        lambda f, x: f(ops.cast(x * 9, "int32"), 0.5),
        lambda x: (x * 9).astype(int) + 0.5,
        label="weak",
    ),
    Example(
        "maximum",
        lambda f, x: f(ops.cast(x * 9, "int64"), x),
        lambda x: np.maximum((x * 9).astype(int), x),
        label="mixed",
    ),
    Example(
        "mod",
        lambda f, x: f(ops.cast(x * 9, "int32"), 3),
        lambda x: (x * 9).astype(int) % 3,
        label="int",
        **_INDEX,
    ),
    Example("zeros_like", lambda f, x: f(x), np.zeros_like),
    Example("ones_like", lambda f, x: f(x, dtype="int32"), lambda x: np.ones_like(x, "int32"), dtype="int32"),
    Example("full_like", lambda f, x: f(x, 2.5), lambda x: np.full_like(x, 2.5)),
    Example(
        "full_like", lambda f, x: f(x, np.arange(5)), lambda x: np.full_like(x, np.arange(5)), label="array"
    ),
]
