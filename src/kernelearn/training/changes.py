"""What a built program read from layers, optimiser and losses, so that a later change of it is noticed.

`trainable`, a dropout rate, a momentum: all of it is written into the program of a step. Whoever changes it
after `compile` gets a new program before the next step, as in Keras, where it takes effect at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kernelearn.layers.base import Layer
from kernelearn.training.objectives import Objective
from kernelearn.training.trainable import Trainable

# Compared by value; everything else by being the same object.
_PLAIN = (bool, int, float, str, tuple, type(None))
_NOT_READ = {"built", "name"}

Reading = list[Any]


def reading_of(model: Trainable, objectives: Sequence[Objective] | None, optimizer: Any) -> Reading:
    """Everything that a program depends on besides the structure of the model."""
    found: Reading = []
    for layer in model.flat_layers():
        found += _of_layer(layer)
    for objective in objectives or ():
        found += [] if objective.loss is None else _public(objective.loss)
    if optimizer is not None:
        found += [*optimizer.attrs().values(), optimizer.clipping]
    return found


def is_same(before: Reading, now: Reading) -> bool:
    """Whether nothing has changed."""
    return len(before) == len(now) and all(
        a is b or (isinstance(a, _PLAIN) and type(a) is type(b) and a == b) for a, b in zip(before, now)
    )


def _of_layer(layer: Layer) -> Iterator[Any]:
    yield layer
    yield layer.trainable
    for weight in layer.weights:
        yield from (weight, weight.trainable, weight.regularizer, weight.constraint)
    for value in _public(layer):
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, Layer):
                yield from _of_layer(part)
            else:
                yield part


def _public(thing: Any) -> list[Any]:
    return [value for name, value in vars(thing).items() if name[0] != "_" and name not in _NOT_READ]
