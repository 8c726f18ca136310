"""What an optimiser of PyTorch does to a weight, as a run describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Class of torch.optim -> kind of update in a run.
_KINDS = {
    "SGD": "torch_sgd",
    "Adam": "torch_adam",
    "AdamW": "torch_adam",
    "RMSprop": "torch_rmsprop",
    "Adagrad": "torch_adagrad",
}
_NOT_ATTRS = ("params", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable", "param_names")
# Slot in a run -> name in PyTorch's state, of each kind; those that are not there are left out.
_SLOTS: Mapping[str, Mapping[str, str]] = {
    "torch_sgd": {"momentum": "momentum_buffer"},
    "torch_adam": {"momentum": "exp_avg", "velocity": "exp_avg_sq", "velocity_hat": "max_exp_avg_sq"},
    "torch_rmsprop": {
        "velocity": "square_avg",
        "momentum": "momentum_buffer",
        "average_gradient": "grad_avg",
    },
    "torch_adagrad": {"accumulator": "sum"},
}
_ASKED = {
    ("torch_sgd", "momentum"): "momentum",
    ("torch_adam", "velocity_hat"): "amsgrad",
    ("torch_rmsprop", "momentum"): "momentum",
    ("torch_rmsprop", "average_gradient"): "centered",
}


def plain_optimizer(optimizer: Any) -> Any:
    """The optimiser of torch.optim inside of a wrapper (Accelerate's, Lightning's)."""
    inner = getattr(optimizer, "optimizer", None)
    return inner if hasattr(inner, "param_groups") else optimizer


def kind_of(optimizer: Any) -> str:
    """Kind of its update; the class with its module for one that cannot be taken apart."""
    name, module = type(optimizer).__name__, type(optimizer).__module__
    if module.startswith("torch.optim"):
        return _KINDS.get(name, f"torch.{name}")
    return f"{module}.{name}"


def attrs_of(optimizer: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the update of a group, as JSON values, the learning rate left out."""
    found = {name: _plain(value) for name, value in group.items() if name not in _NOT_ATTRS}
    if kind_of(optimizer) == "torch_adam":
        is_decoupled = type(optimizer).__name__ == "AdamW"
        found["decoupled_weight_decay"] = bool(found.get("decoupled_weight_decay", is_decoupled))
    return found


def slots_of(kind: str, attrs: Mapping[str, Any]) -> dict[str, str]:
    """Slot in a run -> name in PyTorch's state."""
    names = _SLOTS.get(kind, {})
    return {slot: name for slot, name in names.items() if attrs.get(_ASKED.get((kind, slot), ""), True)}


def base_rate(optimizer: Any) -> float:
    """The learning rate that others are told as multiples of: the first that is not zero."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return next((rate for rate in rates if rate), 0.0)


def updates_before(optimizer: Any, parameter: Any) -> int:
    """How many updates of a parameter the optimiser has done."""
    state = optimizer.state.get(parameter, {})
    if "step" in state:
        return int(state["step"])
    # Gradient descent does not count; only its first update is different.
    return int(state.get("momentum_buffer") is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
