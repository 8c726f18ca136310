"""`Interventions`: the callback that does again, at the same steps, what was done to a training by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.recording import interventions as by_hand
from kernelearn.recording.interventions import Intervention
from kernelearn.recording.recorder import Recorder
from kernelearn.training.callbacks.base import Callback, KnownLogs, Logs


class Interventions(Callback):
    """Does interventions at the steps at which they were done before.

    A training with the same model, data, seed and interventions gives the same weights, bit for bit. Where a
    Recorder stands behind it, the run holds them as events again.

    Args:
        what: a recorded run, or a list of `Run.interventions`.
    Raises: ArgumentError for something else.

    >>> import numpy as np
    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Dense
    >>> model = Sequential([Dense(1, input_shape=(2,), name="dense")])
    >>> model.compile("sgd", "mse")
    >>> edit = Intervention("edited", 1, "dense", "kernel", (0, 0), (5.0,), (0.0,))
    >>> x, y = np.zeros((4, 2)), np.zeros(4)
    >>> _ = model.fit(x, y, batch_size=2, verbose=0, callbacks=[Interventions([edit])])
    >>> float(model.layers[0].kernel.numpy()[0, 0])
    5.0
    """

    def __init__(self, what: Any) -> None:
        super().__init__()
        found = getattr(what, "interventions", what)
        if not isinstance(found, Iterable) or not all(isinstance(one, Intervention) for one in found):
            raise ArgumentError(f"Interventions takes a recorded run or its interventions; got {what!r}.")
        self.interventions = list(found)
        self._waiting: list[Intervention] = []
        self._first = 0
        self._rate: Any = None

    def check(self, known: KnownLogs) -> None:
        """Refuse a Recorder that stands before it: it would already have looked at the step."""
        others = list(self.callback_list or [])
        before = others[: others.index(self)] if self in others else []
        if any(isinstance(one, Recorder) for one in before):
            raise ArgumentError("Interventions: put it before the Recorder in the list of callbacks.")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._waiting = sorted(self.interventions, key=lambda one: one.step)
        self._first = int(self.model.optimizer.iterations)
        self._rate = by_hand.rate_of(self.model.optimizer)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        recorder = next((one for one in self.callback_list or [] if isinstance(one, Recorder)), None)
        step = int(self.model.optimizer.iterations) - self._first
        while self._waiting and self._waiting[0].step <= step:
            done = self._waiting.pop(0)
            if done.step < step:
                continue  # before the step at which a resumed training goes on: its weights have it
            by_hand.do(self.model, done, self._rate)
            if recorder is not None:
                recorder.note(done.kind, **done.about())
                if done.kind in (by_hand.FROZEN, by_hand.UNFROZEN):
                    recorder.reselect()
