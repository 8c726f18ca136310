"""What all metrics share: a state that grows batch by batch, and means over samples.

Your own metric: subclass `Metric` with `update_state` and `result`, numbers kept by `add_variable` or in
`self.state`;
or `MeanMetric` with `values(y_true, y_pred)`; or give `compile` a function of (y_true, y_pred).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import initializers
from kernelearn._configurable import Configurable
from kernelearn.engine.variable import Variable, ViewVariable
from kernelearn.errors import ArgumentError
from kernelearn.initializers.base import InitializerLike
from kernelearn.losses.base import expanded_weight, leading_weight
from kernelearn.metrics.variables import MetricVariable
from kernelearn.registry import Registry
from kernelearn.tracing import read_later, updated_later

METRICS = Registry("metric")
_ADDED = "variable:"  # what a state calls the variables that `add_variable` made


class MetricOptions(TypedDict, total=False):
    """What every metric takes besides its arguments, as in Keras: metrics add up in float64."""

    dtype: str | None


class Metric(Configurable):
    """Base of all metrics.

    Args:
        name: the key in logs and history; by default the class's `default_name`.
    Attributes:
        state: name to number or array; all that a metric remembers. `initial_state()` gives its start.
        higher_is_better: True, False or None (not known); what "best" means for this metric.
    """

    default_name: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = None
    # Metrics add up in float64, whatever the type of the numbers that they are given.
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {"dtype": (None, "float32", "float64")}

    def __init__(self, name: str | None = None, **keras_options: Unpack[MetricOptions]) -> None:
        self.refuse_rest(keras_options)
        self.name = name or self.default_name or type(self).__name__.lower()
        self.state: dict[str, Any] = {}
        self._added: list[MetricVariable] = []

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: InitializerLike = "zeros",
        dtype: str | None = None,
        aggregation: str | None = None,
        name: str | None = None,
    ) -> MetricVariable:
        """A number or array that the metric keeps, as in Keras: `self.total.assign(self.total + value)`.

        Args:
            aggregation: of no effect: there is one process.
        """
        start = np.asarray(initializers.get(initializer)(tuple(shape), dtype=dtype or "float32"))
        made = MetricVariable(start.astype(dtype or "float32"), name or f"variable_{len(self._added)}")
        self._added.append(made)
        return made

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: InitializerLike = "zeros",
        dtype: str | None = None,
        name: str | None = None,
    ) -> MetricVariable:
        """The older name of `add_variable`."""
        return self.add_variable(shape, initializer, dtype, None, name)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, wrapped in (("update_state", updated_later), ("result", read_later)):
            if name in cls.__dict__:
                setattr(cls, name, wrapped(cls.__dict__[name]))

    def initial_state(self) -> dict[str, Any]:
        """The state before the first batch."""
        return {}

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take in a batch.

        Args:
            y_true: targets.
            y_pred: predictions, the first axis counts samples.
            sample_weight: (n,) or more leading axes of the targets; default all ones.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update_state.")

    def result(self) -> Any:
        """The metric of everything taken in since the last reset: a float or an array."""
        raise NotImplementedError(f"{type(self).__name__} must define result.")

    def reset_state(self) -> None:
        """Forget everything: called at the start of every epoch."""
        self.state = self.initial_state()
        for variable in self._added:
            variable.assign(variable.first)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the state as arrays, from which `set_state` goes on exactly where this metric is."""
        own = {name: np.array(value) for name, value in self.state.items()}
        return {**own, **{f"{_ADDED}{v.name}": v.numpy() for v in self._added}}

    def set_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Put back what `get_state` gave.

        Raises: ArgumentError if it belongs to another metric.
        """
        added = {f"{_ADDED}{variable.name}": variable for variable in self._added}
        expected = {*self.initial_state(), *added}
        if not expected <= set(state):
            raise ArgumentError(f"The state of {self.name} needs {sorted(expected)}, got {sorted(state)}.")
        for name, variable in added.items():
            variable.assign(state[name])
        arrays = {name: np.array(value) for name, value in state.items() if name not in added}
        self.state = {name: array if array.ndim else array.item() for name, array in arrays.items()}

    @property
    def variables(self) -> list[Variable]:
        """The state as variables, as in Keras: reading gives what it is now, assigning sets it."""
        own: list[Variable] = [
            ViewVariable(np.array(value), name, functools.partial(self.state.__setitem__, name))
            for name, value in self.state.items()
        ]
        return [*own, *self._added]

    @property
    def dtype(self) -> str:
        """The type in which metrics add up."""
        return "float64"

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Take in a batch and give the result so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The metric that `get_config` described; the dtype in configs of Keras has no meaning here."""
        return cls(**{name: value for name, value in config.items() if name != "dtype"})


