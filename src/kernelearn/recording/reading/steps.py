"""Which steps of a run have what: weights, gradients, ledgers, state; and which left a weight alone."""

from __future__ import annotations

import numpy as np

from kernelearn.recording.files.segment import Segment
from kernelearn.recording.interventions import BY_HAND, Intervention
from kernelearn.recording.reading.records import RunRecords
from kernelearn.recording.schedule import Stream
from kernelearn.recording.weights import Weights


class RecordedSteps(RunRecords):
    """The steps of a run; see `Run`."""

    @property
    def steps(self) -> np.ndarray:
        """(steps,) int64: those at which weights are recorded, 0 first."""
        return self.stream_steps(Stream.KERNELS)

    def weight_steps(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `steps` at which a weight is known: recorded, or frozen and so known."""
        return self._weights.steps(self._name(layer, weight))

    @property
    def gradient_steps(self) -> np.ndarray:
        """(steps,) int64: those with gradients."""
        return self.stream_steps(Stream.GRADIENTS)

    def gradient_steps_of(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `gradient_steps` with the gradient of a weight."""
        return self._field_steps(Stream.GRADIENTS, self._name(layer, weight))

    @property
    def ledger_steps(self) -> np.ndarray:
        """(steps,) int64: those with the factors of the gradients."""
        return self.stream_steps(Stream.LEDGER)

    def ledger_steps_of(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `ledger_steps` with the factors of a weight."""
        name = self._name(layer, weight)
        having = [s.steps(Stream.LEDGER) for s in self._segments if name in s.about.get("uses", {})]
        return np.unique(np.concatenate(having)) if having else np.zeros(0, np.int64)

    def stage_steps(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `ledger_steps_of` for which `stages` has something."""
        name = self._name(layer, weight)
        having = [
            s.steps(Stream.LEDGER)
            for s in self._segments
            if s.about.get("uses", {}).get(name, {}).get("stages")
        ]
        return np.unique(np.concatenate(having)) if having else np.zeros(0, np.int64)

    def state_steps_before(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: updates of a weight before which the optimiser's arrays are recorded."""
        name = self._name(layer, weight)
        found = [_updates_with_state(segment, name) for segment in self._segments]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @property
    def map_steps(self) -> np.ndarray:
        """(steps,) int64: those with feature maps of the probe images."""
        return self.stream_steps(Stream.MAPS)

    @property
    def model_steps(self) -> np.ndarray:
        """(steps,) int64: those with all weights of the model, so that `model(step)` can give it."""
        return self.stream_steps(Stream.SNAPSHOTS)

    @property
    def full_layers(self) -> list[str]:
        """Layers of the last fit with a full history: every update of their weights can be explained."""
        steps = self.stream_steps(Stream.FULL)
        is_whole = len(steps) > 1 and len(steps) == self.last_step - int(steps[0]) + 1
        return list(self._last().get("full_layers", [])) if is_whole else []

    def is_split(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether the weights on both sides of an update are known, and its gradient."""
        name = self._name(layer, weight)
        sides = all(self._weights.is_known(name, k) for k in (step - 1, step))
        return sides and self.has(Stream.GRADIENTS, name, step)

    def is_frozen(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether an update left a weight alone because it was not trained then."""
        segment = self._segment_of(step)
        return segment is not None and segment.is_held(self._name(layer, weight))

    def frozen_updates(self, layer: str, first: int, last: int, weight: str = "kernel") -> int:
        """How many of the updates from first to last left a weight alone because it was not trained then."""
        name = self._name(layer, weight)
        held = (segment for segment in self._segments if segment.is_held(name))
        return sum(max(0, min(last, s.last_step) - max(first - 1, s.start)) for s in held)

    @property
    def _weights(self) -> Weights:
        return Weights(self._segments, self._tell_problems, self._edits)

    def _edits(self, path: str) -> list[Intervention]:
        """What was done by hand to a weight, by its path."""
        return [
            one for one in self.interventions if one.kind in BY_HAND and f"{one.layer}/{one.weight}" == path
        ]


def _updates_with_state(segment: Segment, name: str) -> np.ndarray:
    """Updates of a segment before which all slots of a weight are recorded."""
    rule = segment.about.get("updates", {}).get(name)
    if rule is None:
        return np.zeros(0, np.int64)
    trained = segment.steps(Stream.STEPS)
    trained = trained[trained > segment.start]
    for slot in rule["slots"]:
        trained = trained[np.isin(trained - 1, segment.steps_of(Stream.STATE, f"{name}/{slot}"))]
    return trained
