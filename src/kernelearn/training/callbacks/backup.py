"""Keep a run safe: its whole state on the disk, from which the same program goes on when started again."""

import atexit
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.storage import PathLike, check_writable, clean_temporaries
from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.callbacks.model_checkpoint import BatchCounter
from kernelearn.training.checkpoint import load_checkpoint, read_about, save_checkpoint
from kernelearn.training.fingerprint import Fingerprint, differences, doubts, rate_text
from kernelearn.training.interrupts import Interrupts

FILE_NAME = "checkpoint.kernelearn"
PREVIOUS_NAME = "checkpoint.previous.kernelearn"
FINISHED_SUFFIX = ".finished.kernelearn"
_MARGIN_BYTES = 1_000_000
# Last states of trainings that this process has ended -> its number.
_finished_here: dict[Path, int] = {}


class BackupAndRestore(Callback):
    """Saves the state of the run, and goes on from it when the same program is started again.

    A run that was killed, even with kill -9, and started again ends with bitwise the weights and the history
    of one that never stopped: weights, optimizer, random state, position in the epoch and the state of all
    callbacks are saved together, in one file that is replaced whole.

    A backup is refused where another training made it: with other data, weights or validation data, another
    network (automatic names do not matter), loss, metrics, optimizer, learning rate, batch size, seed or
    order; the message says what differs. A learning rate that was changed during the training is part of the
    saved state.

    Training that has ended is safe too. The last state moves to a file beside the folder,
    `backup_dir.finished.kernelearn`, which is deleted when the model is saved (`save` or `save_weights`),
    when the next `fit` begins, or when the program ends without an error. A program that is killed before
    that, and started again, gets the trained model from it at once: `fit` trains nothing more and returns
    the same history.

    Ctrl-C (and SIGTERM, as batch systems send it) ends the run after the batch that is being trained, with
    its state saved; `fit` then raises KeyboardInterrupt (SystemExit with code 143). A second Ctrl-C stops at
    once, without saving.

    Args:
        backup_dir: folder of this run alone; made if missing.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: keep the state before the last one too, for when a disk damages files.
        delete_checkpoint: delete the folder when the run has ended by itself, as above. False keeps it, with
            the state behind the last step, from which a training with more epochs goes on.
    Raises: ArgumentError, also before the first step if the saved state belongs to another training;
        StorageError before the first step if the folder cannot be written or the disk is too full,
        FormatError if the saved state is damaged.
    """

    on_first_only: ClassVar[bool] = True

    runs_last: ClassVar[bool] = True

    def __init__(
        self,
        backup_dir: PathLike,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(backup_dir, str | os.PathLike) or not os.fspath(backup_dir):
            raise ArgumentError(
                f"BackupAndRestore: backup_dir must be the name of a folder, got {backup_dir!r}."
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.path = Path(backup_dir) / FILE_NAME
        self.previous_path = Path(backup_dir) / PREVIOUS_NAME
        folder = Path(os.path.abspath(backup_dir))
        self.finished_path = folder.with_name(folder.name + FINISHED_SUFFIX)
        self._fingerprint: Fingerprint = {}
        self._counter = BatchCounter("BackupAndRestore", save_freq)
        self._interrupts = Interrupts()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        _, arrays = self.model.training_state()
        state_bytes = sum(array.nbytes for array in arrays.values())
        # The new state is written beside the old one.
        check_writable(self.backup_dir, 2 * state_bytes + _MARGIN_BYTES)
        self._fingerprint = self.model.training_fingerprint()
        if self.finished_path in _finished_here:
            self._forget_finished()
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
        if not self.delete_checkpoint:
            self._save()
            return
        save_checkpoint(self.finished_path, self.model, self._others(), **self._about())
        _finished_here[self.finished_path] = os.getpid()
        self._delete()
        self.model.when_saved(self._forget_finished)

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
        candidates = (self.finished_path, self.path, self.previous_path)
        paths = [path for path in candidates if path.exists() and not self._is_of_another_end(path)]
        for path in paths:
            try:
                self._load(path)
            except FormatError as error:
                if path == paths[-1]:
                    message = f"{error} To train from the beginning, delete {str(path)!r}."
                    raise FormatError(message) from error
                warnings.warn(f"{error} Going on from the state before it.", UserWarning, stacklevel=2)
            else:
                return

    def _is_of_another_end(self, path: Path) -> bool:
        """Whether it is the last state of another training, which has ended: no reason to stop this one."""
        if path != self.finished_path:
            return False
        with suppress(FormatError):
            found = self._differences(read_about(path))
            if found:
                warnings.warn(
                    f"BackupAndRestore: {str(path)!r} is the end of another training ({'; '.join(found)}) "
                    "whose model was not saved. It stays there until this training ends.",
                    UserWarning,
                    stacklevel=2,
                )
            return bool(found)
        return False

    def _load(self, path: Path) -> None:
        self._check_same_run(path, read_about(path))
        load_checkpoint(path, self.model, self._others())
        if self.params.get("verbose"):
            state = self.model.fit_state
            print(f"Going on from {str(path)!r}: epoch {state.epoch + 1}, after {state.batch} batches.")

    def _check_same_run(self, path: Path, saved: dict[str, Any]) -> None:
        """Raise ArgumentError for the state of another training; warn of data that nobody can compare."""
        found = self._differences(saved)
        if found:
            raise ArgumentError(
                f"The training saved in {str(path)!r} is another one; what differs: {'; '.join(found)}. "
                "Go on with the same, give another backup_dir, or delete the saved state to begin anew."
            )
        for doubt in doubts(saved.get("fingerprint", {}), self._fingerprint):
            warnings.warn(
                f"BackupAndRestore goes on from {str(path)!r}, but cannot tell whether it is the same: "
                f"{doubt}.",
                UserWarning,
                stacklevel=2,
            )

    def _differences(self, saved: dict[str, Any]) -> list[str]:
        before = saved.get("fingerprint")
        if before is None:
            return self._older_differences(saved)
        return differences(before, self._fingerprint, saved.get("rate"))

    def _older_differences(self, saved: dict[str, Any]) -> list[str]:
        """What differs from a state that was saved before there were fingerprints."""
        now = {name: self.params.get(name) for name in ("steps", "batch_size")}
        return [
            f"{name} was {saved[name]} and is {value}"
            for name, value in now.items()
            if None not in (value, saved.get(name)) and value != saved[name]
        ]

    def _about(self) -> dict[str, Any]:
        return {
            "steps": self.params.get("steps"),
            "batch_size": self.params.get("batch_size"),
            "fingerprint": self._fingerprint,
            "rate": rate_text(self.model.optimizer.learning_rate, self.model.optimizer),
        }

    def _others(self) -> list[Callback]:
        return [c for c in self.callback_list or () if not isinstance(c, BackupAndRestore)]

    def _delete(self) -> None:
        for path in (self.path, self.previous_path):
            with suppress(FileNotFoundError):
                path.unlink()
        clean_temporaries(self.backup_dir)
        with suppress(OSError):  # other files are there: the folder stays
            os.rmdir(self.backup_dir)

    def _forget_finished(self) -> None:
        """The trained model is safe elsewhere, or nobody wants it."""
        with suppress(FileNotFoundError):
            self.finished_path.unlink()
        _finished_here.pop(self.finished_path, None)


@atexit.register
def _forget_finished_at_exit() -> None:
    """Delete the last states of trainings whose program ends as it should."""
    # NOTE: the interpreter sets it before this, if an exception ends the program.
    if hasattr(sys, "last_value"):
        return
    for path, process in _finished_here.items():
        if process == os.getpid():  # a forked child leaves them alone
            with suppress(OSError):
                path.unlink()
