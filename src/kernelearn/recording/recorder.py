"""`Recorder`: the callback that writes a run folder while a model trains. It copies, it never recomputes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from kernelearn.errors import KernelearnError, StorageError
from kernelearn.recording.arguments import checked_count, checked_flag, checked_folder
from kernelearn.recording.capture.budgeted_writer import BudgetedWriter
from kernelearn.recording.capture.opening import AUTOMATIC
from kernelearn.recording.capture.selection import Selection, layer_of
from kernelearn.recording.capture.stepping import FOR_A_LEDGER, Stepping
from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.recording.files.writer import RunWriter
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike, check_writable, storage_error
from kernelearn.training.callbacks.base import Logs

_MARGIN_BYTES = 1_000_000


class Recorder(Stepping):
    """Records a training, step by step, in a folder that `kernelearn.recording.Run` reads.

    Step k is the k-th update: the weights at step k are those after it, step 0 is the initial state. Every
    step has its loss, metrics, learning rate and the numbers of its images; the rest comes as often as the
    arguments say. A run that is killed loses at most its last step. The training itself is bitwise the same
    with and without a Recorder.

    Args:
        run_dir: folder of the run alone; made if missing. A fit that goes on where the run ends (another fit
            of the model, or a resumed one) is added to it.
        kernels_every: record the weights of the layers every so many steps. None for every step, as long as
            recording takes no more than 5 % of the training's time; where it would, what was left to the
            Recorder comes less often after the first 32 steps, and the event "paced" says so.
        ledger_every: record the factors of the gradients (layer inputs and output gradients), and with them
            gradients, optimiser state and weights before and after, every so many steps and at the first.
            0 for never; None for twenty times in a fit, and every 500 steps, as far as the 5 % allow. With
            images of several sizes a ledger is of a batch of the size that most have: the next one that
                comes.
        maps_every: record feature maps of the probe images every so many steps; 0 and None as above.
        layers: names (or objects) of the layers to record, or "all". None chooses every trained layer with a
            convolution kernel, and the other trained layers of at most 4,096 numbers.
        probe_images: (images, ...) array as the model takes them, or how many to choose from the data (None:
            8); 0 for none.
        max_bytes: size that all files of the run may reach, those of earlier fits included. Where what was
            asked for does not fit, the schedule that takes the most room is halved, and a warning and an
            event say so. A run of less than 256 kB gets no SQL index.
        gradients_every: record gradients and optimiser state every so many steps; 0: at ledger steps only.
        snapshots_every: record all weights of the model at the end of every so many epochs.
        full_layers: names (or objects) of recorded layers, or "all": their weights, gradients and optimiser
            state are recorded at every step, so that every update of every weight is explained; () for none.
            None chooses the layers of at most 1,024 numbers, as far as a sixteenth of `max_bytes` and, in
            fits of more than 2,000 steps, the 5 % allow.
        overwrite: replace the run that is in the folder.
    Raises: ArgumentError; StorageError before the first step if the folder cannot be written or another
        process records there.

    >>> import tempfile
    >>> import numpy as np
    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D, Dense, Flatten
    >>> model = Sequential([Conv2D(2, 3, input_shape=(6, 6, 1), name="conv"), Flatten(), Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> x, y = np.zeros((8, 6, 6, 1), "float32"), np.ones((8, 3))
    >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=[Recorder(folder)])
    >>> from kernelearn.recording import Run
    >>> Run(folder).steps
    array([0, 1, 2])
    """

    on_first_only: ClassVar[bool] = True

    state_names: ClassVar[tuple[str, ...]] = ("run",)

    def __init__(
        self,
        run_dir: PathLike,
        kernels_every: int | None = None,
        ledger_every: int | None = None,
        maps_every: int | None = None,
        layers: Any = None,
        probe_images: Any = None,
        max_bytes: int = 2**30,
        *,
        gradients_every: int = 0,
        snapshots_every: int = 1,
        full_layers: Any = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.folder = checked_folder("Recorder", "run_dir", run_dir)
        count = partial(checked_count, "Recorder")
        self.wished = {
            Stream.KERNELS: AUTOMATIC if kernels_every is None else count("kernels_every", kernels_every, 1),
            Stream.GRADIENTS: count("gradients_every", gradients_every),
            Stream.FULL: AUTOMATIC if full_layers is None else 1,
            Stream.LEDGER: AUTOMATIC if ledger_every is None else count("ledger_every", ledger_every),
            Stream.MAPS: AUTOMATIC if maps_every is None else count("maps_every", maps_every),
            Stream.SNAPSHOTS: count("snapshots_every", snapshots_every, 1),
        }
        self.layers, self.full_layers, self.probe_images = layers, full_layers, probe_images
        self.max_bytes = count("max_bytes", max_bytes, 1)
        self.overwrite = checked_flag("Recorder", "overwrite", overwrite)

    # --- hooks

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.close()
        check_writable(self.folder, _MARGIN_BYTES)
        if not self.overwrite and (self.folder / MANIFEST).exists():
            RunWriter.reopen(self.folder).close()  # refuses now what could not be written later
        # A checkpoint that is restored behind this call says which run it belongs to.
        self.run, self._has_begun, self._has_failed, self._seen = None, False, False, 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # NOTE: not in on_train_begin, because a run is resumed between the two.
        if not (self._has_begun or self._has_failed):
            self._guarded(self._begin)
        if self._book is not None:
            self._book.timer.pause()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._book is not None:
            self._due = self._book.schedule.due(self._place.step + 1)
            if self._owes_ledger:
                self._due |= {Stream.LEDGER, Stream.GRADIENTS, *FOR_A_LEDGER}
            taken = self._book.selection
            self.model.watch_step(self._buffers(taken))
            if Stream.LEDGER in self._due:
                self.model.watch_step(taken.ledger_buffers, self._shapes)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        book = self._book
        if book is not None:
            book.timer.arrive(Stream.LEDGER in self._due)
            self._guarded(self._record_step, book, batch, logs or {})
            if book.timer.leave() and self._book is not None:
                self._guarded(book.save_time, self._place.step, self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._book is not None:
            self._guarded(self._record_epoch, self._book, epoch, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.run is not None and not (self._has_begun or self._has_failed or self.overwrite):
            # A training that was killed behind its last step and resumed: no epoch began, the run ends here.
            self._guarded(self._begin)
        if self._book is not None:
            self._guarded(self._end, self._book, "finished")
        self._release()

    def close(self) -> None:
        """Close the files; what was not recorded whole is removed."""
        if self._book is not None:
            self._guarded(self._end, self._book, "interrupted")
        self._release()

    # --- what others ask and tell it

    @property
    def last_step(self) -> int:
        """Number of updates recorded."""
        return self._place.step

    def note(self, kind: str, **about: Any) -> None:
        """Record an event at the last step, such as something that was done to the training by hand."""
        if self._book is not None:
            self._guarded(self._note, self._book, kind, about)

    def _note(self, book: BudgetedWriter[Selection], kind: str, about: Mapping[str, Any]) -> None:
        book.event(kind, self._place.step, **about)

    def reselect(self) -> None:
        """What is trained was changed between two steps: go on with records that fit."""
        if self._book is not None:
            self._guarded(self._reselect, self._book)

    def _reselect(self, book: BudgetedWriter[Selection]) -> None:
        asked = self._full
        if isinstance(asked, list | tuple):
            trained = {layer_of(p) for p, weight in self.model.weight_paths().items() if weight.trainable}
            self._full = tuple(n for n in asked if getattr(n, "name", n) in trained)
        self._open_segment(book, book.writer.streams[Stream.STEPS].layout.capacity)
        self._full = asked

    # --- where the disk fails

    def _guarded(self, action: Any, *arguments: Any) -> None:
        """Run an action that writes. If the disk fails, recording ends, says so, and training goes on."""
        try:
            action(*arguments)
        except OSError as error:
            is_ours = isinstance(error, StorageError)
            if is_ours and not self._has_begun:
                raise  # before the first step it is not too late to stop
            self._give_up(error if is_ours else storage_error(error, self.folder))
        except KernelearnError:
            self._release()
            raise

    def _give_up(self, error: Exception) -> None:
        self._has_failed = True
        self._release()
        warnings.warn(
            f"Recorder: {error} Recording ends at step {self._place.step}; training goes on without it. What "
            "is recorded can be read.",
            UserWarning,
            stacklevel=3,
        )

    def _release(self) -> None:
        # What computes feature maps is of this fit alone, and nothing that could be copied or pickled.
        book, self._book, self._probes = self._book, None, None
        if book is not None:
            with suppress(OSError):
                book.writer.close()
