"""Where panels of the report take a layer's steps from: ledgers with their batches, or probe images alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.choices import ledger_step
from kernelearn.explain.gradient.ledgers import ledger
from kernelearn.explain.passes.columns import Columns
from kernelearn.explain.passes.recorded_columns import RecordedColumns


class LedgerSteps:
    """The steps with a ledger: batches that the network was trained on, and the errors that came back."""

    is_trained = True

    def __init__(self, run: Any, columns: RecordedColumns, layer: str, weight: str) -> None:
        self.run, self.layer, self.weight = run, layer, weight
        self._columns = columns
        self.steps = np.asarray(run.ledger_steps_of(layer, weight))

    def first(self, index: tuple[int, ...]) -> int:
        """The step to begin with: the one that moved a number of the weight most."""
        return ledger_step(self.run, self.layer, index, self.weight)

    def images(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(numbers, classes or None) of the images of a step."""
        batch = self.run.batch(step)
        return batch.images, batch.labels

    def rows(self, step: int, index: tuple[int, ...], count: int) -> np.ndarray:
        """The images that gave most to the gradient of a number of the weight."""
        book = ledger(self.run, self.layer, step, (self.weight, *index))
        sums = np.bincount(book.rows, book.terms, len(self.run.batch(step).images))
        return np.argsort(-np.abs(sums), kind="stable")[:count]

    def columns(self, step: int, rows: np.ndarray) -> tuple[Columns, str]:
        """(columns, what is missing in words)."""
        return self._columns.at(self.layer, self.weight, step, rows)

    def gradient(self, step: int, shape: tuple[int, ...]) -> np.ndarray:
        """dL/d(weight) of the whole batch, in the shape of the operator's kernel."""
        factors = self.run.ledger(self.layer, step, self.weight)
        return factors.from_data.astype(np.float64).reshape(shape)


class ProbeSteps:
    """Any step with all weights, on the probe images: watched, not trained on, so that nothing comes back."""

    is_trained = False

    def __init__(self, run: Any, columns: RecordedColumns, layer: str, weight: str) -> None:
        self.run, self.layer, self.weight = run, layer, weight
        self._columns = columns
        self.steps = np.asarray(run.model_steps)
        if not isinstance(run.probe_images, np.ndarray) or not len(self.steps):
            raise ArgumentError(
                f"Neither ledgers of {layer}/{weight} nor probe images are recorded. Record them with "
                "kernelearn train --record, or Recorder(..., ledger_every=100, probe_images=8)."
            )

    def first(self, index: tuple[int, ...]) -> int:
        return int(self.steps[-1])

    def images(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        known = self.run.probe_ids
        count = len(self.run.probe_images)
        return (np.arange(count) if known is None else known), None

    def rows(self, step: int, index: tuple[int, ...], count: int) -> np.ndarray:
        return np.arange(min(count, len(self.run.probe_images)))

    def columns(self, step: int, rows: np.ndarray) -> tuple[Columns, str]:
        ledgers = self.run.ledger_steps
        near = f" Other layers have ledgers, the first at step {ledgers[0]}." if len(ledgers) else ""
        words = f"no ledger of {self.layer}/{self.weight} is in the record, so no error is.{near}"
        return self._columns.of_probes(self.layer, step, rows), words

    def gradient(self, step: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, np.nan)
