"""Activations, softmax, dense layers, normalisation, dropout and cross-entropies on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.engine.reference.losses import LOSSES
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.ops._run import check_axes, float_arrays, run


def activation(x: ArrayLike, name: str, engine: str | None = None, **arguments: Any) -> NDArray[Any]:
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
    (x,) = float_arrays(x)
    return run("activation", (x,), engine, kind=name, **arguments)


def _named(name: str) -> Callable[..., NDArray[Any]]:
    """The function `name` of this module."""

    def function(x: ArrayLike, engine: str | None = None, **arguments: Any) -> NDArray[Any]:
        return activation(x, name, engine, **arguments)

    function.__name__ = function.__qualname__ = name
    setattr(function, "activation", name)  # noqa: B010 - a layer takes the function for its name
    function.__doc__ = f"The activation {name!r}; see `activation`."
    return function


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


def softmax(x: ArrayLike, axis: int | Sequence[int] = -1, engine: str | None = None) -> NDArray[Any]:
    """exp(x) / sum of exp(x) along an axis, or over several axes together; never overflows.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return _along_axis("softmax", x, axis, engine)


def log_softmax(x: ArrayLike, axis: int | Sequence[int] = -1, engine: str | None = None) -> NDArray[Any]:
    """The logarithm of `softmax`, exact where that rounds to 0."""
    return _along_axis("log_softmax", x, axis, engine)


for _function in (softmax, log_softmax):
    setattr(_function, "activation", _function.__name__)  # noqa: B010


def _along_axis(
    operator: str, x: ArrayLike, axis: int | Sequence[int] = -1, engine: str | None = None
) -> NDArray[Any]:
    (x,) = float_arrays(x)
    axes = sorted({_checked_axis(operator, one, x) for one in np.atleast_1d(axis).tolist()})
    if len(axes) > 1:
        return _along_several(operator, x, axes, engine)
    # NOTE: along the first axis the images are not independent: the program is then one for this shape.
    return run(operator, (x,), engine, batched=int(axes[0] != 0), axis=axes[0] - x.ndim)


def _checked_axis(operator: str, axis: Any, x: NDArray[Any]) -> int:
    """An axis of x, counted from the front."""
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{operator} has axis={axis!r}, which an array of shape {x.shape} does not have.")
    return axis % x.ndim


def _along_several(operator: str, x: NDArray[Any], axes: list[int], engine: str | None) -> NDArray[Any]:
    """Over several axes: they are moved to the end, made one, and put back."""
    ends = list(range(-len(axes), 0))
    moved = np.moveaxis(x, axes, ends)
    flat = np.ascontiguousarray(moved.reshape(*moved.shape[: -len(axes)], -1))
    y = _along_axis(operator, flat, -1, engine)
    return np.ascontiguousarray(np.moveaxis(y.reshape(moved.shape), ends, axes))


def dense(
    x: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None, engine: str | None = None
) -> NDArray[Any]:
    """x @ kernel + bias on the last axis.

    Args:
        x: (n, ..., c); kernel: (c, units); bias: (units,) or None.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.dense(np.array([[1.0, 2.0]]), np.eye(2), bias=np.array([10.0, 20.0]))
    array([[11., 22.]])
    """
    x, kernel = float_arrays(x, kernel)
    check_axes(kernel, 2, "kernel", "(features, units)")
    y = run("dense", (x, kernel), engine)
    return y if bias is None else bias_add(y, bias, engine=engine)


def bias_add(x: ArrayLike, bias: ArrayLike, engine: str | None = None) -> NDArray[Any]:
    """Add a bias (c,) to the last axis of x."""
    x, bias = float_arrays(x, bias)
    if bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"bias must have shape {x.shape[-1:]}, one number per channel of x; got {bias.shape}."
        )
    return run("bias_add", (x, bias), engine)


