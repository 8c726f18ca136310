"""Activations, softmax, dense layers, normalisation, dropout and cross-entropies on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, check_axes, floats, moved, reshaped, run, transposed, values
from kernelearn.tracing import Traced, function


@operation
def activation(x: Value, name: str, engine: str | None = None, **arguments: Any) -> Any:
    """An activation function by name.

    Args:
        x: any shape.
        name: as in `layers.Activation`; the functions of the same names in this module are shorter.
        arguments: of that function, such as negative_slope=0.1, or axis for "softmax" and "log_softmax".
    Returns: like x.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.activation(np.array([-1.0, 2.0]), "leaky_relu", negative_slope=0.1)
    array([-0.1,  2. ])
    """
    if name in ("softmax", "log_softmax"):
        return _along_axis(name, x, engine=engine, **arguments)
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, [*ACTIVATIONS, "softmax", "log_softmax"])
    (x,) = floats(x)
    return run("activation", (x,), engine, kind=name, **arguments)


def _named(name: str) -> Callable[..., Any]:
    """The function `name` of this module."""

    def named(x: Value, engine: str | None = None, **arguments: Any) -> Any:
        return activation(x, name, engine, **arguments)

    named.__name__ = named.__qualname__ = name
    named.__doc__ = f"The activation {name!r}; see `activation`."
    made = operation(named)
    setattr(made, "activation", name)  # noqa: B010 - a layer takes the function for its name
    return made


linear = _named("linear")
relu = _named("relu")
relu6 = _named("relu6")
leaky_relu = _named("leaky_relu")
elu = _named("elu")
selu = _named("selu")
celu = _named("celu")
gelu = _named("gelu")
silu = _named("silu")
swish = _named("swish")
mish = _named("mish")
sigmoid = _named("sigmoid")
log_sigmoid = _named("log_sigmoid")
hard_sigmoid = _named("hard_sigmoid")
hard_silu = _named("hard_silu")
hard_swish = _named("hard_swish")
hard_tanh = _named("hard_tanh")
tanh = _named("tanh")
tanh_shrink = _named("tanh_shrink")
softplus = _named("softplus")
softsign = _named("softsign")
squareplus = _named("squareplus")
exponential = _named("exponential")
soft_shrink = _named("soft_shrink")
hard_shrink = _named("hard_shrink")
sparse_plus = _named("sparse_plus")
sparse_sigmoid = _named("sparse_sigmoid")
threshold = _named("threshold")


@operation
def softmax(x: Value, axis: int | Sequence[int] = -1, engine: str | None = None) -> Any:
    """exp(x) / sum of exp(x) along an axis, or over several axes together; never overflows.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return _along_axis("softmax", x, axis, engine)


@operation
def log_softmax(x: Value, axis: int | Sequence[int] = -1, engine: str | None = None) -> Any:
    """The logarithm of `softmax`, exact where that rounds to 0."""
    return _along_axis("log_softmax", x, axis, engine)


for _function in (softmax, log_softmax):
    setattr(_function, "activation", _function.__name__)  # noqa: B010


def _along_axis(operator: str, x: Value, axis: int | Sequence[int] = -1, engine: str | None = None) -> Any:
    (x,) = floats(x)
    axes = sorted({_checked_axis(operator, one, x) for one in np.atleast_1d(axis).tolist()})
    if len(axes) > 1:
        return _along_several(operator, x, axes, engine)
    # NOTE: along the first axis the images are not independent: the program is then one for this shape.
    return run(operator, (x,), engine, batched=int(axes[0] != 0), axis=axes[0] - x.ndim)


def _checked_axis(operator: str, axis: Any, x: Value) -> int:
    """An axis of x, counted from the front."""
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{operator} has axis={axis!r}, which an array of shape {x.shape} does not have.")
    return axis % x.ndim


def _along_several(operator: str, x: Value, axes: list[int], engine: str | None) -> Value:
    """Over several axes: they are moved to the end, made one, and put back."""
    order = [axis for axis in range(x.ndim) if axis not in axes] + axes
    last = transposed(x, order)
    flat = reshaped(last, (*last.shape[: -len(axes)], math.prod(last.shape[-len(axes) :])))
    y = reshaped(_along_axis(operator, flat, -1, engine), last.shape)
    return transposed(y, inverse_order(order))


