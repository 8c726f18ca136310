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
        tracker = getattr(model, "_loss_tracker", None)
        variables = () if tracker is None else (tracker.total, tracker.count)
        self._numbers = [Number(model, "metrics_variables", v, backend) for v in variables]
        self._is_said = len(self._numbers) == 2 and all(number.is_known for number in self._numbers)
        self._before = 0.0, 0.0

    def begin_epoch(self) -> None:
        """Sums begin at 0."""
        self._before = (0.0, 0.0)

    def wait(self) -> None:
        """Until the step has been computed: JAX goes on before it has, and time is taken here."""
        for number in self._numbers:
            number.wait()

    def step(self) -> tuple[float, int]:
        """(loss, number of images) of the step that has been done; (NaN, 0) where Keras does not say."""
        if not self._is_said:
            return math.nan, 0
        total, count = (number.now() for number in self._numbers)
        sums, images = total - self._before[0], count - self._before[1]
        self._before = total, count
        return (sums / images, round(images)) if images > 0 else (math.nan, 0)


class Number:
    """A variable of one number, read behind every step.

    Args:
        kind: list of variables that it is one of, `"metrics_variables"` or `"optimizer_variables"`.
    """

    def __init__(self, model: Any, kind: str, variable: Any, backend: str) -> None:
        self._model, self._kind, self._variable = model, kind, variable
        self._read = _reader(backend)
        owner, name = _LISTS[kind]
        listed = getattr(owner(model), name, [])
        self._place = next((place for place, one in enumerate(listed) if one is variable), None)

    @property
    def is_known(self) -> bool:
        """Whether it is in the list, without which it cannot be found on JAX."""
        return self._place is not None

    def now(self) -> float:
        """What it is."""
        found = self._elsewhere()
        return self._read(self._variable) if found is None else float(np.asarray(found))

    def wait(self) -> None:
        """Until it has been computed, on JAX."""
        found = self._elsewhere()
        if found is not None:
            found.block_until_ready()

    def _elsewhere(self) -> Any:
        """Where it is not in its variable, as on JAX while it trains."""
        model = self._model
        if self._place is None or getattr(model, "_jax_state", None) is None or model._jax_state_synced:
            return None
        return model._jax_state[self._kind][self._place]


# Who has which of the lists, and as what.
_LISTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "metrics_variables": (lambda model: model, "metrics_variables"),
    "optimizer_variables": (lambda model: model.optimizer, "variables"),
}


def _reader(backend: str) -> Callable[[Any], float]:
    """How to read such a variable: Keras's own way is slow on TensorFlow."""
    if backend == "tensorflow":
        import tensorflow as tf

        read = tf.raw_ops.ReadVariableOp
        return lambda v: float(read(resource=v.value.handle, dtype=v.value.dtype).numpy())
    if backend == "torch":
        return lambda v: float(v.value.detach())
    return lambda v: float(np.asarray(v.value))
