"""Optimisers in Keras's words. They declare; `engine.updates` computes."""

from typing import Any

from kernelearn.optimizers import schedules
from kernelearn.optimizers.base import OPTIMIZERS, Optimizer, Slot
from kernelearn.optimizers.matrices import Adafactor, Muon
from kernelearn.optimizers.methods import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    Nadam,
    RMSprop,
)
from kernelearn.optimizers.special import Ftrl, Lamb, LossScaleOptimizer, ScheduleFreeAdamW

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "Slot",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The optimiser that a name (in any case), a config, a class or an object stands for; None stays None.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, Optimizer):
        return identifier
    return OPTIMIZERS.get(identifier)


def serialize(optimizer: Optimizer | None) -> dict[str, Any] | None:
    """The JSON config of an optimiser; its slots and iterations are state and not part of it."""
    return OPTIMIZERS.serialize(optimizer)


def deserialize(config: dict[str, Any]) -> Optimizer:
    """The optimiser of a config made by `serialize`."""
    optimizer: Optimizer = OPTIMIZERS.get(config)
    return optimizer
