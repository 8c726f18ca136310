"""The columns of a layer at a recorded step: from the step computed once more where that agrees with the
record, else from the record alone, which has what the layer read and the errors of its sums.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.choices import batch_images
from kernelearn.explain.passes.columns import Column, Columns, columns_of
from kernelearn.explain.passes.replay import Replay, replay_prediction
from kernelearn.explain.passes.run_steps import StepReplays
from kernelearn.explain.sight.network import images_for
from kernelearn.recording.factors import KINDS, Part
from kernelearn.recording.run import Run

# Engines round differently from thread to thread; a wrong image or seed is another number altogether.
_AGREES = 1e-3
# Numbers of a step up to which all of them are kept, forward and back: 1 GB of float32.
MOST_NUMBERS = 100_000_000


class RecordedColumns:
    """The columns of layers at the ledger steps of a run.

    Args:
        run: a recorded run.
        x, y: the data that it was trained on, arrays or a Dataset; None takes what the record has of it.
    """

    def __init__(self, run: Run, x: Any = None, y: Any = None) -> None:
        self.run = run
        self._replays = StepReplays(run, x, y)
        self._kept: dict[tuple[str, int], Any] = {}

    def at(self, layer: str, weight: str, step: int, rows: np.ndarray) -> tuple[Columns, str]:
        """(columns, what is missing in words) of a layer for some rows of the batch of a step.

        Raises: ArgumentError for a step without a ledger of the weight.
        """
        part = self.run.ledger(layer, step, weight).parts[0]
        replay, reason = self.replay(step)
        op = None if replay is None else _same_errors(replay, layer, part)
        if replay is not None and op is not None:
            return columns_of(replay, layer, rows, op), ""
        missing = reason or "the step computed once more is not what was recorded; this is the record alone"
        return self._from_record(layer, weight, step, rows, part), missing

    def of_probes(self, layer: str, step: int, rows: np.ndarray) -> Columns:
        """The columns of a layer for probe images, which the network was not trained on: without errors.

        Raises: UnknownNameError for a layer without a kernel.
        """
        replay, reason = self._once("probes", step, lambda: self._probes(step))
        if replay is None:
            raise ArgumentError(reason)
        return columns_of(replay, layer, rows)

    def _probes(self, step: int) -> Replay:
        model = self.run.model(step)
        return replay_prediction(model, images_for(model, self.run.probe_images))

    def replay(self, step: int) -> tuple[Replay | None, str]:
        """(the step computed once more, "") or (None, why not); the last one is kept."""
        numbers = self._numbers(step)
        if numbers > MOST_NUMBERS:
            return None, (
                f"a step of this network holds about {numbers:,} numbers between its layers, more than the "
                f"{MOST_NUMBERS:,} that are kept for it; explain.delta follows single errors"
            )
        return self._once("train", step, lambda: self._replays.at(step))

    def _numbers(self, step: int) -> int:
        """About how many numbers the layers give for the batch of a step; 0 where sizes are not known."""
        shapes = [getattr(getattr(layer, "output", None), "shape", (None,)) for layer in self._network.layers]
        known = [prod(shape[1:]) for shape in shapes if None not in shape[1:] and len(shape) > 1]
        return len(self.run.batch(step).images) * int(sum(known))

    @cached_property
    def _network(self) -> Any:
        return self.run.untrained_model()

    def _once(self, kind: str, step: int, make: Any) -> tuple[Replay | None, str]:
        if (kind, step) not in self._kept:
            self._kept = {key: value for key, value in self._kept.items() if key[1] == step}
            try:
                self._kept[kind, step] = make(), ""
            except KernelearnError as error:
                self._kept[kind, step] = None, str(error)
        found: tuple[Replay | None, str] = self._kept[kind, step]
        return found

    def _from_record(self, layer: str, weight: str, step: int, rows: np.ndarray, part: Part) -> Columns:
        """What the layer read, its sums and their errors; what follows where a prediction reads the same."""
        shape = self.run.ledger(layer, step, weight).kernel_shape
        kernel = self.run.kernels(layer, step - 1, weight).astype(np.float64).reshape(shape)
        x, delta = part.x[rows].astype(np.float64), part.delta[rows].astype(np.float64)
        bias = self._bias(layer, step, delta.shape[-1])
        sums = OPERATORS[part.kind].function(x, kernel, **part.attrs)
        z = Column("z", part.kind, layer, "", {}, sums + (0 if bias is None else bias), delta)
        attrs = {key: value for key, value in part.attrs.items() if key != "precision"}
        found = Columns(layer, part.kind, attrs, x, kernel, bias, (z,), 0.0)
        following = self._following(layer, step, rows, found)
        if following is None:
            return found
        first, *others = following.columns
        behind = (replace(one, errors=None) for one in others)
        return replace(following, columns=(replace(first, errors=delta), *behind))

    def _following(self, layer: str, step: int, rows: np.ndarray, known: Columns) -> Columns | None:
        """The columns of a prediction on the images of the step; None where its layer reads other numbers."""
        replay, _ = self._once("predict", step, lambda: self._prediction(step))
        ops = [] if replay is None else _operations(replay, layer)
        for op in ops:
            found = columns_of(replay, layer, rows, op) if replay is not None else known
            same = found.x.shape == known.x.shape and found.kernel.shape == known.kernel.shape
            if same and _close(found.x, known.x) and _close(found.columns[0].values, known.columns[0].values):
                return found
        return None

    def _prediction(self, step: int) -> Replay | None:
        images = batch_images(self.run, step)
        return None if images is None else replay_prediction(self.run.model(step - 1), images)

    def _bias(self, layer: str, step: int, filters: int) -> np.ndarray | None:
        if "bias" not in self.run.weights(layer):
            return None
        bias = self.run.kernels(layer, step - 1, "bias").astype(np.float64)
        return bias if bias.shape == (filters,) else None


def _operations(replay: Replay, layer: str) -> list[Operation]:
    """The operations of a layer that make sums of products."""
    forward = (op for op in replay.program.operations if op.phase == "forward")
    return [op for op in forward if op.layer == layer and op.operator in KINDS]


def _same_errors(replay: Replay, layer: str, part: Part) -> Operation | None:
    """The operation of a layer whose inputs and errors are those of the record."""
    for op in _operations(replay, layer):
        errors = replay.gradient(op.outputs[0])
        if errors is not None and _close(errors, part.delta) and _close(replay.value(op.inputs[0]), part.x):
            return op
    return None


def _close(found: np.ndarray, known: np.ndarray) -> bool:
    if found.shape != known.shape:
        return False
    size = float(np.abs(known).max(initial=0.0))
    return bool(np.abs(found - known).max(initial=0.0) <= _AGREES * size)
