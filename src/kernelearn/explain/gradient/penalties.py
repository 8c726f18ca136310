"""The regulariser's part of a recorded gradient: what training added to what the data gave."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import KernelearnError
from kernelearn.recording.run import Run

Rule = Callable[[NDArray[Any]], NDArray[Any]]


class Penalties:
    """The penalty on one weight of a run: from the model's regulariser, or else from its ledgers."""

    def __init__(self, run: Run, layer: str, weight: str) -> None:
        self.run, self.layer, self.weight = run, layer, weight

    @property
    def rule(self) -> Rule | None:
        """Weight -> gradient of its regulariser; None without one, or if the model cannot be rebuilt."""
        return (rules_of(self.run) or {}).get(f"{self.layer}/{self.weight}")

    def at(self, step: int) -> NDArray[Any] | None:
        """The regulariser's part of the gradient of a step, or None.

        Where the model cannot be rebuilt (it has parts of the user's own), the ledger of the step tells.
        """
        if self.rule is not None:
            return np.asarray(self.rule(self.run.kernels(self.layer, step - 1, self.weight)))
        return self._told_by_ledger(step) if self.may_be and step in self._ledger_steps else None

    def _told_by_ledger(self, step: int) -> NDArray[Any] | None:
        try:
            factors = self.run.ledger(self.layer, step, self.weight)
        except KernelearnError:
            return None
        return np.asarray(factors.gradient - factors.from_data)

    @cached_property
    def may_be(self) -> bool:
        """Whether there is a penalty; of a model that cannot be rebuilt, the first ledger tells."""
        if rules_of(self.run) is not None:
            return self.rule is not None
        first = min(self._ledger_steps, default=None)
        found = None if first is None else self._told_by_ledger(first)
        return found is not None and bool((found != 0).any())

    @cached_property
    def _ledger_steps(self) -> frozenset[int]:
        return frozenset(self.run.ledger_steps_of(self.layer, self.weight).tolist())


# Run -> regularisers of its model, which take a while to make.
_RULES: WeakKeyDictionary[Run, dict[str, Rule] | None] = WeakKeyDictionary()


def rules_of(run: Run) -> dict[str, Rule] | None:
    """Path of a weight -> gradient of its regulariser; None if the model of a run cannot be rebuilt."""
    if run not in _RULES:
        _RULES[run] = _rebuilt(run)
    return _RULES[run]


def _rebuilt(run: Run) -> dict[str, Rule] | None:
    try:
        model = run.untrained_model()
    except KernelearnError:
        return None
    rules = {path: weight.regularizer for path, weight in model.weight_paths().items()}
    return {path: rule.gradient for path, rule in rules.items() if rule is not None}
