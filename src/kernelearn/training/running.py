"""The loss and metrics of an epoch so far, and how to put them aside and go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.training.objectives import Objective
from kernelearn.training.step import LOSS, Arrays, Batch, StepResult


class RunningResults:
    """Collects what batches gave.

    The loss of an epoch is the mean of the batches' losses, weighted by their numbers of samples.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        self._names = [LOSS]
        if len(objectives) > 1:
            self._names += [f"{o.output}_loss" for o in objectives if o.loss is not None]
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self._sums = np.zeros(len(self._names))
        self._count = 0
        for metric in self._metrics():
            metric.reset_state()

    def add(self, result: StepResult, batch: Batch) -> None:
        """Take in what a training or test step gave for a batch."""
        values = [result.loss]
        if len(self._names) > 1:
            values += [result.loss_of(i) for i, o in enumerate(self.objectives) if o.loss is not None]
        self._sums += batch.rows * np.array(values)
        self._count += batch.rows
        for i, objective in enumerate(self.objectives):
            prediction, target = result.prediction(i), batch.target(i)
            for metric in objective.metrics:
                metric.update_state(target, prediction)
            for metric in objective.weighted:
                metric.update_state(target, prediction, batch.weight(i))

    def logs(self) -> dict[str, Any]:
        """Name -> value so far, the loss first."""
        means = self._sums / max(self._count, 1)
        logs: dict[str, Any] = dict(zip(self._names, means.tolist()))
        for objective in self.objectives:
            prefix = f"{objective.output}_" if len(self.objectives) > 1 else ""
            for metric in (*objective.metrics, *objective.weighted):
                value = metric.result()
                logs[f"{prefix}{metric.name}"] = (
                    float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()
                )
        return logs

    def state(self) -> Arrays:
        """Everything collected, as arrays by name."""
        arrays = {"sums": self._sums.copy(), "count": np.asarray(self._count)}
        for i, metric in enumerate(self._metrics()):
            arrays.update(
                (f"metric_{i}/{key}", np.asarray(value)) for key, value in metric.get_state().items()
            )
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Take over what `state` gave."""
        self._sums, self._count = np.array(arrays["sums"]), int(arrays["count"])
        for i, metric in enumerate(self._metrics()):
            prefix = f"metric_{i}/"
            metric.set_state({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})

    def _metrics(self) -> list:
        return [metric for o in self.objectives for metric in (*o.metrics, *o.weighted)]
