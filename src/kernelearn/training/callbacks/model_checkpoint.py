"""Save the model, or its weights, every epoch or every so many batches."""

import os
import string
from typing import Any, ClassVar

from kernelearn.errors import ArgumentError
from kernelearn.formats.endings import check_own_ending
from kernelearn.storage import PathLike, check_writable, make_folder
from kernelearn.training.callbacks.base import KnownLogs, Logs
from kernelearn.training.callbacks.monitor import MonitorCallback


class BatchCounter:
    """Tells every how many batches something is due; goes on counting from one epoch to the next.

    Args:
        owner: name of the callback, for messages.
        every: number of batches, or "epoch" for never during an epoch.
    Raises: ArgumentError.
    """

    def __init__(self, owner: str, every: Any) -> None:
        if every != "epoch" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ArgumentError(f'{owner}: save_freq must be "epoch" or a number of batches, got {every!r}.')
        self.every = every
        self.seen = 0

    def is_due(self) -> bool:
        """Count a batch; whether it completes a round."""
        if self.every == "epoch":
            return False
        self.seen += 1
        if self.seen < self.every:
            return False
        self.seen = 0
        return True


class ModelCheckpoint(MonitorCallback):
    """Saves the model during training, each time as a whole file or not at all.

    Args:
        filepath: where to; may hold fields that are filled in: `{epoch}` (from 1), `{batch}` (from 1) and
            every name in the logs, with formats such as `"{epoch:02d}-{val_loss:.2f}.kernelearn"`.
        monitor: name in the logs that decides what is best.
        verbose: 1 prints what is saved.
        save_best_only: save only when the monitored value improves.
        save_weights_only: save by `model.save_weights` instead of `model.save`.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: value that has to be improved on before anything is saved.
    Raises: ArgumentError for a malformed `filepath`; StorageError before the first step if the folder cannot
        be written.
    """

    on_first_only: ClassVar[bool] = True

    state_names: ClassVar[tuple[str, ...]] = ("best",)

    def __init__(
        self,
        filepath: PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._counter = BatchCounter("ModelCheckpoint", save_freq)
        self._epoch = 0
        _check_fields(self.filepath)
        check_own_ending(self.filepath)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "seen": self._counter.seen}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._counter.seen = state.get("seen", 0)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # Fields are unknown yet, so only the part of the path before the first one can be checked.
        fixed = self.filepath.partition("{")[0]
        check_writable(os.path.dirname(fixed) or ".", _weight_bytes(self.model))

    def is_watching(self) -> bool:
        return self.save_best_only

    def check(self, known: KnownLogs) -> None:
        """Refuse fields of `filepath` that the logs will not have, and a model that cannot be saved.

        Raises: ArgumentError.
        """
        super().check(known)
        is_by_epoch = self.save_freq == "epoch"
        logs = {**(known.epoch if is_by_epoch else {"batch": 1, **known.batch})}
        if is_by_epoch and not known.validates_each_epoch:
            logs = {name: value for name, value in logs.items() if not name.startswith("val_")}
        if not (known.epoch_may_grow if is_by_epoch else known.batch_may_grow):
            self._path(0, logs)
        if not self.save_weights_only:
            self.model.check_savable()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._counter.is_due():
            self._save_if_wanted(self._epoch, {"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save_if_wanted(epoch, logs or {})

    def _save_if_wanted(self, epoch: int, logs: dict[str, Any]) -> None:
        path = self._path(epoch, logs)
        if not self.save_best_only:
            self._save(path, f"Epoch {epoch + 1}: saving model to {path}")
            return
        current, best = self.current(logs), self.best
        if current is None:
            self._save(path, f"Epoch {epoch + 1}: {self.monitor} is unknown, saving model to {path}")
        elif self.is_improvement(current, best):
            before = "None" if best is None else f"{best:.5f}"
            self.best = current
            change = f"{self.monitor} improved from {before} to {current:.5f}"
            self._save(path, f"Epoch {epoch + 1}: {change}, saving model to {path}")
        elif self.verbose > 0:
            print(f"Epoch {epoch + 1}: {self.monitor} did not improve from {best:.5f}")

    def _path(self, epoch: int, logs: dict[str, Any]) -> str:
        try:
            return self.filepath.format(**{"epoch": epoch + 1, **logs})
        except KeyError as error:
            raise ArgumentError(
                f"ModelCheckpoint: the field {error} of filepath {self.filepath!r} is not in the logs. "
                f"Available: {', '.join(['epoch', *logs])}."
            ) from error
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"ModelCheckpoint: filepath {self.filepath!r} asks for a format that a value does not have: "
                f"{error}."
            ) from error

    def _save(self, path: str, message: str) -> None:
        if self.verbose > 0:
            print(message)
        make_folder(os.path.dirname(path) or ".")
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)


def _check_fields(filepath: str) -> None:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(filepath) if field is not None]
    except ValueError as error:
        raise ArgumentError(f"ModelCheckpoint: filepath {filepath!r} is malformed: {error}.") from error
    for field in fields:
        if not field.isidentifier():
            raise ArgumentError(
                f"ModelCheckpoint: filepath {filepath!r} has the field {field!r}, expected a name "
                'in the logs, such as "{epoch}" or "{val_loss:.2f}".'
            )


def _weight_bytes(model: Any) -> int:
    return sum(weight.nbytes for weight in model.get_weights())
