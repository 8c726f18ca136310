"""Change the learning rate between epochs: on a plateau, or by a function of the epoch."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.callbacks.monitor import MonitorCallback, checked_count


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when a monitored value has not improved for some epochs.

    Adds "learning_rate" to the logs, for the callbacks after it and the history.

    Args:
        monitor: name in the logs.
        factor: new rate over old rate, below 1.
        patience: epochs without improvement before the rate is reduced.
        verbose: 1 prints each change.
        mode: "min", "max" or "auto".
        min_delta: smallest change that counts as an improvement.
        cooldown: epochs after a reduction during which nothing is counted.
        min_lr: the rate never goes below.
    Raises: ArgumentError.
    """

    state_names: ClassVar[tuple[str, ...]] = ("best", "wait", "cooldown_counter")
    adds_to_logs: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if not 0 <= factor < 1:
            raise ArgumentError(f"ReduceLROnPlateau: factor must be at least 0 and below 1, got {factor!r}.")
        self.factor = factor
        self.patience = checked_count(self, "patience", patience)
        self.verbose = verbose
        self.cooldown = checked_count(self, "cooldown", cooldown)
        self.min_lr = min_lr
        self._reset()

    def _reset(self) -> None:
        self.best = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_assignable(self)
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self.current(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self._count(epoch)

    def in_cooldown(self) -> bool:
        """Whether a reduction is so recent that nothing is counted."""
        return self.cooldown_counter > 0

    def _count(self, epoch: int) -> None:
        self.wait += 1
        old = float(self.model.optimizer.learning_rate)
        if self.wait < self.patience or old <= self.min_lr:
            return
        new = max(old * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new:g}.")


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch.

    Adds "learning_rate" to the logs, for the callbacks after it and the history.

    Args:
        schedule: function of (epoch from 0, current rate), or of the epoch alone, that gives the new rate.
        verbose: 1 prints each rate.

    >>> scheduler = LearningRateScheduler(lambda epoch, rate: rate if epoch < 10 else rate * 0.9)
    """

    state_names: ClassVar[tuple[str, ...]] = ("last_epoch",)
    adds_to_logs: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise ArgumentError(f"LearningRateScheduler: schedule must be a function, got {schedule!r}.")
        self.schedule = schedule
        self.verbose = verbose
        self.last_epoch: int | None = None
        self._takes_rate = _takes_two(schedule)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_assignable(self)
        self.last_epoch = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # A run resumed in the middle of an epoch begins it a second time; its rate is set already.
        if epoch == self.last_epoch:
            return
        self.last_epoch = epoch
        rate = self._scheduled(epoch)
        self.model.optimizer.learning_rate = rate
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate:g}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def _scheduled(self, epoch: int) -> float:
        current = float(self.model.optimizer.learning_rate)
        rate = self.schedule(epoch, current) if self._takes_rate else self.schedule(epoch)
        if isinstance(rate, bool) or not hasattr(rate, "__float__"):
            raise ArgumentError(
                f"LearningRateScheduler: the schedule must give a number, got {rate!r} for epoch {epoch}."
            )
        return float(rate)


def check_assignable(callback: Callback) -> None:
    """Refuse, before training, an optimizer whose learning rate is set by a schedule.

    Raises: ArgumentError.
    """
    optimizer = callback.model.optimizer
    if getattr(optimizer, "schedule", None) is not None:
        raise ArgumentError(
            f"{type(callback).__name__} sets the learning rate, but that of the {type(optimizer).__name__} "
            "optimizer is set by a schedule. Compile with a number, or leave the callback out."
        )


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(0, 0.1)
    except TypeError:
        return False
    except ValueError:  # builtins without a signature
        return True
    return True
