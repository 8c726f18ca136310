"""The loss of each step, from the mean over the epoch that Keras keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


class BatchLosses:
    """Differences of the sums that Keras's tracker of the loss holds.

    They are float32 there: the loss of step k of an epoch is known to about k * 1e-7 of itself.
    """

    def __init__(self, model: Any, backend: str) -> None:
        self._read = _reader(backend)
        self._model, self._before = model, (0.0, 0.0)
        tracker = getattr(model, "_loss_tracker", None)
        self._numbers = () if tracker is None else (tracker.total, tracker.count)
        ids = [id(v) for v in getattr(model, "metrics_variables", [])]
        self._places = [ids.index(id(v)) for v in self._numbers if id(v) in ids]

    def begin_epoch(self) -> None:
        """Sums begin at 0."""
        self._before = (0.0, 0.0)

    def wait(self) -> None:
        """Until the step has been computed: JAX goes on before it has, and time is taken here."""
        if self._places and self._are_elsewhere:
            import jax

            jax.block_until_ready(self._model._jax_state["metrics_variables"])

    @property
    def _are_elsewhere(self) -> bool:
        """Whether the numbers are not in their variables, as on JAX while it trains."""
        model = self._model
        return getattr(model, "_jax_state", None) is not None and not model._jax_state_synced

    def step(self) -> tuple[float, int]:
        """(loss, number of images) of the step that has been done; (NaN, 0) where Keras does not say."""
        if len(self._places) < 2:
            return math.nan, 0
        total, count = self._now()
        sums, images = total - self._before[0], count - self._before[1]
        self._before = total, count
        return (sums / images, round(images)) if images > 0 else (math.nan, 0)

    def _now(self) -> tuple[float, float]:
        if self._are_elsewhere:
            numbers = self._model._jax_state["metrics_variables"]
            values = [float(np.asarray(numbers[place])) for place in self._places]
        else:
            values = [self._read(v) for v in self._numbers]
        total, count = values
        return total, count


def _reader(backend: str) -> Callable[[Any], float]:
    """How to read a variable of one number, behind every step: Keras's own way is slow on TensorFlow."""
    if backend == "tensorflow":
        import tensorflow as tf

        read = tf.raw_ops.ReadVariableOp
        return lambda v: float(read(resource=v.value.handle, dtype=v.value.dtype).numpy())
    if backend == "torch":
        return lambda v: float(v.value.detach())
    return lambda v: float(np.asarray(v.value))
