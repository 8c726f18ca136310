"""What a traced step read from layers and optimisers, so that a later change of one is noticed."""

from __future__ import annotations

from typing import Any

from kernelearn.layers.core.base import Layer
from kernelearn.training.own.builder import StepBuilder
from kernelearn.training.steps.changes import Reading, rule_of


class Sources:
    """A copy of everything that a step depends on besides its arguments: as `changes.Reading` of a model.

    Args:
        builder: that the step was traced with.
    """

    def __init__(self, builder: StepBuilder) -> None:
        called = [part for layer in builder.called.values() for part in layer.flat_layers()]
        layers: dict[int, Layer] = {id(layer): layer for layer in called}
        for variable in builder.variables.values():
            owner = getattr(variable, "owner", None)
            if isinstance(owner, Layer):
                layers[id(owner)] = owner
        self._reading = Reading.of_layers(list(layers.values()))
        self._optimizers: list[tuple[Any, Any]] = [
            (use.optimizer, rule_of(use.optimizer)) for use in builder.groups.uses
        ]

    def are_current(self) -> bool:
        """Whether nothing has changed since."""
        return self._reading.is_current() and all(rule == rule_of(o) for o, rule in self._optimizers)
