"""JAX as a contestant: a training step written by hand and compiled whole by XLA."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.nets.blueprint import Blueprint, Step, load_weights
from kernelearn.bench.runners import LEARNING_RATE, MOMENTUM, Prepared, digest
from kernelearn.errors import ArgumentError

_STATES = ("moving_mean", "moving_variance")


def load(threads: int) -> Jax:
    """The runner; XLA takes as many threads as the process has CPUs, so the worker is kept to some."""
    return Jax(require("jax", "comparing with JAX"))


class Jax:
    """JAX."""

    def __init__(self, jax: Any) -> None:
        self._jax = jax

    def versions(self) -> dict[str, str]:
        """Of the package."""
        return {"jax": self._jax.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """Build what the task says."""
        if task.get("dtype", "float32") != "float32":
            raise ArgumentError("The JAX step is written for float32.")
        return _Train(self._jax, task) if task["what"] == "train" else _Predict(self._jax, task)


class _Train:
    """Forward, gradients and update in one compiled function that reuses the memory of its arguments."""

    note = ""

    def __init__(self, jax: Any, task: dict[str, Any]) -> None:
        if task["optimizer"] != "sgd":
            raise ArgumentError(f"The JAX step is written for sgd, not for {task['optimizer']}.")
        blueprint = Blueprint.from_dict(task["blueprint"]).logits()
        weights = {name: jax.numpy.asarray(value) for name, value in load_weights(task["weights"]).items()}
        self._states = {n: v for n, v in weights.items() if n.endswith(_STATES)}
        self._parameters = {n: v for n, v in weights.items() if n not in self._states}
        self._moves = {name: jax.numpy.zeros_like(value) for name, value in self._parameters.items()}
        x, y = blueprint.images(task["batch"])
        self._x, self._y = jax.device_put(x), jax.device_put(y.astype(np.int32))
        self._step = jax.jit(
            _training_step(jax, blueprint, task.get("rate", LEARNING_RATE)), donate_argnums=(0, 1, 2)
        )

    def ready(self, count: int) -> None:
        """Nothing to prepare."""

    def run(self, count: int) -> float | None:
        """So many steps; the last loss, for which all have to be done."""
        loss = None
        for _ in range(count):
            loss, self._parameters, self._states, self._moves = self._step(
                self._parameters, self._states, self._moves, self._x, self._y
            )
        return None if loss is None else float(loss.block_until_ready())


def _training_step(jax: Any, blueprint: Blueprint, rate: float) -> Any:
    def loss_of(parameters: Any, states: Any, x: Any, y: Any) -> Any:
        logits, states = forward(jax, blueprint, {**parameters, **states}, x, training=True)
        chosen = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), y[..., None], axis=-1)
        return -chosen.mean(), states

    def step(parameters: Any, states: Any, moves: Any, x: Any, y: Any) -> Any:
        (loss, states), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters, states, x, y)
        moves = {n: MOMENTUM * moves[n] - rate * gradients[n] for n in parameters}
        return loss, {n: parameters[n] + moves[n] for n in parameters}, states, moves

    return step


class _Predict:
    """A compiled forward pass."""

    note = ""

    def __init__(self, jax: Any, task: dict[str, Any]) -> None:
        blueprint = Blueprint.from_dict(task["blueprint"])
        weights = {name: jax.numpy.asarray(value) for name, value in load_weights(task["weights"]).items()}
        self._x = jax.device_put(blueprint.images(task["batch"])[0])
        # The weights are constants of the compiled function, so that XLA may fold them.
        self._step = jax.jit(lambda x: forward(jax, blueprint, weights, x, training=False)[0])

    def ready(self, count: int) -> None:
        """Nothing to prepare."""

    def run(self, count: int) -> float | None:
        """So many batches, each waited for, as its answer is wanted."""
        result = None
        for _ in range(count):
            result = self._step(self._x).block_until_ready()
        return None if result is None else digest(np.asarray(result))


def forward(jax: Any, blueprint: Blueprint, weights: dict[str, Any], x: Any, training: bool) -> Any:
    """Output of the network, and the new moving averages."""
    values, states = [x], {n: v for n, v in weights.items() if n.endswith(_STATES)}
    for step in blueprint.steps:
        given = [values[i] for i in step.inputs]
        if step.kind == "batch_norm":
            result, new = _batch_norm(jax, step, weights, given[0], training)
            states.update(new)
        else:
            result = _APPLY[step.kind](jax, step, weights, *given)
        values.append(result)
    return values[-1], states


def _batch_norm(jax: Any, step: Step, weights: dict[str, Any], x: Any, training: bool) -> Any:
    mean, variance = (weights[f"{step.name}/{state}"] for state in _STATES)
    new = {}
    if training:
        kept = step.attrs["momentum"]
        axes = tuple(range(x.ndim - 1))
        now = x.mean(axes), x.var(axes)
        for state, old, value in zip(_STATES, (mean, variance), now):
            new[f"{step.name}/{state}"] = kept * old + (1 - kept) * jax.lax.stop_gradient(value)
        mean, variance = now
    scale = weights[f"{step.name}/gamma"] * jax.lax.rsqrt(variance + step.attrs["epsilon"])
    return (x - mean) * scale + weights[f"{step.name}/beta"], new


def _layer_norm(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    normal = (x - mean) * jax.lax.rsqrt(variance + step.attrs["epsilon"])
    return normal * weights[f"{step.name}/gamma"] + weights[f"{step.name}/beta"]


def _axes(x: Any) -> tuple[str, str, str]:
    """Names of the axes of images, kernels and results: NHWC, HWIO, NHWC, with as many sides as x has."""
    sides = "DHW"[5 - x.ndim :]
    return f"N{sides}C", f"{sides}IO", f"N{sides}C"


def _biased(step: Step, weights: dict[str, Any], result: Any) -> Any:
    return result + weights[f"{step.name}/bias"] if step.attrs["use_bias"] else result


def _convolution(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
    attrs, kernel, groups = step.attrs, weights[f"{step.name}/kernel"], step.attrs.get("groups", 1)
    if step.kind == "depthwise":
        kernel, groups = kernel.swapaxes(-1, -2), x.shape[-1]
    result = jax.lax.conv_general_dilated(
        x,
        kernel,
        tuple(attrs["strides"]),
        attrs["padding"].upper(),
        rhs_dilation=tuple(attrs.get("dilation_rate", (1,) * len(attrs["strides"]))),
        dimension_numbers=_axes(x),
        feature_group_count=groups,
    )
    return _biased(step, weights, result)


def _transposed(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
    kernel, strides = weights[f"{step.name}/kernel"], tuple(step.attrs["strides"])
    result = jax.lax.conv_transpose(
        x, kernel, strides, "VALID", dimension_numbers=_axes(x), transpose_kernel=True
    )
    return _biased(step, weights, result)


def _dense(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
    return _biased(step, weights, x @ weights[f"{step.name}/kernel"])


def _activation(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
    function = step.attrs["function"]
    return jax.nn.gelu(x, approximate=False) if function == "gelu" else getattr(jax.nn, function)(x)


def _pool(start: float, name: str) -> Any:
    def apply(jax: Any, step: Step, weights: dict[str, Any], x: Any) -> Any:
        window, strides = ((1, *step.attrs[which], 1) for which in ("pool_size", "strides"))
        result = jax.lax.reduce_window(x, start, getattr(jax.lax, name), window, strides, "VALID")
        return result / math.prod(window) if name == "add" else result

    return apply


_APPLY: dict[str, Any] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "conv_transpose": _transposed,
    "dense": _dense,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "max_pool": _pool(-np.inf, "max"),
    "average_pool": _pool(0.0, "add"),
    "average": lambda jax, step, w, x: x.mean(tuple(range(1, x.ndim - 1))),
    "flatten": lambda jax, step, w, x: x.reshape(len(x), -1),
    "add": lambda jax, step, w, a, b: a + b,
    "concatenate": lambda jax, step, w, *given: jax.numpy.concatenate(given, -1),
}
