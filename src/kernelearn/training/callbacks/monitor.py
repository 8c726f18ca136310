"""What the callbacks share that watch one value: which direction is better, and what counts as better."""

import warnings
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback, KnownLogs, Logs

MODES = ("auto", "min", "max")

# For metrics that do not say themselves in which direction they improve.
_GROWING = {
    "acc",
    "accuracy",
    "auc",
    "precision",
    "recall",
    "sensitivity",
    "f1",
    "fbeta",
    "iou",
    "r2",
    "similarity",
}
_SHRINKING = {
    *("loss", "error", "mse", "mae", "mape", "msle", "rmse"),
    *("crossentropy", "entropy", "divergence", "hinge", "poisson", "logcosh", "huber"),
}


class MonitorCallback(Callback):
    """Base of callbacks that watch one value of the logs.

    Args:
        monitor: its name, for example "val_loss".
        mode: "min" if smaller is better, "max" if larger is, "auto" to tell from the metric.
        baseline: the first value to compare with; None takes the first one seen.
        min_delta: how much better a value must be to count.
    Raises: ArgumentError.
    """

    def __init__(
        self, monitor: str, mode: str, baseline: float | None = None, min_delta: float = 0.0
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ArgumentError(
                f"{type(self).__name__}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}."
            )
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self._has_told = False

    def is_watching(self) -> bool:
        """Whether the monitored value decides anything."""
        return True

    def check(self, known: KnownLogs) -> None:
        """Find the direction now; warn of a value that will not be there.

        Raises: ArgumentError if the direction cannot be told, or for a metric with a value for each class.
        """
        if not self.is_watching():
            return
        value = known.epoch.get(self.monitor)
        if value is not None:
            self._one_number(value)
        elif not known.epoch_may_grow:
            self._tell_missing(", ".join(known.epoch))
            return
        self.direction()

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; all is better than None."""
        if reference is None:
            return True
        if self.direction() == "min":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def direction(self) -> str:
        """Either "min" or "max"; with mode "auto" found from the metrics of the model, then from the name.

        Raises: ArgumentError if it cannot be told.
        """
        if self.mode == "auto":
            self.mode = self._find_direction()
        return self.mode

    def current(self, logs: Logs | None) -> float | None:
        """The monitored value, or None and a warning if the logs do not have it."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            self._tell_missing(", ".join(logs or {}))
            return None
        return self._one_number(value)

    def _one_number(self, value: Any) -> float:
        """A metric's value as a number; that of a metric with one class is a list of one."""
        if np.size(value) != 1:
            raise ArgumentError(
                f"{type(self).__name__} watches {self.monitor!r}, which has {np.size(value)} values (one for "
                "each class), so none is best. Watch a metric with one value, such as average='macro'."
            )
        return float(np.asarray(value).item())

    def _tell_missing(self, there: str) -> None:
        """Warn, once in a training, that the monitored value is not in the logs."""
        if not self._has_told:
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not in the logs of this epoch: "
                f"{there or 'they are empty'}. Is validation data missing?",
                UserWarning,
                stacklevel=3,
            )
        self._has_told = True

    def _find_direction(self) -> str:
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return "min"
        metric = getattr(self.model, "metrics_by_name", {}).get(name)
        is_growing = getattr(metric, "higher_is_better", None)
        if is_growing is None:
            return self._direction_of_name(name)
        return "max" if is_growing else "min"

    def _direction_of_name(self, name: str) -> str:
        words = set(name.lower().split("_"))
        for direction, known in (("min", _SHRINKING), ("max", _GROWING)):
            if words & known:
                return direction
        raise ArgumentError(
            f"{type(self).__name__} cannot tell whether {self.monitor!r} should grow or shrink. "
            "Pass mode='max' or mode='min'."
        )


def checked_count(owner: Any, name: str, value: Any) -> int:
    """A number of epochs or batches: an integer, 0 or more.

    Raises: ArgumentError.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArgumentError(f"{type(owner).__name__}: {name} must be an integer, 0 or more, got {value!r}.")
    return value
