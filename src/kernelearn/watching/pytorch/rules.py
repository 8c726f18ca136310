"""What an optimiser of PyTorch does to a weight, as a run describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelearn.recording.capture.taps import plain
from kernelearn.recording.torch_updates import TORCH_UPDATES, kind_of_class

_NOT_ATTRS = ("params", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable", "param_names")


def plain_optimizer(optimizer: Any) -> Any:
    """The optimiser of torch.optim inside of a wrapper (Accelerate's, Lightning's)."""
    inner = getattr(optimizer, "optimizer", None)
    return inner if hasattr(inner, "param_groups") else optimizer


def kind_of(optimizer: Any) -> str:
    """Kind of its update; the class with its module for one that cannot be taken apart."""
    name, module = type(optimizer).__name__, type(optimizer).__module__
    if module.startswith("torch.optim"):
        return kind_of_class(name) or f"torch.{name}"
    return f"{module}.{name}"


def attrs_of(optimizer: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the update of a group, as JSON values, the learning rate left out."""
    found = plain({name: value for name, value in group.items() if name not in _NOT_ATTRS})
    if kind_of(optimizer) == "torch_adam":
        is_decoupled = type(optimizer).__name__ == "AdamW"
        found["decoupled_weight_decay"] = bool(found.get("decoupled_weight_decay", is_decoupled))
    return found


def slots_of(kind: str, attrs: Mapping[str, Any]) -> dict[str, str]:
    """Slot in a run -> name in PyTorch's state."""
    return TORCH_UPDATES[kind].slots_with(attrs) if kind in TORCH_UPDATES else {}


def base_rate(optimizer: Any) -> float:
    """The learning rate that others are told as multiples of: the first that is not zero."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return next((rate for rate in rates if rate), 0.0)


def updates_before(optimizer: Any, parameter: Any) -> int | None:
    """How many updates of a parameter the optimiser has done; None where it does not count them."""
    if type(optimizer).__name__ == "SGD":
        return None
    return int(optimizer.state.get(parameter, {}).get("step", 0))


def is_first(optimizer: Any, parameter: Any) -> bool:
    """Whether gradient descent with momentum has no buffer for a parameter yet."""
    momentum = any(group.get("momentum") for group in optimizer.param_groups)
    return bool(momentum) and optimizer.state.get(parameter, {}).get("momentum_buffer") is None
