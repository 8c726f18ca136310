"""The optimisers of a run: how each weight was updated, and the arrays carried from step to step."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.recording.files.segment import Segment
from kernelearn.recording.reading.records import RunRecords, Trace, joined
from kernelearn.recording.schedule import Stream


class RecordedOptimizers(RunRecords):
    """The optimisers of a run and their state; see `Run`."""

    @property
    def optimizer(self) -> dict[str, Any]:
        """The optimiser of the last fit: "kind" of its update operator, "attrs", "clipping", "config"."""
        return self.optimizer_of(None)

    def optimizer_of(self, step: int | None) -> dict[str, Any]:
        """The optimiser that did an update, as `optimizer`; fits of one run may have different ones."""
        return dict(self._about(step).get("optimizer", {}))

    @property
    def optimizers(self) -> dict[int, dict[str, Any]]:
        """First update -> optimiser, for every stretch of the run that has one of its own."""
        found: dict[int, dict[str, Any]] = {}
        for segment in self._segments:
            own = dict(segment.about.get("optimizer", {}))
            if not found or own != list(found.values())[-1]:
                found[segment.start + 1] = own
        return found

    def update_rule(self, layer: str, step: int | None = None, weight: str = "kernel") -> dict[str, Any]:
        """How a weight was updated: "kind", "attrs" (its own weight decay and multiplier), "slots", and
        "constraint" (attributes or None); empty for a weight that is not trained."""
        rule = dict(self._about(step).get("updates", {}).get(self._name(layer, weight), {}))
        # NOTE: a run of an earlier version may lack attributes that an operator has got since.
        # The updates of another program are no operators.
        operator = OPERATORS.get(rule.get("kind", ""))
        return {**rule, "attrs": operator.whole(rule["attrs"])} if operator is not None else rule

    def optimizer_state(self, layer: str, step: int, weight: str = "kernel") -> dict[str, np.ndarray]:
        """Slot name -> array of the optimiser for a weight, after the update of a step."""
        name = self._name(layer, weight)
        slots = self._about(step).get("updates", {}).get(name, {}).get("slots", [])
        return {slot: self.read(Stream.STATE, f"{name}/{slot}", step) for slot in slots}

    def state_before(self, layer: str, step: int, weight: str = "kernel") -> dict[str, np.ndarray]:
        """Slot name -> array that the update of a step began with, of the optimiser that did it."""
        name, segment = self._name(layer, weight), self._segment_of(step)
        slots = [] if segment is None else segment.about.get("updates", {}).get(name, {}).get("slots", [])
        return {slot: self._state_in(segment, f"{name}/{slot}", step - 1) for slot in slots}

    def state_trace(
        self, layer: str, step: int, slot: str, index: tuple[int, ...], weight: str = "kernel"
    ) -> tuple[bool, Trace]:
        """One number of an array of the optimiser that did an update, over the stretch of that update.

        Returns: whether the array is a single number for the whole weight, and (steps, values).
        """
        field, segment = f"{self._name(layer, weight)}/{slot}", self._segment_of(step)
        if segment is None or not segment.has(Stream.STATE, field):
            return True, joined([])
        is_single = not segment.shape_of(Stream.STATE, field)
        return is_single, self._column(segment, Stream.STATE, field, () if is_single else index)

    def _state_in(self, segment: Segment | None, field: str, step: int) -> np.ndarray:
        found = None if segment is None else segment.find(Stream.STATE, field, step)
        return self.read(Stream.STATE, field, step) if found is None else found[0].read(found[1], found[2])

    def learning_rate(self, step: int) -> float:
        """The learning rate of an update, before the layer's multiplier."""
        return float(self.read(Stream.STEPS, "learning_rate", step))

    def iteration(self, step: int) -> int:
        """The optimiser's own count of updates at a step; it begins again when a model is compiled anew."""
        return step - int(self._about(step).get("offset", 0))
