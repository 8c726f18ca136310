"""One optimizer object trains one model: its count of steps and its schedule are the model's own."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer

# Optimizer -> a token of the model that it trains. The token outlives the model: the steps were done.
_owners: WeakKeyDictionary[Optimizer, object] = WeakKeyDictionary()


def claimed(optimizer: Optimizer, token: object, name: str) -> Optimizer:
    """The optimizer for a model, or a fresh copy if another model was compiled with it before.

    Args:
        token: that stands for the model.
        name: of the model, for the warning.
    """
    owner = _owners.setdefault(optimizer, token)
    if owner is token:
        return optimizer
    warnings.warn(
        f"This {type(optimizer).__name__} optimizer already belongs to another model, whose steps it counts. "
        f"Model {name!r} gets a copy that starts afresh: find it as model.optimizer, or make an optimizer "
        "for each model.",
        UserWarning,
        stacklevel=4,
    )
    own = copy.copy(optimizer)
    own.iterations = 0
    _owners[own] = token
    return own
