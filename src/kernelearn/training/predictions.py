"""What `predict` gives, put together from batches: in the order of the data, as arrays where sizes agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.data.ragged import Ragged, joined
from kernelearn.training.plan import Pass
from kernelearn.training.steps.step import Batch, input_name


class Predictions:
    """Collects the outputs of a model for the batches of a pass.

    Args:
        outputs: number of outputs of the model.
        plan: the pass; its batches may hold images of one size each, in another order than the data.
    """

    def __init__(self, outputs: int, plan: Pass) -> None:
        self._parts: list[list[Any]] = [[] for _ in range(outputs)]
        self._rows: list[np.ndarray] | None = None
        self._shapes: np.ndarray | None = None
        self._count = 0
        if isinstance(plan.data, Dataset) and plan.batch_size is not None:
            self._shapes = plan.data.shapes if plan.data.is_padded else None
            if plan.data.is_padded or plan.data.has_several_sizes:
                self._rows = plan.data.batch_rows(plan.batch_size)

    def add(self, outputs: list[np.ndarray], batch: Batch) -> None:
        """Take in what the model gave for the next batch."""
        for part, output in zip(self._parts, outputs):
            part.append(self._without_padding(output, batch.arrays[input_name(0)]))
        self._count += 1

    def _without_padding(self, output: np.ndarray, x: np.ndarray) -> Any:
        """The part of each map that belongs to its image, where a map has the size of the padded images."""
        if self._shapes is None or self._rows is None or output.shape[1:-1] != x.shape[1:-1]:
            return output
        shapes = self._shapes[self._rows[self._count]]
        return [sample[tuple(map(slice, sizes[:-1]))] for sample, sizes in zip(output, shapes.tolist())]

    def outputs(self) -> list[Any]:
        """Each output for all samples: an array, or a list of one for each sample where sizes differ."""
        return [self._together(part) for part in self._parts]

    def _together(self, parts: list[Any]) -> Any:
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        if len(arrays) == len(parts) and len({array.shape[1:] for array in arrays}) == 1:
            whole: Any = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            return whole if self._rows is None else whole[self._order()]
        samples = [sample for part in parts for sample in part]
        if self._rows is not None:
            samples = [samples[i] for i in self._order()]
        together = joined(samples, "predictions")
        return list(together) if isinstance(together, Ragged) else together

    def _order(self) -> np.ndarray:
        """The places of the samples in the order of the data."""
        assert self._rows is not None
        return np.argsort(np.concatenate(self._rows[: self._count]), kind="stable")
