"""Keep a run safe: its whole state on the disk, from which the same program goes on when started again."""

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.storage import PathLike, check_writable, clean_temporaries
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.callbacks.model_checkpoint import BatchCounter
from kernelearn.training.checkpoint import load_checkpoint, read_about, save_checkpoint
from kernelearn.training.interrupts import Interrupts

FILE_NAME = "checkpoint.kernelearn"
PREVIOUS_NAME = "checkpoint.previous.kernelearn"
_MARGIN_BYTES = 1_000_000


class BackupAndRestore(Callback):
    """Saves the state of the run, and goes on from it when the same program is started again.

    A run that was killed, even with kill -9, and started again ends with bitwise the weights and the history
    of one that never stopped: weights, optimizer, random state, position in the epoch and the state of all
    callbacks are saved together, in one file that is replaced whole.

    Ctrl-C (and SIGTERM, as batch systems send it) ends the run after the batch that is being trained, with
    its state saved; `fit` then raises KeyboardInterrupt (SystemExit with code 143). A second Ctrl-C stops at
    once, without saving.

    Args:
        backup_dir: folder of this run alone; made if missing.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: keep the state before the last one too, for when a disk damages files.
        delete_checkpoint: delete the state when the run has ended by itself.
    Raises: ArgumentError; before the first step StorageError if the folder cannot be written or the disk is
        too full, FormatError if the saved state is damaged or belongs to another run.
    """

    runs_last = True

    def __init__(
        self,
        backup_dir: PathLike,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ArgumentError("BackupAndRestore: backup_dir is empty; give the name of a folder.")
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.path = Path(backup_dir) / FILE_NAME
        self.previous_path = Path(backup_dir) / PREVIOUS_NAME
        self._counter = BatchCounter("BackupAndRestore", save_freq)
        self._interrupts = Interrupts()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        _, arrays = self.model.training_state()
        state_bytes = sum(array.nbytes for array in arrays.values())
        # The new state is written beside the old one.
        check_writable(self.backup_dir, 2 * state_bytes + _MARGIN_BYTES)
        self._restore()
        self._interrupts.watch()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        is_due = self._counter.is_due()
        if is_due or self._interrupts.requested:
            self._save()
        self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch" or self._interrupts.requested:
            self._save()
        self._stop_if_asked()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()
        if self.delete_checkpoint:
            self._delete()

    def close(self) -> None:
        self._interrupts.stop_watching()

    def _stop_if_asked(self) -> None:
        if self._interrupts.requested:
            print(f"Stopped. The run is saved in {self.backup_dir!r}: start the same program to go on.")
            self._interrupts.deliver()

    def _save(self) -> None:
        if self.double_checkpoint and self.path.exists():
            os.replace(self.path, self.previous_path)
        save_checkpoint(self.path, self.model, self._others(), **self._about())

    def _restore(self) -> None:
        paths = [path for path in (self.path, self.previous_path) if path.exists()]
        for path in paths:
            try:
                self._load(path)
            except FormatError as error:
                if path == paths[-1]:
                    message = f"{error} To train from the beginning, delete the folder {self.backup_dir!r}."
                    raise FormatError(message) from error
                warnings.warn(f"{error} Going on from the state before it.", UserWarning, stacklevel=2)
            else:
                return

    def _load(self, path: Path) -> None:
        self._check_same_run(read_about(path))
        load_checkpoint(path, self.model, self._others())
        if self.params.get("verbose"):
            state = self.model.fit_state
            print(f"Going on from {str(path)!r}: epoch {state.epoch + 1}, after {state.batch} batches.")

    def _check_same_run(self, saved: dict[str, Any]) -> None:
        for name, value in self._about().items():
            if None not in (value, saved.get(name)) and value != saved[name]:
                raise ArgumentError(
                    f"The run saved in {self.backup_dir!r} has {name}={saved[name]}, this one has {value}, "
                    "so it cannot go on there. Use the same data and batch size, or another folder."
                )

    def _about(self) -> dict[str, Any]:
        return {name: self.params.get(name) for name in ("steps", "batch_size")}

    def _others(self) -> list[Callback]:
        return [c for c in self.callback_list or () if not isinstance(c, BackupAndRestore)]

    def _delete(self) -> None:
        for path in (self.path, self.previous_path):
            with suppress(FileNotFoundError):
                path.unlink()
        clean_temporaries(self.backup_dir)
        with suppress(OSError):  # other files are there: the folder stays
            os.rmdir(self.backup_dir)
