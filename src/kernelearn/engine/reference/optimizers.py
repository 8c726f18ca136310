"""One step of every optimiser as a pure function on arrays, Keras's formulas; and gradient clipping.

    update(param, grad, *slots, learning_rate, step, weight_decay, **attrs) -> (new_param, *new_slots)

`step` counts from 1: the number of this update. `weight_decay` is decoupled in every optimiser and comes
first, param <- param - param * weight_decay * learning_rate, whatever the gradient says. Arrays keep the
dtype of the parameter; the coefficients are float64 numbers. `UPDATES` lists the slots of each optimiser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from math import inf, isfinite, nan, sqrt
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array

Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Update:
    """The step function of one kind of optimiser.

    function: as described at the top of this file.
    slots: names of the arrays it carries from step to step, in order, each of the parameter's shape; those
        in brackets in the function's docstring exist only with some attributes.
    attrs: its own attributes with their defaults; `weight_decay` comes besides.
    """

    function: Callable[..., Arrays]
    slots: tuple[str, ...]
    attrs: Mapping[str, Any]


def _after_weight_decay(rule: Callable[..., Arrays]) -> Callable[..., Arrays]:
    """Give an update rule the argument `weight_decay`, and plain numbers for its learning rate and step.

    NOTE: a NumPy float64 scalar would turn float32 parameters into float64.
    """

    @wraps(rule)
    def update(
        param: Array,
        grad: Array,
        *slots: Array,
        learning_rate: float,
        step: int,
        weight_decay: float,
        **attrs: Any,
    ) -> Arrays:
        learning_rate = float(learning_rate)
        if weight_decay:
            param = param * (1 - float(weight_decay) * learning_rate)
        return rule(param, grad, *slots, learning_rate=learning_rate, step=int(step), **attrs)

    return update


def _towards(average: Array, value: Array, share: float) -> Array:
    """Exponential moving average: a fraction `share` of the way from `average` to `value`."""
    return average + (value - average) * share


@_after_weight_decay
def sgd_update(
    param: Array,
    grad: Array,
    *slots: Array,
    learning_rate: float,
    step: int,
    momentum: float,
    nesterov: bool,
) -> Arrays:
    """v <- momentum v - lr g, w <- w + v; with nesterov w <- w + momentum v - lr g. Slots: [velocity].

    Source: Sutskever et al. (2013), http://proceedings.mlr.press/v28/sutskever13.html, equations 3 and 4.
    """
    descent = grad * learning_rate
    if not momentum:
        return (param - descent, *slots)
    velocity = slots[0] * momentum - descent
    move = velocity * momentum - descent if nesterov else velocity
    return param + move, velocity


@_after_weight_decay
def adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *v_hat: Array,
    learning_rate: float,
    step: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    amsgrad: bool,
) -> Arrays:
    """w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps). Slots: momentum, velocity, [velocity_hat].

    Source: Kingma and Ba (2014), https://arxiv.org/abs/1412.6980, the form before section 2.1, where epsilon
    is "epsilon hat"; amsgrad: Reddi et al. (2018).
    """
    m = _towards(m, grad, 1 - beta_1)
    v = _towards(v, grad * grad, 1 - beta_2)
    alpha = learning_rate * sqrt(1 - beta_2**step) / (1 - beta_1**step)
    if not amsgrad:
        return param - m * alpha / (np.sqrt(v) + epsilon), m, v
    largest = np.maximum(v_hat[0], v)
    return param - m * alpha / (np.sqrt(largest) + epsilon), m, v, largest


@_after_weight_decay
def rmsprop_update(
    param: Array,
    grad: Array,
    velocity: Array,
    *slots: Array,
    learning_rate: float,
    step: int,
    rho: float,
    momentum: float,
    epsilon: float,
    centered: bool,
) -> Arrays:
    """w <- w - lr g / sqrt(v + eps), v the moving mean of g^2. Slots: velocity, [momentum, average_gradient].

    Source: Hinton, Neural Networks for Machine Learning, lecture 6e; centred: Graves (2013), arXiv:1308.0850.
    """
    velocity = rho * velocity + (1 - rho) * (grad * grad)
    denominator = velocity + epsilon
    new_slots: list[Array] = []
    if centered:
        average = rho * slots[-1] + (1 - rho) * grad
        # The variance cannot be negative; rounding can make it so and its root NaN.
        denominator = np.maximum(velocity - average * average, 0) + epsilon
        new_slots = [average]
    move = learning_rate * grad / np.sqrt(denominator)
    if momentum:
        move = momentum * slots[0] + move
        new_slots.insert(0, move)
    return (param - move, velocity, *new_slots)


@_after_weight_decay
def adagrad_update(
    param: Array,
    grad: Array,
    accumulator: Array,
    *,
    learning_rate: float,
    step: int,
    epsilon: float,
) -> Arrays:
    """w <- w - lr g / sqrt(sum of g^2 + eps). Slots: accumulator.

    Source: Duchi et al. (2011), https://www.jmlr.org/papers/v12/duchi11a.html.
    """
    accumulator = accumulator + grad * grad
    return param - learning_rate * grad / np.sqrt(accumulator + epsilon), accumulator


@_after_weight_decay
def adadelta_update(
    param: Array,
    grad: Array,
    grad_square: Array,
    move_square: Array,
    *,
    learning_rate: float,
    step: int,
    rho: float,
    epsilon: float,
) -> Arrays:
    """Steps scaled by the ratio of root mean squares of past steps and gradients. Slots: both mean squares.

    Source: Zeiler (2012), https://arxiv.org/abs/1212.5701, algorithm 1.
    """
    grad_square = rho * grad_square + (1 - rho) * (grad * grad)
    move = -np.sqrt(move_square + epsilon) * grad / np.sqrt(grad_square + epsilon)
    move_square = rho * move_square + (1 - rho) * (move * move)
    return param + learning_rate * move, grad_square, move_square


@_after_weight_decay
def adamax_update(
    param: Array,
    grad: Array,
    m: Array,
    u: Array,
    *,
    learning_rate: float,
    step: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Arrays:
    """w <- w - lr m / ((1 - b1^t) (u + eps)), u the decayed maximum of |g|. Slots: momentum, norm.

    Source: Kingma and Ba (2014), https://arxiv.org/abs/1412.6980, algorithm 2.
    """
    m = _towards(m, grad, 1 - beta_1)
    u = np.maximum(beta_2 * u, np.abs(grad))
    return param - learning_rate * m / ((1 - beta_1**step) * (u + epsilon)), m, u


def nadam_momentum(beta_1: float, step: int) -> float:
    """The momentum schedule of Nadam at a step."""
    return beta_1 * (1 - 0.5 * 0.96**step)


@_after_weight_decay
def nadam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    u_product: Array,
    *,
    learning_rate: float,
    step: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Arrays:
    """Adam with Nesterov momentum. Slots: momentum, velocity, u_product (a number: product of the momenta).

    Source: Dozat (2015), https://cs229.stanford.edu/proj2015/054_report.pdf.
    """
    now, following = nadam_momentum(beta_1, step), nadam_momentum(beta_1, step + 1)
    product = float(u_product) * now
    m = _towards(m, grad, 1 - beta_1)
    v = _towards(v, grad * grad, 1 - beta_2)
    m_hat = m * (following / (1 - product * following)) + grad * ((1 - now) / (1 - product))
    v_hat = v / (1 - beta_2**step)
    param = param - m_hat * learning_rate / (np.sqrt(v_hat) + epsilon)
    return param, m, v, np.asarray(product, dtype=u_product.dtype)


@_after_weight_decay
def lion_update(
    param: Array,
    grad: Array,
    m: Array,
    *,
    learning_rate: float,
    step: int,
    beta_1: float,
    beta_2: float,
) -> Arrays:
    """w <- w - lr sign(b1 m + (1 - b1) g). Slots: momentum.

    Source: Chen et al. (2023), https://arxiv.org/abs/2302.06675, algorithm 2.
    """
    direction = np.sign(m * beta_1 + grad * (1 - beta_1))
    return param - learning_rate * direction, m * beta_2 + grad * (1 - beta_2)


_BETAS = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

UPDATES: dict[str, Update] = {
    "sgd_update": Update(sgd_update, ("momentum",), {"momentum": 0.0, "nesterov": False}),
    "adam_update": Update(
        adam_update, ("momentum", "velocity", "velocity_hat"), {**_BETAS, "amsgrad": False}
    ),
    "rmsprop_update": Update(
        rmsprop_update,
        ("velocity", "momentum", "average_gradient"),
        {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    ),
    "adagrad_update": Update(adagrad_update, ("accumulator",), {"epsilon": 1e-7}),
    "adadelta_update": Update(
        adadelta_update, ("accumulated_grad", "accumulated_delta_var"), {"rho": 0.95, "epsilon": 1e-7}
    ),
    "adamax_update": Update(adamax_update, ("momentum", "norm"), _BETAS),
    "nadam_update": Update(nadam_update, ("momentum", "velocity", "u_product"), _BETAS),
    "lion_update": Update(lion_update, ("momentum",), {"beta_1": 0.9, "beta_2": 0.99}),
}


# --- gradient clipping


def clip_by_value(grad: Array, limit: float) -> Array:
    """Every entry moved into [-limit, limit]."""
    return np.clip(grad, -limit, limit)


def _shrink_factor(norm: float, limit: float) -> float:
    """What a gradient of this norm is multiplied by; NaN if the norm is not finite, so that it is seen."""
    return limit / max(norm, limit) if isfinite(norm) else nan


def clip_by_norm(grad: Array, limit: float) -> Array:
    """The gradient of one variable scaled so that its Euclidean norm is at most `limit`."""
    return grad * _shrink_factor(global_norm([grad]), limit)


def global_norm(grads: list[Array]) -> float:
    """Euclidean norm of all gradients taken as one vector, summed in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads)
    return sqrt(squares) if isfinite(squares) else inf


def clip_by_global_norm(grad: Array, norm: float, limit: float) -> Array:
    """One gradient scaled by the factor that brings the norm of all of them, `norm`, down to `limit`."""
    return grad * _shrink_factor(float(norm), limit)