@operation
def dense(x: Value, kernel: Value, bias: Value | None = None, engine: str | None = None) -> Any:
    """x @ kernel + bias on the last axis.

    Args:
        x: (n, ..., c); kernel: (c, units); bias: (units,) or None.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.dense(np.array([[1.0, 2.0]]), np.eye(2), bias=np.array([10.0, 20.0]))
    array([[11., 22.]])
    """
    x, kernel = floats(x, kernel)
    check_axes(kernel, 2, "kernel", "(features, units)")
    y = run("dense", (x, kernel), engine)
    return y if bias is None else bias_add(y, bias, engine=engine)


@operation
def bias_add(x: Value, bias: Value, engine: str | None = None) -> Any:
    """Add a bias (c,) to the last axis of x."""
    x, bias = floats(x, bias)
    if bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"bias must have shape {x.shape[-1:]}, one number per channel of x; got {bias.shape}."
        )
    return run("bias_add", (x, bias), engine)


@operation
def batch_normalization(
    x: Value,
    mean: Value,
    variance: Value,
    axis: int = -1,
    offset: Value | None = None,
    scale: Value | None = None,
    epsilon: float = 1e-3,
    engine: str | None = None,
) -> Any:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, one number of each per channel.

    Args:
        mean, variance, offset, scale: (c,); offset and scale may be None.
        axis: the channel axis.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.batch_normalization(np.array([[1.0, 5.0]]), mean=[1.0, 1.0], variance=[4.0, 4.0], epsilon=0.0)
    array([[0., 2.]])
    """
    shape = (values(x)[0].shape[axis],)
    # NOTE: what stands for None must not make float32 arrays float64, so it is of integers.
    given = (np.full(shape, i, np.int8) if a is None else a for i, a in ((1, scale), (0, offset)))
    x, mean, variance, scale, offset = floats(x, mean, variance, *given)
    for name, array in (("mean", mean), ("variance", variance), ("scale", scale), ("offset", offset)):
        if array.shape != shape:
            raise ShapeError(
                f"{name} must have shape {shape}, one number per channel (axis {axis}); got {array.shape}."
            )
    last = moved(x, axis, -1)
    if isinstance(last, Traced):
        # NOTE: the operator `standardize` takes mean and variance as they are; here they may depend on x.
        y = (last - mean) * function("rsqrt")(variance + epsilon)
    else:
        y = run("standardize", (last, mean, variance), engine, epsilon=float(epsilon))
    return moved(run("affine", (y, scale, offset), engine), -1, axis)


@operation
def layer_normalization(
    x: Value,
    gamma: Value | None = None,
    beta: Value | None = None,
    axis: int = -1,
    epsilon: float = 1e-3,
    engine: str | None = None,
) -> Any:
    """Zero mean and unit variance along the last axes from `axis` on, then gamma * y + beta.

    Args:
        gamma, beta: of the shape of those axes, or None.
    """
    (x,) = floats(x)
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = run("normalize", (x,), engine, axes=axes, epsilon=float(epsilon))
    for operator, weight in (("multiply", gamma), ("add", beta)):
        if weight is not None:
            y, weight = floats(y, weight)
            y = run(operator, (y, weight), engine)
    return y


@operation
def dropout(x: Value, rate: float, seed: int = 0, step: int = 0, engine: str | None = None) -> Any:
    """Set a share `rate` of x to zero, scale the rest by 1 / (1 - rate).

    On arrays it depends on seed and step alone; traced, it draws from the generator of the step.
    """
    (x,) = floats(x)
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate must lie in [0, 1], got {rate!r}.")
    if isinstance(x, Traced):
        clock: list[Value] = [Traced(x.graph, part) for part in x.graph.clock()]
        stream = x.graph.next_stream()
    else:
        clock, stream = [np.asarray(seed, np.int64), np.asarray(step, np.int64)], 1
    return run("dropout", (x, *clock), engine, rate=float(rate), stream=stream)
