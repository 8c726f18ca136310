"""What a built program read from layers, optimiser and losses, so that a later change of it is noticed.

`trainable`, a dropout rate, a momentum: all of it is written into the program of a step. Whoever changes it
after `compile` gets a new program before the next step, as in Keras, where it takes effect at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelearn.layers.core.own import is_own
from kernelearn.training.steps.objectives import Objective
from kernelearn.training.trainable import Trainable

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.optimizers import Optimizer


class Reading:
    """A copy of everything that a program depends on besides the structure of the model.

    NOTE: it is compared before every `train_on_batch`, so dicts are compared whole: the same object costs
        next to nothing.
    """

    def __init__(
        self, model: Trainable, objectives: Sequence[Objective], optimizer: Optimizer | None
    ) -> None:
        losses = [objective.loss for objective in objectives if objective.loss is not None]
        self._read(list(model.flat_layers()), losses, optimizer)
        self._models = [(own, own.settings()) for own in _own_models(model)]

    @classmethod
    def of_layers(cls, layers: Sequence[Layer]) -> Reading:
        """What a program of one's own read from layers."""
        made = cls.__new__(cls)
        made._read(layers, (), None)
        made._models = []
        return made

    def _read(self, given: Sequence[Layer], losses: Sequence[Any], optimizer: Optimizer | None) -> None:
        layers = list(given)
        self._things = [(thing, dict(vars(thing))) for thing in (*layers, *losses)]
        weights = {id(weight): weight for layer in layers for weight in layer.weights}
        self._weights = [(w, w.trainable, w.regularizer, w.constraint) for w in weights.values()]
        self._optimizer = optimizer
        self._rule = rule_of(optimizer)

    def is_current(self) -> bool:
        """Whether nothing has changed since."""
        try:
            return (
                all(before == vars(thing) for thing, before in self._things)
                and all(before == own.settings() for own, before in self._models)
                and all(
                    weight.trainable is trainable
                    and weight.regularizer is penalty
                    and weight.constraint is limit
                    for weight, trainable, penalty, limit in self._weights
                )
                and self._rule == rule_of(self._optimizer)
            )
        except ValueError:  # another array where an array was
            return False

    def change(self) -> str:
        """What has changed, in words."""
        pairs = [(thing, before, vars(thing)) for thing, before in self._things]
        pairs += [(own, before, own.settings()) for own, before in self._models]
        for thing, before, now in pairs:
            for name in (*before, *now):
                if before.get(name) is not now.get(name):
                    owner = getattr(thing, "name", type(thing).__name__)
                    return f"attribute {name!r} of {owner!r}, which is {now.get(name)!r} now"
        return "a setting of the model, its weights or its optimiser"


def _own_models(model: Any) -> list[Any]:
    """The models with a `call` of their own: what they keep may stand in it."""
    below = [layer for _, layer in model.descendants()] if hasattr(model, "descendants") else []
    return [part for part in (model, *below) if hasattr(part, "settings") and is_own(type(part))]


def rule_of(optimizer: Optimizer | None) -> Any:
    """What a program holds of an optimiser: attributes and clipping."""
    return None if optimizer is None else (optimizer.attrs(), optimizer.clipping)
