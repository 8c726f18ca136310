"""Evaluate, predict and save with the moving averages of the weights, which an optimiser keeps."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback, Logs


class SwapEMAWeights(Callback):
    """Puts the moving averages in the place of the weights for evaluations and predictions, and back.

    Args:
        swap_on_epoch: put them there at the end of each epoch too, until the next begins, so that a
            `ModelCheckpoint` behind this callback saves them.
    Raises: ArgumentError before the first step, if the optimiser has no `use_ema=True`.

    >>> SwapEMAWeights(swap_on_epoch=True).swap_on_epoch
    True
    """

    state_names = ("is_swapped",)

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch

    @property
    def is_swapped(self) -> bool:
        """Whether the averages are in the place of the weights."""
        return bool(self.model.programs.is_averaged)

    @is_swapped.setter
    def is_swapped(self, value: bool) -> None:
        self.model.programs.is_averaged = bool(value)

    def _put(self, are_wanted: bool) -> None:
        if self.is_swapped != are_wanted:
            self.model.programs.swap_averages()

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if not model.programs.compiled_optimizer().use_ema:
            raise ArgumentError(
                "SwapEMAWeights needs moving averages of the weights: make the optimizer with use_ema=True."
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._put(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._put(True)

    def on_test_begin(self, logs: Any = None) -> None:
        self._put(True)

    def on_test_end(self, logs: Any = None) -> None:
        self._put(False)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._put(True)

    def on_predict_end(self, logs: Any = None) -> None:
        self._put(False)
