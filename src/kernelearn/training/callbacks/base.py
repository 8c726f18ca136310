"""What a callback is: hooks that the training loop calls, with Keras's names and order.

A callback watches and may stop training or change the learning rate; it never computes a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from kernelearn._configurable import Checked

if TYPE_CHECKING:
    from kernelearn.training.callbacks.callback_list import CallbackList

Logs = dict[str, Any]

HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
    "on_test_begin",
    "on_test_end",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_predict_begin",
    "on_predict_end",
    "on_predict_batch_begin",
    "on_predict_batch_end",
)


@dataclass(frozen=True)
class KnownLogs:
    """What the logs of a `fit` will hold, as it is known before its first step.

    Attributes:
        batch: name -> a value of the kind that comes, in the logs of a batch.
        epoch: the same for the end of an epoch that ends with validation, if there is any.
        validates_each_epoch: whether "val_" values are there after every epoch.
        batch_may_grow, epoch_may_grow: whether a callback of the user's own may add names.
    """

    batch: Mapping[str, Any]
    epoch: Mapping[str, Any]
    validates_each_epoch: bool = False
    batch_may_grow: bool = False
    epoch_may_grow: bool = False


class Callback(Checked):
    """Base of all callbacks: override the hooks that you need.

    `logs` holds the running means of the epoch so far: "loss" first, then the metrics; at the end of an epoch
    also their `val_` values. Epochs and batches count from 0.

    Attributes:
        model: the model that is trained, from `set_model` on.
        params: what is known about the run: "verbose", "epochs", "steps" (None if unknown), "batch_size".
        callback_list: the list that this callback is in, or None.

    A callback that carries something from epoch to epoch lists the attributes in `state_names`: they are
    saved and restored by `BackupAndRestore`, so that a resumed run goes on as if it had never stopped.

    >>> class PrintLoss(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch}: loss {logs['loss']:.2f}")
    >>> PrintLoss().on_epoch_end(0, {"loss": 0.25})
    epoch 0: loss 0.25
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    # Only writes or prints: of several processes that train together, the first one has it alone.
    on_first_only: ClassVar[bool] = False
    # Called after all others: what saves the state of the other callbacks has to see them finished.
    runs_last: ClassVar[bool] = False
    # Names that it puts into the logs of an epoch.
    adds_to_logs: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}
        self.callback_list: CallbackList | None = None

    def set_model(self, model: Any) -> None:
        """Called before training with the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called before training with what is known about the run."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """What has to be kept to resume: numbers, strings, None, arrays, and lists and dicts of them."""
        return {name: getattr(self, name) for name in self.state_names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_state` gave; called after `on_train_begin`."""
        for name in self.state_names:
            if name in state:
                setattr(self, name, state[name])

    def check(self, known: KnownLogs) -> None:
        """Refuse what would fail later; called before `on_train_begin`, with what the logs will hold."""

    def close(self) -> None:
        """Release files and the terminal; called when training has ended, also by an error or Ctrl-C."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch; `logs` are those of that epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before the first batch of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after the last batch of an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation, also before the validation of an epoch."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation or validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of an evaluation or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of an evaluation or validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after `predict`."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `predict`."""


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback has its own version of a hook, in its class or set on the object."""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
