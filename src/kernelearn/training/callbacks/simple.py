"""Two small callbacks: stop at a loss that is not finite, and callbacks made of plain functions."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from kernelearn.errors import ArgumentError, NonFiniteError
from kernelearn.training.callbacks.base import HOOKS, Callback, Logs


class TerminateOnNaN(Callback):
    """Stops training quietly when the loss of a batch is NaN or infinite, as Keras's does.

    `fit` by itself stops with an error that names the layer and the first bad tensor; this callback is for
    code that passes `terminate_on_nan=False` and wants to go on after `fit`.

    Args:
        raise_error: raise NonFiniteError instead of stopping quietly.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or isfinite(loss):
            return
        if self.raise_error:
            raise NonFiniteError(f"The loss is {loss} after batch {batch}: training stopped.")
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback made of functions, each named after its hook.

    Args:
        on_train_begin, on_train_end: functions of (logs).
        on_epoch_begin, on_epoch_end: functions of (epoch, logs).
        on_train_batch_begin, on_train_batch_end: functions of (batch, logs).
        hooks: functions for any other hook.
    Raises: ArgumentError for a name that is no hook.

    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> callback.on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        super().__init__()
        named = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for hook, function in {**named, **hooks}.items():
            if hook not in HOOKS:
                raise ArgumentError(f"LambdaCallback: {hook!r} is no hook. Hooks: {', '.join(HOOKS)}.")
            if function is not None:
                setattr(self, hook, function)
