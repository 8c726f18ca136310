"""Feeds the progress display from the hooks of the loop."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

from kernelearn.training.callbacks.base import Callback, Logs
from kernelearn.training.progress import Display, ShownPass, Silent, make_display


class ProgressBar(Callback):
    """Shows epoch, batches, time left, images a second, loss and metrics, as `verbose` asks.

    Args:
        display: where to show; None chooses by `params["verbose"]` and by whether stdout is a terminal.
        clock: gives seconds.
    """

    on_first_only: ClassVar[bool] = True

    def __init__(
        self, display: Display | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__()
        self._given = display
        self._display: Display = display or Silent()
        self._clock = clock
        self._pass: ShownPass | None = None
        self._in_fit = False
        self._rate: float | None = None

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._display = self._given or make_display(params.get("verbose", "auto"))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True
        self._rate = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        epochs = self.params.get("epochs")
        self._start(f"Epoch {epoch + 1}/{epochs}" if epochs else f"Epoch {epoch + 1}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        may_move = "learning_rate" in logs or self._has_schedule()
        rate = logs.pop("learning_rate", self._learning_rate())
        has_moved = self._rate not in (None, rate)
        if self._pass is not None and rate is not None and (may_move or has_moved):
            logs["learning_rate"] = rate
        self._rate = rate
        self._finish(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False
        self.close()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._start("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._update(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._finish(logs)
            self.close()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._start("Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish(None)
        self.close()

    def close(self) -> None:
        self._in_fit = False
        self._display.close()

    def _learning_rate(self) -> float | None:
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else float(optimizer.learning_rate)

    def _has_schedule(self) -> bool:
        return getattr(getattr(self.model, "optimizer", None), "schedule", None) is not None

    def _start(self, title: str) -> None:
        self._pass = ShownPass(title, self.params.get("steps"), self.params.get("batch_size"), self._clock())
        self._pass.now = self._pass.started
        self._display.start(self._pass)

    def _update(self, batch: int, logs: Logs | None) -> None:
        shown = self._pass
        if shown is None:
            return
        if shown.done == 0:
            shown.first = batch  # not 0 where an epoch is resumed
        shown.done = batch + 1
        shown.now = shown.trained = self._clock()
        shown.values = logs or {}
        self._display.update(shown)

    def _finish(self, logs: Logs | None) -> None:
        shown = self._pass
        if shown is None:
            return
        shown.now = self._clock()
        shown.values = logs or {}
        self._display.finish(shown)
        self._pass = None