def broadcast_weight(weight: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Sample weights repeated along the trailing axes of `shape`; None stays None."""
    return None if weight is None else np.broadcast_to(expanded_weight(weight, shape), shape)


def _total(values: NDArray[Any]) -> float:
    if values.dtype == bool:
        return float(np.count_nonzero(values))
    return float(values.sum(dtype=np.float64))


def sum_and_count(values: NDArray[Any], sample_weight: ArrayLike | None) -> tuple[float, float]:
    """Weighted sum over samples of the mean within each sample, and the sum of the weights."""
    if values.ndim == 0:
        weight = leading_weight(1.0 if sample_weight is None else sample_weight, ())
        return float(values) * float(weight), float(weight)
    samples = values.shape[0]
    if not values.size:
        return 0.0, 0.0
    if sample_weight is None:
        return _total(values) * (samples / values.size), float(samples)
    weights = leading_weight(sample_weight, values.shape)
    values = values.reshape(*weights.shape, -1).mean(axis=-1, dtype=np.float64)
    share = samples / weights.size
    return float((values * weights).sum()) * share, float(weights.sum()) * share


class MeanMetric(Metric):
    """Base of the metrics that are a mean over samples of something computed for each of them."""

    def __init__(self, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"total": 0.0, "count": 0.0}

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        """Numbers or booleans, first axis the samples; further axes are averaged."""
        raise NotImplementedError(f"{type(self).__name__} must define values(self, y_true, y_pred).")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        self.add(self.values(np.asarray(y_true), np.asarray(y_pred)), sample_weight)

    def add(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Take in values that were computed elsewhere, for example by the training step."""
        total, count = sum_and_count(np.asarray(values), sample_weight)
        self.state["total"] += total
        self.state["count"] += count

    def result(self) -> Any:
        return self.state["total"] / self.state["count"] if self.state["count"] else 0.0


@METRICS.register("mean")
class Mean(MeanMetric):
    """Weighted mean of the values given to `update_state(values, sample_weight)`.

    >>> Mean()([1.0, 3.0])
    2.0
    """

    default_name = "mean"

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:  # type: ignore[override]
        self.add(np.asarray(values, np.float64), sample_weight)

    def __call__(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:  # type: ignore[override]
        """Take in values and give the mean so far."""
        self.update_state(values, sample_weight)
        return self.result()


@METRICS.register("sum")
class Sum(Metric):
    """Weighted sum of the values given to `update_state(values, sample_weight)`."""

    default_name = "sum"

    def __init__(self, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"total": 0.0}

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:  # type: ignore[override]
        array = np.asarray(values, np.float64)
        weights = broadcast_weight(sample_weight, array.shape)
        self.state["total"] += float(np.sum(array if weights is None else array * weights))

    def result(self) -> float:
        return float(self.state["total"])

    def __call__(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:  # type: ignore[override]
        """Take in values and give the sum so far."""
        self.update_state(values, sample_weight)
        return self.result()


class MeanMetricWrapper(MeanMetric):
    """The mean of a function `fn(y_true, y_pred, **arguments)` that gives a value per sample."""

    def __init__(self, fn: Callable[..., ArrayLike], name: str | None = None, **arguments: Any) -> None:
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__))
        self.fn = fn
        self.arguments = arguments

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.fn(y_true, y_pred, **self.arguments))
