"""What of a training depends on which layers are trained: their flags, and the optimiser's arrays by weight.

A callback may freeze and release layers while it runs. A state therefore holds the flags, and says of each
array of the optimiser whose it is, so that a model which begins with other layers frozen takes it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.errors import FormatError
from kernelearn.training.steps.updating import Carried, carried_shapes, kind_of

if TYPE_CHECKING:
    from kernelearn.engine.variable import Variable
    from kernelearn.training.methods.base import TrainerBase

Flags = dict[str, list[bool]]


def flags_of(model: TrainerBase) -> Flags:
    """Which layers and weights may be trained, in their order."""
    return {
        "layers": [bool(layer.trainable) for layer in _layers(model)],
        "weights": [bool(weight.trainable) for weight in model.weights],
    }


def owners_of(model: TrainerBase) -> list[int] | None:
    """For every array of the optimiser the number of its weight; None where one does not say."""
    numbers = {id(weight): number for number, weight in enumerate(model.weights)}
    found = [numbers.get(_weight_id(slot), -1) for slot in model.programs.slots.values()]
    return None if -1 in found else found


def restore_flags(model: TrainerBase, flags: Flags) -> bool:
    """Freeze and release as it was; whether anything changed.

    Raises: FormatError for another number of layers or weights.
    """
    if flags == flags_of(model):
        return False
    things: list[tuple[Sequence[Any], list[bool]]] = [
        (_layers(model), flags["layers"]),
        (model.weights, flags["weights"]),
    ]
    if any(len(own) != len(saved) for own, saved in things):
        raise FormatError("The saved state belongs to another model or optimiser: its layers are others.")
    for layer, value in zip(*things[0]):
        layer.mark_trainable(value)
    for weight, value in zip(*things[1]):
        weight.trainable = value
    return True


class SavedSlots:
    """The arrays of an optimiser as a state holds them.

    Args:
        owners: number of the weight of each, in the order of `arrays`.
        arrays: name -> array.
    Raises: FormatError if they are not those of this model and optimiser.
    """

    def __init__(self, model: TrainerBase, owners: Sequence[int], arrays: dict[str, np.ndarray]) -> None:
        self.weights: Sequence[Variable] = model.weights
        if len(owners) != len(arrays) or not all(0 <= number < len(self.weights) for number in owners):
            raise FormatError("The saved state does not say whose the optimiser's arrays are.")
        self.found = {
            (number, kind_of(name)): (name, array) for number, (name, array) in zip(owners, arrays.items())
        }
        self.optimizer = model.optimizer
        self._check()

    def _check(self) -> None:
        optimizer = self.optimizer
        expected = [carried_shapes(optimizer, weight) if optimizer else {} for weight in self.weights]
        shapes: list[dict[str, tuple[int, ...]]] = [{} for _ in expected]
        for (number, kind), (_, array) in self.found.items():
            shapes[number][kind] = array.shape
        fits = all(saved in ({}, wanted) for saved, wanted in zip(shapes, expected))
        if not fits or (optimizer and optimizer.carried and not self.found):
            raise FormatError("The saved state belongs to another model or optimiser: it has other arrays.")

    def restore(self) -> bool:
        """Put them into the optimiser, and leave no others there; whether any were made or left out."""
        carried = {} if self.optimizer is None else self.optimizer.carried
        numbers = {id(weight): number for number, weight in enumerate(self.weights)}
        known = {(numbers.get(_weight_id(slot), -1), kind_of(name)): name for name, slot in carried.items()}
        superfluous = [name for key, name in known.items() if key not in self.found]
        for name in superfluous:
            del carried[name]
        for (number, kind), (name, array) in self.found.items():
            own = known.get((number, kind))
            if own is None:
                weight = self.weights[number]
                free = name if name not in carried else f"{name.rpartition('/')[0]}_{number}/{kind}"
                carried[free] = Carried(array.copy(), free, weight)
            else:
                carried[own].assign(array)
        return bool(superfluous) or any(key not in known for key in self.found)


def _layers(model: Any) -> list[Any]:
    return [model, *(layer for _, layer in model.descendants())]


def _weight_id(slot: Any) -> int:
    return id(slot.weight()) if isinstance(slot, Carried) else -1
