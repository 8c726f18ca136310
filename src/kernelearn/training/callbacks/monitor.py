"""What the callbacks share that watch one value: which direction is better, and what counts as better."""

import warnings
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback, Logs

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
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not in the logs of this epoch: "
                f"{', '.join(logs or {}) or 'they are empty'}. Is validation data missing?",
                UserWarning,
                stacklevel=2,
            )
        return value

    def _find_direction(self) -> str:
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return "min"
        for metric in getattr(self.model, "metrics", None) or ():
            is_growing = getattr(metric, "higher_is_better", None)
            if getattr(metric, "name", None) == name and is_growing is not None:
                return "max" if is_growing else "min"
        return self._direction_of_name(name)

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
