"""What an optimiser of Keras does to a weight, in the words of a run: the formulas are known here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from kernelearn import constraints, optimizers
from kernelearn.conversion.keras.slots import Entry, entries
from kernelearn.errors import KernelearnError
from kernelearn.training.steps.updating import ACCUMULATED
from kernelearn.watching.keras.names import Names, array_of
from kernelearn.watching.seen import Array, SeenRule


class Rules:
    """The optimiser of a model.

    Attributes:
        optimizer: of Keras, without the wrapper that scales losses.
        own: the same of this library; None for one that it has not.
        scale: reads the number that losses are multiplied by.
    """

    def __init__(self, model: Any, names: Names) -> None:
        given = model.optimizer
        self.names, self.given = names, given
        self.optimizer = getattr(given, "inner_optimizer", given)
        self.own = _own(self.optimizer)
        self._slots = self._slots_by_weight()

    @property
    def kind(self) -> str:
        """Of the update; the class with its module for one that cannot be taken apart."""
        return f"keras.{type(self.optimizer).__name__}" if self.own is None else str(self.own.kind)

    @property
    def clipping(self) -> list[Any] | None:
        """Function and limit, as in the manifest of a run."""
        if self.own is None or self.own.clipping is None:
            return None
        return list(self.own.clipping)

    def scale(self) -> float:
        """What the loss of the next step is multiplied by before its gradients are computed."""
        if self.given is not self.optimizer:
            built = self.given.built
            return float(array_of(self.given.dynamic_scale)) if built else float(self.given.initial_scale)
        factor = self.optimizer.loss_scale_factor
        return 1.0 if factor is None else float(factor)

    def done(self) -> int:
        """How many steps it has done; with accumulated gradients several make an update."""
        return int(array_of(self.optimizer._iterations))

    def rate(self) -> float:
        """Of the next update."""
        return float(array_of(self.optimizer.learning_rate))

    @property
    def set_rate(self) -> Any:
        """The variable of a rate that stays as it is until somebody sets it; None where it is computed."""
        found = self.optimizer._learning_rate
        return None if callable(found) else found

    def scheduled_rate(self, update: int) -> float:
        """Of an update, by its number from 1, by a schedule that is known here; NaN without one."""
        if self.own is None or self.own.schedule is None:
            return math.nan
        return self.own.rate_at(update - 1)

    def about(self) -> dict[str, Any]:
        """As in the manifest."""
        config = None if self.own is None else optimizers.serialize(self.own)
        attrs = {} if self.own is None else self.own.attrs()
        # Keras computes what follows from the number of the step in the precision of the weights.
        rest = {"clipping": self.clipping, "config": config, "coefficients": "float32"}
        return {"kind": self.kind, "attrs": attrs, **rest}

    def of(self, path: str) -> SeenRule:
        """Of one weight."""
        variable = self.names.variables[path]
        constraint, overwriting = _constraint(variable), self._overwriting()
        if self.own is None:
            return SeenRule(self.kind, {}, {}, {}, constraint, overwriting)
        attrs = {**self.own.attrs(variable), "multiplier": 1.0}
        if not self.optimizer._use_weight_decay(variable):
            attrs["weight_decay"] = 0.0
        found = self._slots.get(path)
        if found is None:  # the optimiser does not say which of its arrays is which
            return SeenRule(f"keras.{type(self.optimizer).__name__}", {}, {}, {}, constraint, overwriting)
        shapes = {name: slot.shape for name, slot in self.own.slots_for(variable).items()}
        if self.own.gradient_accumulation_steps:
            shapes[ACCUMULATED] = self.names.shapes[path]
        return SeenRule(
            str(self.own.kind_for(variable)),
            attrs,
            {name: found.get(name, partial(np.zeros, shapes[name], np.float32)) for name in shapes},
            shapes,
            constraint,
            overwriting,
        )

    def _overwriting(self) -> Mapping[str, Any] | None:
        frequency = self.optimizer.ema_overwrite_frequency if self.optimizer.use_ema else None
        return None if frequency is None else {"frequency": int(frequency), "every": 1}

    def _slots_by_weight(self) -> dict[str, dict[str, Callable[[], Array]]]:
        """Path -> slot -> how to read it."""
        if self.own is None:
            return {}
        weights = list(self.optimizer._trainable_variables)
        stored = list(self.optimizer.variables)[1 if self.own.schedule is not None else 2 :]
        wanted = list(entries(self.own, weights))
        if [tuple(v.shape) for v in stored] != [tuple(entry.shape) for entry in wanted]:
            return {}
        found: dict[str, dict[str, Callable[[], Array]]] = {p: {} for p in self.names.variables}
        for entry, variable in zip(wanted, stored):
            for weight in weights if entry.weight is None else [entry.weight]:
                path = self.names.paths.get(id(weight))
                if path is not None and entry.slot:
                    found.setdefault(path, {})[entry.slot] = self._reader(entry, variable, weight)
        return found

    def _reader(self, entry: Entry, variable: Any, weight: Any) -> Callable[[], Array]:
        assert self.own is not None
        slot = self.own.slots_for(weight).get(entry.slot)
        shape = tuple(entry.shape) if slot is None else slot.shape
        if entry.slot == "lead":  # Keras keeps the point itself, this library how far ahead it is
            return lambda: array_of(variable) - array_of(weight)
        return lambda: np.broadcast_to(array_of(variable), shape)


def _own(optimizer: Any) -> optimizers.Optimizer | None:
    """The optimiser of this library with the same formula; None where there is none."""
    import keras

    config = keras.optimizers.serialize(optimizer)
    if config.get("registered_name") not in (None, config.get("class_name")):
        return None
    try:
        return optimizers.deserialize(config)
    except KernelearnError:
        pass
    try:  # a schedule of the user's own: steps have their rates anyway
        rate = float(array_of(optimizer.learning_rate))
        return optimizers.deserialize({**config, "config": {**config["config"], "learning_rate": rate}})
    except KernelearnError:
        return None


def _constraint(variable: Any) -> Mapping[str, Any] | None:
    """Attributes of the projection behind an update; {"kind": "custom"} for one of the user's own."""
    import keras

    if getattr(variable, "constraint", None) is None:
        return None
    try:
        own = constraints.get(keras.constraints.serialize(variable.constraint))
        return {"kind": own.kind, **own.attrs()} if own.kind != "custom" else {"kind": "custom"}
    except (KernelearnError, AttributeError):
        return {"kind": "custom"}
