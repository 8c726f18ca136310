"""What the callback of `watch_keras` does: when a step is recorded, and what is written of it.

    on_train_begin         the run is made
    on_train_batch_begin   of a recorded step: weights and optimiser are kept as they are, and a recorded step
                           (`steps`) stands in for the model's train_function
    on_train_batch_end     everything that is due is written

On all other steps two methods look at a flag, and read the loss that Keras has computed. Where it is known
that nothing will be due for some steps, their losses are kept, and written together (`_sleep`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.recording.capture.selection import NORM
from kernelearn.watching.book import WatchBook
from kernelearn.watching.keras import checks
from kernelearn.watching.keras.held import Held
from kernelearn.watching.keras.holding import held_model
from kernelearn.watching.keras.losses import BatchLosses, Number
from kernelearn.watching.keras.names import Names
from kernelearn.watching.keras.probing import Probing
from kernelearn.watching.keras.rules import Rules
from kernelearn.watching.keras.steps import STEPS, RecordedStep, Taken
from kernelearn.watching.keras.uses import uses_of
from kernelearn.watching.opening import Opening, tried
from kernelearn.watching.sayings import Sayings, giving_up
from kernelearn.watching.seen import Array, SeenModel, SeenRule, SeenStep, SeenWeight
from kernelearn.watching.standing import Standing, weakly


class KerasWatcher(Standing):
    """A training by `fit` that is being watched.

    Args:
        opening: how the run is written.
        backend: of Keras.
    """

    def __init__(self, opening: Opening, backend: str, probe_images: Any) -> None:
        self._opening, self._backend = opening, backend
        self._probe_images = probe_images
        self._model: Any = None
        self._book: WatchBook | None = None
        self._sayings = Sayings("watch_keras", weakly(self.event))
        self._is_over = False
        self._held = Held()
        self._held_maps: Mapping[str, Array] | None = None
        self._probing: Probing | None = None
        self._step: RecordedStep | None = None
        self._seen_model: SeenModel | None = None
        self._epoch, self._iterations, self._rate, self._offset = 0, 0, math.nan, 0
        self._set_rate: Number | None = None
        self._asleep, self._untold = 0, list[SeenStep]()  # steps left, and those that were slept through

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self._opening.folder

    # --- what Keras calls

    def begin(self, model: Any) -> None:
        """Training begins.

        Raises: ArgumentError for what cannot be watched; StorageError for the folder.
        """
        if self._book is not None:  # a fit that ended with an error, or by an interrupt
            self.end("interrupted")
        if self._is_over:
            raise ArgumentError(
                f"watch_keras: the run {str(self._opening.folder)!r} is finished. Make another callback for "
                "another fit, with another run."
            )
        checks.check_model(model, self._backend)
        left = model.train_function
        if isinstance(left, RecordedStep):  # of a fit that ended with an error just before its step
            left.stand_back()
        self._model, self._losses = model, BatchLosses(model, self._backend)
        self._is_on = True

    def begin_epoch(self, epoch: int) -> None:
        """A pass through the data begins."""
        if self._is_on:
            self._guarded(self._wake)
            self._losses.begin_epoch()
            if self._book is not None:
                self._book.pause()
        self._epoch = epoch

    def begin_step(self) -> None:
        """A step is going to be done."""
        if self._is_on and self._is_ledger_due:
            self._guarded(self._prepare)

    def end_step(self) -> None:
        """A step has been done."""
        if self._asleep and self._is_on:
            self._guarded(self._keep_loss)
            return
        if self._step is not None:
            self._step.stand_back()
        if self._is_on and self._book is not None:
            self._guarded(self._record)

    def end_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """A pass through the data has ended."""
        if self._is_on and self._book is not None:
            self._guarded(lambda: self._record_epoch(epoch, logs))

    def end(self, kind: str = "finished") -> None:
        """Training has ended: everything is written and closed."""
        if self._step is not None:
            self._step.stand_back()
        if self._is_on:
            self._guarded(self._wake)
        was_on, self._is_on, self._is_over = self._is_on, False, True
        if self._book is not None and was_on:
            self._book.close(kind)

    @property
    def watched(self) -> Any:
        """The model; None before a training."""
        return self._model

    # --- before a step

    @property
    def _is_ledger_due(self) -> bool:
        book = self._book
        return book is None or book.is_ledger_due or not book.has_begun

    def _prepare(self) -> None:
        """Keep what there is before a recorded step, and let a recorded step stand in."""
        self._synchronise()
        if not self._model.built:
            return  # a model that its first batch builds is seen from the second on
        if isinstance(self._model.train_function, RecordedStep):
            raise ArgumentError(
                "watch_keras: this model is being watched already by another callback of this fit; leave one "
                "of them out."
            )
        if self._book is None:
            self._open()
        assert self._book is not None and self._step is not None
        began = self._book.now()
        self._seen_model = self._model_of_now()
        self._step.stand_in()
        self._book.aside(began)

    def _open(self) -> None:
        model, began = self._model, time.perf_counter()
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._names = names = Names(model)
        self._rules = Rules(model, names)
        rate = self._rules.set_rate
        if rate is not None:
            self._set_rate = Number(model, "optimizer_variables", rate, self._backend)
        held = held_model(model, names)
        if self._probe_images is not None:
            self._probing = tried("watch_keras", lambda: Probing(model, names, self._probe_images))
        self._book = self._opening.book(self._about(), model)
        self.stand()
        if held.config is not None:
            self._book.hold(held.config, names.shapes, held.compiled)
        else:
            self._sayings.say(
                f"The run does not hold the model: {held.why} Ledgers, updates, histories and the report "
                "work on it; what computes with the model (explain unit, delta, dense, field) does not."
            )
        if self._probing is not None:
            self._book.watch_probes(self._probing.images(), weakly(self._maps))
        self._step = STEPS[self._backend](model, names, self._book)
        self._book.set_apart(began)

    def _about(self) -> dict[str, Any]:
        import keras

        return {
            "model": None,
            "metadata": {
                "program": f"Keras {keras.__version__} on {self._backend}",
                "module": type(self._model).__name__,
            },
            "weights": {path: list(shape) for path, shape in self._names.shapes.items()},
            "engine": f"Keras on {self._backend}",
            "policy": None,
        }

    def _maps(self) -> Mapping[str, Array]:
        """Feature maps of now, or of before the step that is being recorded."""
        assert self._probing is not None
        return self._probing.maps() if self._held_maps is None else self._held_maps

    def _model_of_now(self) -> SeenModel:
        """What is known before a step; all arrays are kept: Keras changes them before they are due."""
        names, rules, held = self._names, self._rules, self._held
        trained = {id(v) for v in self._model.trainable_variables}
        paths = [path for path, v in names.variables.items() if id(v) in trained]
        found = {path: self._held_rule(path, rules.of(path)) for path in paths}
        weights = {path: self._reader(path) for path in names.variables}
        held.keep(weights | {f"{p}/{s}": read for p in paths for s, read in rules.of(p).slots.items()})
        self._held_maps = None if self._probing is None else self._probing.maps()
        self._iterations, self._rate, self._scale = rules.done(), rules.rate(), rules.scale()
        assert self._book is not None
        self._offset = self._book.step - self._iterations
        seen = {path: SeenWeight(names.shapes[path], held.reader(path, weights[path])) for path in weights}
        return SeenModel(seen, found, rules.about(), names.changing, self._offset, has_numbers=False)

    def _reader(self, path: str) -> Callable[[], Array]:
        names = self._names
        return lambda: names.value(path)

    def _held_rule(self, path: str, rule: SeenRule) -> SeenRule:
        slots = {name: self._held.reader(f"{path}/{name}", read) for name, read in rule.slots.items()}
        return replace(rule, slots=slots)

    def _synchronise(self) -> None:
        """On JAX the variables of a model are elsewhere while it trains."""
        if self._backend == "jax":
            self._model.jax_state_sync()

    # --- behind a step

    def _record(self) -> None:
        book, model = self._book, self._seen_model
        assert book is not None
        self._losses.wait()
        book.arrive()
        self._seen_model = None
        loss, rows = self._losses.step()
        if model is None:
            self._record_plain(book, loss, rows)
            return
        self._synchronise()
        if self._rules.done() == self._iterations:
            self._release()
            book.event("step skipped")
            return
        seen = self._seen(loss, rows)
        book.prepare(model, seen)
        self._release()
        book.record(seen)
        self._sleep()

    def _sleep(self) -> None:
        """Keep losses alone until something may be due."""
        assert self._book is not None
        self._asleep = self._book.free_steps_to_tell

    def _keep_loss(self) -> None:
        """A step has been done of which nothing else is due."""
        book = self._book
        assert book is not None
        began = book.now()
        loss, rows = self._losses.step()
        step = book.step + 1 + len(self._untold)
        self._untold.append(SeenStep(rows, self._rate_of(step), loss, self._epoch))
        self._asleep -= 1
        book.aside(began)
        if not self._asleep:
            self._wake()

    def _wake(self) -> None:
        """Tell of the steps that have passed."""
        told, self._asleep, self._untold = self._untold, 0, []
        if told and self._book is not None:
            self._book.slept_through(told)

    def _rate_of(self, step: int) -> float:
        """Of a step of the run; NaN where it is computed by something that is not known here."""
        if self._set_rate is None:
            return self._rules.scheduled_rate(step - self._offset)
        return self._set_rate.now()

    def _record_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        book = self._book
        assert book is not None
        self._wake()
        began = book.now()
        self._synchronise()
        book.end_epoch(epoch, {n: float(v) for n, v in logs.items() if np.ndim(v) == 0})
        book.aside(began)

    def _record_plain(self, book: WatchBook, loss: float, rows: int) -> None:
        """A step without a ledger."""
        if not book.has_begun:
            book.skip()
            return
        if book.due:
            self._synchronise()
        book.record(SeenStep(rows, self._rate_of(book.step + 1), loss, self._epoch))
        self._sleep()

    def _release(self) -> None:
        self._held.release()
        self._held_maps = None

    def _seen(self, loss: float, rows: int) -> SeenStep:
        """What came of the step that was recorded."""
        step = self._step
        assert step is not None
        taken = step.taken
        if taken is None:
            self._sayings.say(
                f"This step cannot be looked at ({type(step.error).__name__}: {step.error}): weights and "
                "updates are recorded, without gradients and ledgers."
            )
            return SeenStep(rows, self._rate, loss, self._epoch)
        uses, unmatched = uses_of(taken, self._names, self._held.arrays, self._scale)
        self._tell(uses, unmatched, taken)
        gradients: dict[str, Array] = {
            path: g / np.float32(self._scale) for path, g in taken.gradients.items()
        }
        clipping = self._rules.clipping
        if clipping is not None and clipping[0] == "clip_by_global_norm":
            squares = (float(np.vdot(g.astype(np.float64), g)) for g in gradients.values())
            gradients[NORM] = np.asarray(math.sqrt(sum(squares)), np.float32)
        rows = rows if taken.inputs is None else len(taken.inputs)
        exact = taken.loss / self._scale
        return SeenStep(
            rows,
            self._rate,
            exact if math.isfinite(exact) else loss,
            self._epoch,
            labels=class_numbers(taken.targets, rows),
            gradients=gradients,
            uses=uses,
        )

    def _tell(self, uses: Mapping[str, Any], unmatched: list[str], taken: Taken) -> None:
        if unmatched:
            self._sayings.say(
                f"The inputs of {', '.join(unmatched)} cannot be told apart by image: there is no ledger of "
                "them."
            )
        kernels = [p for p in taken.gradients if len(self._names.shapes[p]) > 1]
        unseen = [path for path in kernels if path not in uses and path not in unmatched]
        if unseen:
            self._sayings.say(
                f"How {', '.join(unseen[:4])} ({len(unseen)} in all) are used is not seen: no convolution or "
                "matrix product has them as its kernel, or it is done inside of a loop. Their weights, "
                "gradients and updates are recorded, without ledgers."
            )

    # --- what happens in the user's training

    def _guarded(self, action: Callable[[], Any]) -> None:
        """Do it; its errors end the recording and not the training, but for those before the first step."""
        try:
            action()
        except Exception as error:
            if isinstance(error, KernelearnError) and self._book is None:
                raise
            giving_up("watch_keras", error)
            with contextlib.suppress(Exception):
                self.end("interrupted")
            self._is_on = False


def class_numbers(targets: Array | None, rows: int) -> Array | None:
    """(n,) class numbers of a batch: from whole numbers, or from one-hot rows; None for other targets."""
    if targets is None or len(targets) != rows:
        return None
    flat = targets.reshape(rows, -1)
    if flat.shape[1] == 1:
        values = flat[:, 0]
        is_class = values.dtype.kind in "iu" or bool(
            (values == np.round(values)).all() and (values >= 0).all()
        )
        return values.astype(np.int64) if is_class else None
    is_hot = targets.ndim == 2 and bool(((flat == 0) | (flat == 1)).all() and (flat.sum(1) == 1).all())
    return flat.argmax(1).astype(np.int64) if is_hot else None
