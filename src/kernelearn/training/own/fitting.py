"""A `train_step` or `test_step` of the model's own, as `fit` and `evaluate` run it: traced for each shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.metrics import Mean
from kernelearn.parallel import world
from kernelearn.training.own.forms import put_together, taken_apart
from kernelearn.training.own.functions import OwnFunction

if TYPE_CHECKING:
    from kernelearn.training.own.sharing import InShards
    from kernelearn.training.trainer import Trainer

_METHODS = {"train": "train_step", "test": "test_step"}
# Names in the code of steps that are written for another package.
_FOREIGN = {
    "GradientTape": "with GradientTape",
    "stateless_call": "with JAX's stateless calls",
    "stateless_apply": "with JAX's stateless calls",
    "zero_grad": "for PyTorch",
    "backward": "for PyTorch",
}


def overrides(model: Any, method: str) -> bool:
    """Whether the class of a model defines a method of a trainer itself."""
    found = getattr(type(model), method, None)
    return found is not None and not getattr(found, "__module__", "").startswith("kernelearn.")


class OwnSteps:
    """The steps that a model defines itself.

    Args:
        model: that they belong to.
    Attributes:
        loss: the mean of what the default `train_step` and `test_step` make smaller.
    """

    def __init__(self, model: Trainer) -> None:
        self._model = model
        self._functions: dict[str, OwnFunction] = {}
        self._shared: InShards | None = None
        self.loss = Mean(name="loss")

    def has(self, kind: str) -> bool:
        """Whether a "train" or "test" step is the model's own."""
        return kind in _METHODS and (
            overrides(self._model, _METHODS[kind]) or overrides(self._model, "compute_metrics")
        )

    def run(self, kind: str, data: Any, seed: int, number: int) -> dict[str, Any]:
        """What a step gives for a batch: logs by name.

        Args:
            data: as `data_of` makes it.
            seed, number: of random numbers.
        Raises: ArgumentError unless it gives a dict of numbers.
        """
        count = world.shards_of(self._model.programs.shards) if kind == "train" else 1
        if count > 1:
            logs = self._in_shards(count).run((data,), seed, number)
        else:
            logs = self._function(kind).run_as((data,), seed, number)
        if not isinstance(logs, Mapping):
            raise ArgumentError(
                f"{self._name(kind)} must give a dict of logs, such as {{'loss': loss}}; it gave {logs!r}."
            )
        return {str(name): _plain(value) for name, value in logs.items()}

    def _in_shards(self, count: int) -> InShards:
        """The training step, in so many shards."""
        from kernelearn.training.own.sharing import InShards
        from kernelearn.training.steps.shard_run import Shards

        found, exchange = self._shared, world.exchange()
        if found is None or (found.shards.count, found.shards.exchange) != (count, exchange):
            of_all = [layer for layer in self._model.flat_layers() if getattr(layer, "synchronized", False)]
            moving = tuple(layer.moving_mean for layer in of_all)
            shards = Shards(count, exchange, moving_means=moving)
            found = self._shared = InShards(self._function("train"), shards)
        return found

    def names(self, kind: str, data: Any) -> list[str]:
        """The names that a step reports, from tracing it alone."""
        form = self._function(kind).form_of((data,))
        return [str(name) for name in form[1]] if form is not None and form[0] == "dict" else []

    def _function(self, kind: str) -> OwnFunction:
        if kind not in self._functions:
            method: Callable[..., Any] = getattr(self._model, _METHODS[kind])
            self._check_code(kind, method)
            engine = self._model.programs.engine
            self._functions[kind] = OwnFunction(method, self._name(kind), engine, self._model.policy)
        return self._functions[kind]

    def _name(self, kind: str) -> str:
        return f"{type(self._model).__name__}.{_METHODS[kind]}"

    def _check_code(self, kind: str, method: Callable[..., Any]) -> None:
        """Raise ArgumentError for code that is plainly another package's."""
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        found = next((name for name in _FOREIGN if code is not None and name in code.co_names), None)
        if found is not None:
            raise ArgumentError(
                f"{self._name(kind)} is written {_FOREIGN[found]}. Here a step is traced: compute the loss "
                "with models and functions of kernelearn.ops, then loss = kernelearn.minimize(loss, "
                "optimizer=..., variables=...); or value, gradients = kernelearn.value_and_grad(f, "
                "variables=...)(...) and optimizer.apply_gradients(zip(gradients, variables))."
            )


def data_of(x: Any, y: Any, weight: Any) -> Any:
    """A batch as Keras hands it to `train_step`: x alone, (x, y) or (x, y, sample_weight)."""
    parts = [_leaves(part) for part in (x, y, weight)]
    if y is None and weight is None:
        return parts[0] if not isinstance(x, list | tuple) else (parts[0],)
    return tuple(parts[:2]) if weight is None else tuple(parts)


def _leaves(value: Any) -> Any:
    """Arrays with whole numbers as int32 where they fit, as in Keras."""
    if value is None:
        return None
    leaves, form = taken_apart(value)
    return put_together([_narrow(np.asarray(leaf)) for leaf in leaves], form)


def _narrow(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iu" or (array.size and max(array.max(), -array.min()) >= 2**31):
        return array
    return array.astype("int32")


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()
