"""Losses of regions, pairs, noisy labels and sequences, written with functions of `ops`: see `losses.Loss`.

Each is a function, and a class that holds its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Unpack

from kernelearn import ops
from kernelearn._configurable import arguments_of
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.losses.base import LOSSES, Loss, LossOptions

EPSILON = 1e-7
# The logarithm of a probability of zero: finite, so that differences of two of them are 0.
NEVER = -1e5

Axis = int | Sequence[int] | None


def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Any:
    """1 - 2 |A B| / (|A| + |B|), summed over `axis`; None: over everything, the batch too.

    >>> import numpy as np
    >>> round(float(dice(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]))), 4)
    0.3333
    """
    both = ops.sum(y_true * y_pred, axis=axis)
    return 1.0 - 2.0 * both / (ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + EPSILON)


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Any:
    """1 - |A B| / (|A B| + alpha |A - B| + beta |B - A|), A the target; 0.5 and 0.5 is `dice`.

    Source: Salehi et al. (2017), https://arxiv.org/abs/1706.05721, with the two factors as Keras has them.
    """
    both = ops.sum(y_true * y_pred, axis=axis)
    missed = ops.sum((1.0 - y_pred) * y_true, axis=axis)
    added = ops.sum(y_pred * (1.0 - y_true), axis=axis)
    return 1.0 - both / (both + missed * alpha + added * beta + EPSILON)


def circle(
    y_true: Any, y_pred: Any, remove_diagonal: bool = True, gamma: float = 80.0, margin: float = 0.4
) -> Any:
    """Circle loss of every image: those of its class are to be near, all others far.

    Args:
        y_true: (n,) or (n, 1) class numbers.
        y_pred: (n, features) vectors of length 1.
        remove_diagonal: do not compare an image with itself.
    Returns: (n,). Source: Sun et al. (2020), https://arxiv.org/abs/2002.10857.
    """
    labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
    distances = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(y_pred)), 0.0)
    is_same = ops.equal(labels, ops.transpose(labels))
    is_other = ops.logical_not(is_same)
    if remove_diagonal:
        is_same = ops.logical_and(is_same, ops.logical_not(ops.eye(distances.shape[0], dtype="bool")))
    near = -gamma * (margin + distances) * (margin - distances)
    far = gamma * ops.maximum(1.0 + margin - distances, 0.0) * (1.0 - margin - distances)
    sums = [
        ops.logsumexp(ops.where(chosen, values, NEVER), axis=1)
        for chosen, values in ((is_same, near), (is_other, far))
    ]
    return ops.softplus(sums[0] + sums[1])


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float = 0.5) -> Any:
    """(1 - p^q) / q, p the probability of the class: between cross-entropy (q to 0) and 1 - p (q = 1).

    Args:
        y_true: (n, ...) or (n, ..., 1) class numbers.
        y_pred: (n, ..., classes) probabilities.
    Source: Zhang and Sabuncu (2018), https://arxiv.org/abs/1805.07836.
    """
    labels = ops.cast(y_true, "int32")
    if len(labels.shape) == len(y_pred.shape):
        labels = ops.squeeze(labels, axis=-1)
    chosen = ops.one_hot(labels, y_pred.shape[-1], dtype=str(y_pred.dtype))
    return (1.0 - ops.sum(y_pred * chosen, axis=-1) ** q) / q


def ctc(y_true: Any, y_pred: Any) -> Any:
    """Connectionist temporal classification: -log of the probability of all ways to read the labels.

    Args:
        y_true: (n, length) class numbers; 0 is the blank and ends the labels.
        y_pred: (n, steps, classes) logits.
    Returns: (n,). Source: Graves et al. (2006), equations 5 to 8, in logarithms.
    """
    if len(y_true.shape) != 2 or len(y_pred.shape) != 3:
        raise ShapeError(
            "ctc takes labels (n, length) and logits (n, steps, classes), got shapes "
            f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )
    labels, length = ops.cast(y_true, "int32"), y_true.shape[1]
    # blank, first label, blank, second label, ..., blank
    states = ops.reshape(ops.stack([ops.zeros_like(labels), labels], axis=2), (-1, 2 * length))
    states = ops.pad(states, ((0, 0), (0, 1)))
    one_hot = ops.one_hot(states, y_pred.shape[2], dtype=str(y_pred.dtype))
    scores = ops.matmul(ops.log_softmax(y_pred), ops.swapaxes(one_hot, 1, 2))
    before = ops.pad(states[:, :-2], ((0, 0), (2, 0)))
    can_skip = ops.logical_and(ops.not_equal(states, 0), ops.not_equal(states, before))
    start = ops.where(ops.arange(2 * length + 1) < 2, 0.0, NEVER)
    ways = scores[:, 0] + start
    for step in range(1, y_pred.shape[1]):
        ways = _next_ways(ways, can_skip) + scores[:, step]
    ends = 2 * ops.sum(ops.cast(ops.not_equal(labels, 0), "int32"), axis=1, keepdims=True)
    is_end = ops.logical_or(ops.equal(_places(ways), ends), ops.equal(_places(ways), ends - 1))
    return -ops.logsumexp(ops.where(is_end, ways, NEVER), axis=1)


def _places(ways: Any) -> Any:
    return ops.reshape(ops.arange(ways.shape[1], dtype="int32"), (1, -1))


def _next_ways(ways: Any, can_skip: Any) -> Any:
    """From each state: stay, go one on, or skip the blank between two labels that differ."""
    one = ops.pad(ways[:, :-1], ((0, 0), (1, 0)), constant_values=NEVER)
    two = ops.pad(ways[:, :-2], ((0, 0), (2, 0)), constant_values=NEVER)
    return ops.logaddexp(ops.logaddexp(ways, one), ops.where(can_skip, two, NEVER))


class _Written(Loss):
    """A loss that is a function of this module with arguments of its own."""

    function: ClassVar[Callable[..., Any]]

    def attrs(self) -> dict[str, Any]:
        own = [n for n in arguments_of(type(self)).kinds if n not in ("name", "reduction")]
        return {name: getattr(self, name) for name in own}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return type(self).function(y_true, y_pred, **self.attrs())


@LOSSES.register("dice")
class Dice(_Written):
    """1 - 2 |A B| / (|A| + |B|): how little the predicted regions cover those of the target.

    Args:
        axis: over which the areas are summed; None: over the whole batch, which gives one number.
    """

    function = staticmethod(dice)
    axis: Axis

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name, reduction, **options)
        self.axis = list(axis) if isinstance(axis, list | tuple) else axis
        self.keep(locals())


@LOSSES.register("tversky")
class Tversky(_Written):
    """`Dice` with weights: `alpha` for what is missed, `beta` for what is added.

    Args:
        axis: over which the areas are summed; None: over the whole batch, which gives one number.
    """

    function = staticmethod(tversky)
    alpha: float
    beta: float
    axis: Axis

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name, reduction, **options)
        self.axis = list(axis) if isinstance(axis, list | tuple) else axis
        self.keep(locals())


@LOSSES.register("circle")
class Circle(_Written):
    """Vectors of one class near each other, of others far: see `circle`. The mean is over values above 0.

    Args:
        gamma: how sharply the hardest pairs count.
        margin: how near and how far is enough.
        remove_diagonal: do not compare an image with itself.
    """

    function = staticmethod(circle)
    gamma: float
    margin: float
    remove_diagonal: bool

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name, reduction, **options)
        self.keep(locals())

    def counted(self, values: Any) -> Any:
        return ops.greater(values, 0.0)


@LOSSES.register("categorical_generalized_cross_entropy")
class CategoricalGeneralizedCrossEntropy(_Written):
    """(1 - p^q) / q of the class's probability p: labels that are wrong now and then do less harm.

    Args:
        q: above 0 and at most 1; towards 0 it is cross-entropy, 1 is the mean absolute error.
    """

    function = staticmethod(categorical_generalized_cross_entropy)
    q: float

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name, reduction, **options)
        self.keep(locals())
        if not 0 < q <= 1:
            raise ArgumentError(f"q must be above 0 and at most 1, got {q!r}.")


@LOSSES.register("ctc")
class CTC(_Written):
    """Connectionist temporal classification of logits (n, steps, classes); labels end with 0, the blank."""

    function = staticmethod(ctc)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name, reduction, **options)