def batch_normalization(
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    axis: int = -1,
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    epsilon: float = 1e-3,
    engine: str | None = None,
) -> NDArray[Any]:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, one number of each per channel.

    Args:
        mean, variance, offset, scale: (c,); offset and scale may be None.
        axis: the channel axis.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.batch_normalization(np.array([[1.0, 5.0]]), mean=[1.0, 1.0], variance=[4.0, 4.0], epsilon=0.0)
    array([[0., 2.]])
    """
    # NOTE: a number that stands for None must not make float32 arrays float64, so it is an integer.
    arrays = float_arrays(
        x, mean, variance, *(np.int8(i) if a is None else a for i, a in ((1, scale), (0, offset)))
    )
    x, mean, variance = arrays[:3]
    shape = (x.shape[axis],)
    scale, offset = (a if a.shape else np.full(shape, a) for a in arrays[3:])
    for name, array in (("mean", mean), ("variance", variance), ("scale", scale), ("offset", offset)):
        if array.shape != shape:
            raise ShapeError(
                f"{name} must have shape {shape}, one number per channel (axis {axis}); got {array.shape}."
            )
    last = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    y = run("standardize", (last, mean, variance), engine, epsilon=float(epsilon))
    return np.ascontiguousarray(np.moveaxis(run("affine", (y, scale, offset), engine), -1, axis))


def layer_normalization(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    axis: int = -1,
    epsilon: float = 1e-3,
    engine: str | None = None,
) -> NDArray[Any]:
    """Zero mean and unit variance along the last axes from `axis` on, then gamma * y + beta.

    Args:
        gamma, beta: of the shape of those axes, or None.
    """
    (x,) = float_arrays(x)
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = run("normalize", (x,), engine, axes=axes, epsilon=float(epsilon))
    for operator, weight in (("multiply", gamma), ("add", beta)):
        if weight is not None:
            y, weight = float_arrays(y, weight)
            y = run(operator, (y, weight), engine)
    return y


def dropout(
    x: ArrayLike, rate: float, seed: int = 0, step: int = 0, engine: str | None = None
) -> NDArray[Any]:
    """Set a share `rate` of x to zero, scale the rest by 1 / (1 - rate); depends on seed and step alone."""
    (x,) = float_arrays(x)
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate must lie in [0, 1], got {rate!r}.")
    clock = np.asarray(seed, np.int64), np.asarray(step, np.int64)
    return run("dropout", (x, *clock), engine, rate=float(rate), stream=1)


def one_hot(labels: ArrayLike, num_classes: int, dtype: str = "float32") -> NDArray[Any]:
    """Class numbers (...,) as rows of zeros with one 1: (..., num_classes). A number that is no class gives
    zeros.

    >>> from kernelearn import ops
    >>> ops.one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    numbers = np.asarray(labels)
    if numbers.dtype.kind not in "iub":
        raise ArgumentError(f"one_hot takes integer class numbers, got dtype {numbers.dtype}.")
    return np.asarray(numbers[..., None] == np.arange(num_classes)).astype(dtype)


def moments(
    x: ArrayLike, axes: int | Sequence[int], keepdims: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and biased variance over axes."""
    (x,) = float_arrays(x)
    chosen = tuple(np.atleast_1d(axes).tolist())
    return x.mean(axis=chosen, keepdims=keepdims), x.var(axis=chosen, keepdims=keepdims)


def categorical_crossentropy(target: ArrayLike, output: ArrayLike, from_logits: bool = False) -> NDArray[Any]:
    """-sum(target * log(output)) along the last axis, per sample.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.categorical_crossentropy(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])).round(4)
    array([0.6931])
    """
    output, target = float_arrays(output, target)
    return LOSSES["categorical_crossentropy"].value(target, output, from_logits=from_logits)


def sparse_categorical_crossentropy(
    target: ArrayLike, output: ArrayLike, from_logits: bool = False
) -> NDArray[Any]:
    """`categorical_crossentropy` with class numbers (n, ...) as target."""
    (output,) = float_arrays(output)
    return LOSSES["sparse_categorical_crossentropy"].value(
        np.asarray(target), output, from_logits=from_logits
    )


def binary_crossentropy(target: ArrayLike, output: ArrayLike, from_logits: bool = False) -> NDArray[Any]:
    """-(t log(p) + (1 - t) log(1 - p)) for every entry, not averaged."""
    output, target = float_arrays(output, target)
    value = LOSSES["binary_crossentropy"].value
    return value(target[..., None], output[..., None], from_logits=from_logits)
