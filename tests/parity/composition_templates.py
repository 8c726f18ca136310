"""The expressions that random compositions are made of: functions, comparisons and reductions.

A maker gets a `Draw` and gives text. It chooses arguments for which the function is defined and smooth
nearby: no ties in a maximum, no logarithm of a negative number.
"""

import numpy as np

from tests.parity.compositions import Draw, template

ANYWHERE = """sin cos tanh arctan erf sigmoid softplus silu square negative arcsinh log_sigmoid softsign selu
    elu celu tanh_shrink sparse_plus squareplus nan_to_num log_softmax"""
# Functions with a corner: at zero, or at a few whole numbers.
CORNERS = """abs relu relu6 leaky_relu hard_sigmoid hard_silu hard_tanh soft_shrink sign ceil floor round
    trunc"""
POSITIVE = "log log2 log10 sqrt rsqrt log1p reciprocal"
WITHIN_ONE = "arcsin arccos arctanh erfinv"
SMALL = "exp expm1 sinh cosh"
REDUCTIONS = "sum mean max min prod var std logsumexp amax amin"
PAIRS = "add subtract multiply maximum minimum arctan2 logaddexp"
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "not_equal")


def _enter_simple_ones() -> None:
    for name in ANYWHERE.split():
        template(name)(lambda d, n=name: f"ops.{n}({d.of_rank(1) if n == 'log_softmax' else d.value()})")
    for name in CORNERS.split():
        template(name)(lambda d, n=name: f"ops.{n}({d.value()} * 1.37 + 0.0119)")
    for name in POSITIVE.split():
        template(name)(lambda d, n=name: f"ops.{n}({d.positive()})")
    for name in WITHIN_ONE.split():
        template(name)(lambda d, n=name: f"ops.{n}(0.9 * ops.tanh({d.value()}))")
    for name in SMALL.split():
        template(name)(lambda d, n=name: f"ops.{n}({d.small()})")
    for name in PAIRS.split():
        template(name)(lambda d, n=name: _pair(d, n))
    for name in REDUCTIONS.split():
        template(name)(lambda d, n=name: _reduction(d, n))
    for name in COMPARISONS:
        template(f"where:{name}")(lambda d, n=name: _where(d, n))


def _pair(d: Draw, name: str) -> str:
    a = d.value()
    b = d.beside(a)
    if name in ("maximum", "minimum", "arctan2"):
        a = f"({a} + 0.0173)"  # no ties, not both zero
    return f"ops.{name}({a}, {b})" if d.flip() else f"ops.{name}({b}, {a})"


def _reduction(d: Draw, name: str) -> str:
    v = d.of_rank(1)
    axis = d.axes(v)
    keep = axis is not None and d.flip()  # Keras on PyTorch forgets keepdims of all axes
    x = d.distinct(v) if name in ("max", "min", "amax", "amin") else v
    if name == "std":
        x = f"({v} + {d.constant(d.shape(v))})"
        sizes = np.atleast_1d(
            np.array(d.shape(v))[list(np.atleast_1d(axis))] if axis is not None else d.shape(v)
        )
        if np.prod(sizes) == 1:
            raise LookupError  # the root of zero has no gradient
    return f"ops.{name}({x}, axis={axis}, keepdims={keep})"


def _where(d: Draw, name: str) -> str:
    v = d.value()
    return f"ops.where(ops.{name}({v}, {d.choice(0.0137, -0.3171, 0.7193)}), {v}, {d.beside(v)})"


_enter_simple_ones()


@template("gelu")
def _gelu(d: Draw) -> str:
    return f"ops.gelu({d.value()}, approximate={d.flip()})"


@template("divide")
def _divide(d: Draw) -> str:
    a = d.value()
    b = d.beside(a)
    return f"{a} / ({b} * {b} + 0.7)" if d.flip() else f"ops.divide({b}, ops.abs({a}) + 0.6)"


@template("mod")
def _mod(d: Draw) -> str:
    return f"ops.mod({d.value()} + 0.0119, {d.choice(1.7, 2.3, -1.9)})"


@template("floor_divide")
def _floor_divide(d: Draw) -> str:
    v = d.value()
    return f"{v} * (ops.stop_gradient({v} + 0.0119) // {d.choice(0.7, 1.3)})"


@template("power")
def _power(d: Draw) -> str:
    return d.choice(
        f"ops.power({d.positive()}, {d.choice(-1.5, 0.5, 1.7)})",
        f"{d.small()} ** {d.choice(2, 3)}",
        f"ops.power({d.positive()}, ops.tanh({d.of_rank(0, 0)}))",
    )


@template("clip")
def _clip(d: Draw) -> str:
    return f"ops.clip({d.value()}, -0.8131, 1.1717)"


@template("logical_and")
def _logical(d: Draw) -> str:
    v = d.value()
    name = d.choice("logical_and", "logical_or", "logical_xor")
    return f"ops.where(ops.{name}({v} > -0.5113, ops.logical_not({v} > 0.6171)), ops.sin({v}), 0.5 * {v})"


@template("cast")
def _cast(d: Draw) -> str:
    v = d.value()
    return f"{v} * ops.cast({v} > 0.1137, {d.choice('float64', 'float64')!r})"


@template("any")
def _any(d: Draw) -> str:
    v = d.of_rank(1)
    name, axis = d.choice("any", "all"), d.axes(v)
    return f"ops.where(ops.{name}({v} > 0.4171, axis={axis}, keepdims=True), {v}, ops.tanh({v}))"


@template("count_nonzero")
def _count(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.mean({v}) * ops.cast(ops.count_nonzero({v} > 0.2713), 'float64')"


@template("stop_gradient")
def _stop(d: Draw) -> str:
    v = d.value()
    return f"{v} * ops.stop_gradient(ops.cos({v}))"


@template("norm")
def _norm(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.norm({v} + {d.constant(d.shape(v))}, axis={d.axis(v)}, keepdims={d.flip()})"


@template("cumsum")
def _cumsum(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.cumsum({v}, axis={d.axis(v)})"


@template("cumprod")
def _cumprod(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.cumprod(ops.tanh({v}) + 1.2, axis={d.axis(v)})"


@template("softmax")
def _softmax(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.softmax({v}, axis={d.axis(v)})"
