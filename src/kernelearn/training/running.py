"""The loss and metrics of an epoch so far, and how to put them aside and go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.training.metric_names import loss_names, named_metrics
from kernelearn.training.steps.objectives import Objective
from kernelearn.training.steps.step import Arrays, Batch, StepResult, prediction_name

if TYPE_CHECKING:
    from kernelearn.metrics import Metric


class RunningResults:
    """Collects what batches gave.

    The loss of an epoch is the mean of the batches' losses, weighted by their numbers of samples.

    Attributes:
        objectives: the losses and metrics of outputs.
    Args:
        own: gives the metrics that the model holds and updates itself.
    """

    def __init__(
        self, objectives: Sequence[Objective], own: Callable[[], Sequence[Metric]] | None = None
    ) -> None:
        self.objectives = objectives
        self._names = loss_names(objectives)
        self._named = named_metrics(objectives)
        self._own = own
        self._reported: dict[str, Any] | None = None
        self.reset()

    @property
    def metrics(self) -> dict[str, Metric]:
        """Name in the logs -> metric."""
        own = () if self._own is None else self._own()
        return {**self._named, **{metric.name: metric for metric in own}}

    def note(self, logs: dict[str, Any]) -> None:
        """Take what a step of the model's own has reported: the logs from now on."""
        self._reported = logs

    def reset(self) -> None:
        """Start an epoch."""
        self._sums = np.zeros(len(self._names))
        self._count = 0
        self._reported = None
        for metric in self.metrics.values():
            metric.reset_state()

    def add(self, result: StepResult, batch: Batch) -> None:
        """Take in what a training or test step gave for a batch."""
        values = [result.loss]
        if len(self._names) > 1:
            values += [result.loss_of(i) for i, o in enumerate(self.objectives) if o.loss is not None]
        self._sums += batch.rows * np.array(values)
        self._count += batch.rows
        self._update_metrics(result, batch)

    def try_metrics(self, batch: Batch, objectives: Sequence[Objective], dtype: str) -> dict[str, Any]:
        """Let every metric take targets of a batch, with zeros for predictions; gives the logs of that.

        Args:
            objectives: with the shapes that outputs have for this batch.
        Raises: what a metric raises for targets that it cannot take.
        """
        zeros = {
            prediction_name(i): np.zeros(
                (batch.rows, *(int(size or 0) for size in objective.shape[1:])), dtype
            )
            for i, objective in enumerate(objectives)
        }
        with np.errstate(all="ignore"):
            self._update_metrics(StepResult(zeros), batch)
            return self.logs()

    def _update_metrics(self, result: StepResult, batch: Batch) -> None:
        for i, objective in enumerate(self.objectives):
            prediction, target = result.prediction(i), batch.target(i)
            if target is None:  # neither loss nor metrics
                continue
            for metric in objective.metrics:
                metric.update_state(target, prediction)
            for metric in objective.weighted:
                metric.update_state(target, prediction, batch.weight(i))

    def logs(self) -> dict[str, Any]:
        """Name -> value so far, the loss first; of a step of the model's own, what it reported last."""
        if self._reported is not None:
            return dict(self._reported)
        means = self._sums / max(self._count, 1)
        logs: dict[str, Any] = dict(zip(self._names, means.tolist()))
        for name, metric in self.metrics.items():
            value = metric.result()
            logs[name] = float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()
        return logs

    def state(self) -> Arrays:
        """Everything collected, as arrays by name."""
        arrays = {"sums": self._sums.copy(), "count": np.asarray(self._count)}
        for i, metric in enumerate(self.metrics.values()):
            arrays.update(
                (f"metric_{i}/{key}", np.asarray(value)) for key, value in metric.get_state().items()
            )
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Take over what `state` gave."""
        self._sums, self._count = np.array(arrays["sums"]), int(arrays["count"])
        for i, metric in enumerate(self.metrics.values()):
            prefix = f"metric_{i}/"
            metric.set_state({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
