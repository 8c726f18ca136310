"""Activations, by name and as layers, with every parameter written out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.writing.plan import Plan, Ref, Site
from kernelearn.conversion.torch.writing.table import WRITERS, writes
from kernelearn.layers import Layer

# Name here -> class in torch.nn and its arguments.
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("ReLU6", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.2}),
    "elu": ("ELU", {"alpha": 1.0}),
    "selu": ("SELU", {}),
    "celu": ("CELU", {"alpha": 1.0}),
    "gelu": ("GELU", {"approximate": "none"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "sigmoid": ("Sigmoid", {}),
    "log_sigmoid": ("LogSigmoid", {}),
    # NOTE: above its threshold PyTorch gives x; from 40 on that is the same number, in float64 too.
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 40.0}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "tanh_shrink": ("Tanhshrink", {}),
    "hard_sigmoid": ("Hardsigmoid", {}),
    "hard_silu": ("Hardswish", {}),
    "hard_tanh": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    "soft_shrink": ("Softshrink", {"lambd": 0.5}),
    "hard_shrink": ("Hardshrink", {"lambd": 0.5}),
}
# What an activation's parameter is called there.
_NAMES = {"threshold": {"soft_shrink": "lambd", "hard_shrink": "lambd", "threshold": "threshold"}}


def like(x: Placed, tensor: Ref) -> Placed:
    """The same places for another value."""
    return Placed(tensor, x.shape, x.order, x.places)


def activated(plan: Plan, at: Site, x: Placed, activation: Any, suffix: str = "_activation") -> Placed:
    """A value behind an activation that a layer names; None and "linear" add nothing."""
    name = getattr(activation, "activation", None) or getattr(activation, "operation_name", activation)
    if name in (None, "linear"):
        return x
    if isinstance(activation, Layer) and type(activation).__name__ in WRITERS and not activation.weights:
        own = replace(at, layer=activation, name=f"{at.name}{suffix}")
        made: Placed = WRITERS[type(activation).__name__](plan, own, [x])
        return made
    if not isinstance(name, str):
        at.refuse(f"has the activation {activation!r}, which is code of its own", "Use one with a name.")
    return named_activation(plan, at, x, name, {}, suffix)


def named_activation(
    plan: Plan, at: Site, x: Placed, name: str, given: dict[str, Any], suffix: str = ""
) -> Placed:
    """An activation by its name here, with parameters by their names here."""
    if name in ("softmax", "log_softmax"):
        kind = "Softmax" if name == "softmax" else "LogSoftmax"
        dim = x.axis(given.get("axis", -1))
        return like(x, plan.module(at, kind, x.tensor, suffix=suffix, dim=dim))
    if name == "exponential":
        return like(x, plan.call(at, "torch.exp", x.tensor))
    if name == "squareplus":
        root = plan.call(
            at, "torch.sqrt", plan.call(at, "torch.add", _square(plan, at, x), given.get("b", 4))
        )
        return like(x, plan.call(at, "torch.mul", plan.call(at, "torch.add", x.tensor, root), 0.5))
    if name == "threshold":
        y = plan.module(at, "Threshold", x.tensor, given["threshold"], given["default_value"], suffix=suffix)
        return like(x, y)
    if name not in MODULES:
        at.refuse(f"has the activation {name!r}, which PyTorch does not have", "Use another activation.")
    kind, arguments = MODULES[name]
    arguments = dict(arguments)
    for key, value in given.items():
        if key == "approximate":
            arguments["approximate"] = "tanh" if value else "none"
        else:
            arguments[_NAMES.get(key, {}).get(name, key)] = value
    return like(x, plan.module(at, kind, x.tensor, suffix=suffix, **arguments))


def _square(plan: Plan, at: Site, x: Placed) -> Ref:
    return plan.call(at, "torch.square", x.tensor)


@writes("Activation")
def activation(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return activated(plan, at, values[0], at.layer.activation, "")


@writes("ReLU")
def relu(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer, x = at.layer, values[0]
    if layer.threshold:
        at.refuse(f"has threshold={layer.threshold}", "PyTorch's ReLU turns at 0: use threshold=0.")
    if layer.max_value is None:
        if layer.negative_slope:
            return like(x, plan.module(at, "LeakyReLU", x.tensor, negative_slope=layer.negative_slope))
        return like(x, plan.module(at, "ReLU", x.tensor))
    if layer.negative_slope:
        y = plan.module(at, "LeakyReLU", x.tensor, negative_slope=layer.negative_slope)
        return like(x, plan.call(at, "torch.clamp", y, max=layer.max_value))
    if layer.max_value == 6:
        return like(x, plan.module(at, "ReLU6", x.tensor))
    return like(x, plan.module(at, "Hardtanh", x.tensor, min_val=0.0, max_val=layer.max_value))


@writes("LeakyReLU")
def leaky_relu(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    given = {"negative_slope": at.layer.negative_slope}
    return named_activation(plan, at, values[0], "leaky_relu", given)


@writes("ELU")
def elu(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return named_activation(plan, at, values[0], "elu", {"alpha": at.layer.alpha})


@writes("Softmax")
def softmax(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    axes = at.layer.axes(values[0].rank)
    if len(axes) != 1:
        at.refuse(f"goes over the axes {axes} together", "Reshape them to one first.")
    return named_activation(plan, at, values[0], "softmax", {"axis": axes[0]})


@writes("PReLU")
def prelu(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    """PyTorch has one slope for each channel on axis 1, or one for all."""
    layer, x = at.layer, values[0]
    shape = layer.alpha.shape
    own = [axis for axis, size in enumerate(shape, start=1) if size != 1]
    if len(own) > 1:
        at.refuse(f"has slopes of shape {shape}", "Share them along space: PReLU(shared_axes=[1, 2]).")
    if own and x.order[1] != own[0]:
        x = plan.ordered(at, x, (0, own[0], *(axis for axis in x.order[1:] if axis != own[0])))
    places, count = x.places if own else None, math.prod(shape)

    def there(alpha: Any) -> Any:
        flat = alpha.reshape(-1)
        return flat if places is None else flat[places]

    def back(weight: Any) -> Any:
        flat = weight.copy()
        if places is not None:
            flat[places] = weight
        return flat.reshape(shape)

    states = {"weight": at.weight("alpha", there, back)}
    return like(x, plan.module(at, "PReLU", x.tensor, num_parameters=count, states=states))
