"""The optimisers of PyTorch whose updates a run can hold: what they are called there, and what they carry.

`watching` records by this table, and `explain.update` takes apart by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TorchUpdate:
    """One kind of update.

    Attributes:
        classes: of torch.optim that do it.
        attrs: its attributes, by PyTorch's names, with their defaults.
        slots: name of a slot in a run -> its name in PyTorch's state.
        optional: slot that is not always there -> the attribute that asks for it.
    """

    classes: tuple[str, ...]
    attrs: Mapping[str, Any]
    slots: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)

    def whole(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes, with the defaults of those that are left out."""
        return {**self.attrs, **attrs}

    def slots_with(self, attrs: Mapping[str, Any]) -> dict[str, str]:
        """Slot -> name in PyTorch's state, of those that there are with these attributes.

        >>> TORCH_UPDATES["torch_sgd"].slots_with({"momentum": 0.9})
        {'momentum': 'momentum_buffer'}
        """
        known = self.whole(attrs)
        return {
            s: name for s, name in self.slots.items() if s not in self.optional or known[self.optional[s]]
        }


_COMMON: dict[str, Any] = {"weight_decay": 0.0, "maximize": False}

# Kind of an update in a run -> what it is.
TORCH_UPDATES: dict[str, TorchUpdate] = {
    "torch_sgd": TorchUpdate(
        ("SGD",),
        {**_COMMON, "momentum": 0.0, "dampening": 0.0, "nesterov": False},
        {"momentum": "momentum_buffer"},
        {"momentum": "momentum"},
    ),
    "torch_adam": TorchUpdate(
        ("Adam", "AdamW"),
        {
            **_COMMON,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "amsgrad": False,
            "decoupled_weight_decay": False,
        },
        {"momentum": "exp_avg", "velocity": "exp_avg_sq", "velocity_hat": "max_exp_avg_sq"},
        {"velocity_hat": "amsgrad"},
    ),
    "torch_rmsprop": TorchUpdate(
        ("RMSprop",),
        {**_COMMON, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False},
        {"velocity": "square_avg", "momentum": "momentum_buffer", "average_gradient": "grad_avg"},
        {"momentum": "momentum", "average_gradient": "centered"},
    ),
    "torch_adagrad": TorchUpdate(
        ("Adagrad",), {**_COMMON, "lr_decay": 0.0, "eps": 1e-10}, {"accumulator": "sum"}
    ),
    "torch_adadelta": TorchUpdate(
        ("Adadelta",),
        {**_COMMON, "rho": 0.9, "eps": 1e-6},
        {"accumulated_grad": "square_avg", "accumulated_delta_var": "acc_delta"},
    ),
}


def kind_of_class(name: str) -> str | None:
    """The kind of update that a class of torch.optim does; None for one that cannot be taken apart."""
    return next((kind for kind, update in TORCH_UPDATES.items() if name in update.classes), None)
