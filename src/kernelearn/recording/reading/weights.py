"""Weights and gradients of a run at any step, what was done to them by hand included."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.recording.interventions import BY_HAND, SET_ELSEWHERE, Intervention
from kernelearn.recording.reading.records import Trace, joined
from kernelearn.recording.reading.steps import RecordedSteps
from kernelearn.recording.schedule import Stream


class RecordedWeights(RecordedSteps):
    """Weights and gradients of a run; see `Run`."""

    def kernels(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """A weight of a layer at a step, exactly as it was.

        A weight that was frozen for a part of the run is known there too: it stayed as it was.

        Args:
            weight: name of the weight; "kernel" also finds the only kernel of a layer, however it is called.
        Raises: ArgumentError if the step is not recorded, FormatError if its record is damaged.
        """
        name = self._name(layer, weight)
        found = self._weights.value(name, int(step))
        return self.read(Stream.KERNELS, name, step) if found is None else found

    def trace(self, layer: str, index: Any = (), weight: str = "kernel") -> Trace:
        """(steps, values) of one number of a weight, or of part of it, over all recorded steps.

        Args:
            index: (i, j, c, f) of a number; fewer indices or slices give arrays, () the whole weight.
        """
        place = index if isinstance(index, tuple) else (index,)
        # NOTE: where a layer was frozen behind an edit, the new stretch begins with what was edited.
        return joined(self._weights.columns(self._name(layer, weight), place), is_first=True)

    def update(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """W_step - W_(step-1), in float64.

        Raises: ArgumentError unless both are recorded.
        """
        after = self.kernels(layer, step, weight).astype(np.float64)
        return np.asarray(after - self.kernels(layer, step - 1, weight))

    def by_hand(self, layer: str, step: int, weight: str = "kernel") -> list[Intervention]:
        """What was done by hand to a weight between the updates step-1 and step."""
        name = self.weight_name(layer, weight)
        return [
            one
            for one in self.interventions
            if one.kind in BY_HAND and one.step == step - 1 and (one.layer, one.weight) == (layer, name)
        ]

    def weight_before(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """The weight that the update of a step began with: that of step-1, with what was done by hand since.

        Raises: as `kernels`.
        """
        found = self.kernels(layer, step - 1, weight)
        segment = self._segment_of(step)
        if segment is not None and self.was_set(layer, step, weight):  # a segment begins with what was set
            own = segment.find(Stream.KERNELS, self._name(layer, weight), step - 1)
            found = found if own is None else own[0].read(own[1], own[2])
        for done in self.by_hand(layer, step, weight):
            found = done.changed(found)
        return found

    def was_set(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether the other program's code set a weight between the updates step-1 and step."""
        name = self._name(layer, weight)
        told = (event for event in self._events if event["kind"] == SET_ELSEWHERE)
        return any(event["step"] == step - 1 and name in event["paths"] for event in told)

    def gradient(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """dL/d(weight) of a step, as the engine computed it, before clipping."""
        return self.read(Stream.GRADIENTS, self._name(layer, weight), step)

    def gradient_trace(self, layer: str, index: Any = (), weight: str = "kernel") -> Trace:
        """(steps, values) of one number of a gradient, or of part of it, over all steps that have it."""
        return self.column(Stream.GRADIENTS, self._name(layer, weight), index)

    def global_norm(self, step: int) -> float | None:
        """Norm of all gradients of a step together; None unless the optimiser clips by it."""
        found = self._record(Stream.GRADIENTS, "global_norm", step)
        return None if found is None else float(found[0].read(found[1], found[2]))
