"""Stop when a value no longer improves."""

from typing import Any, ClassVar

from kernelearn.training.callbacks.base import Logs
from kernelearn.training.callbacks.monitor import MonitorCallback, checked_count


class EarlyStopping(MonitorCallback):
    """Stops training when a monitored value has not improved for some epochs.

    Args:
        monitor: name in the logs.
        min_delta: smallest change that counts as an improvement.
        patience: epochs without improvement after which training stops; never after the first epoch.
        verbose: 1 prints when it stops.
        mode: "min", "max" or "auto".
        baseline: value that has to be reached: an epoch that improves but stays worse than it counts as one
            without improvement.
        restore_best_weights: put back the weights as they were at the end of the best epoch.
        start_from_epoch: epochs to wait before watching.
    Attributes:
        stopped_epoch: index of the epoch after which it stopped, or 0.
        best, best_epoch: the best value and the index of its epoch.
    """

    state_names: ClassVar[tuple[str, ...]] = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = checked_count(self, "patience", patience)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = checked_count(self, "start_from_epoch", start_from_epoch)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self.current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        # The first value is always an improvement, so that training never stops after the first epoch.
        if self.is_improvement(current, self.best):
            self.best = current
            self._remember(epoch)
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _remember(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(f"Restoring the weights of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
