"""Penalties on weights in Keras's words; `engine.reference.regularizers` computes.

Your own: subclass `Regularizer` with `value(w)` and `gradient(w)`.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn._configurable import Configurable
from kernelearn.engine.reference.regularizers import REGULARIZERS as ENGINE_REGULARIZERS
from kernelearn.errors import ArgumentError
from kernelearn.registry import Registry

REGULARIZERS = Registry("regularizer")


class Regularizer(Configurable):
    """Base of all regularisers: `regularizer(w)` gives the penalty that is added to the loss, a float.

    Attributes:
        kind: the engine's name of the penalty, "custom" for a class of your own.
    """

    kind: ClassVar[str] = "custom"

    def attrs(self) -> dict[str, Any]:
        """The attributes of the engine's penalty, JSON-able."""
        return {}

    def value(self, w: NDArray[Any]) -> float:
        """The penalty of the weights `w`."""
        raise NotImplementedError(f"{type(self).__name__} must define value(self, w).")

    def gradient(self, w: NDArray[Any]) -> NDArray[Any]:
        """Its derivative by `w`, of the shape of `w`."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient(self, w).")

    def __call__(self, w: ArrayLike) -> float:
        weights = np.asarray(getattr(w, "value", w))
        return self.value(weights if weights.dtype.kind == "f" else weights.astype(config.floatx()))


# What `get` takes: a name, a config, a class or an object.
RegularizerLike = str | dict[str, Any] | type[Regularizer] | Regularizer | None


class _EngineRegularizer(Regularizer):
    """A penalty that the engine knows."""

    def value(self, w: NDArray[Any]) -> float:
        return ENGINE_REGULARIZERS[self.kind].value(w, **self.attrs())

    def gradient(self, w: NDArray[Any]) -> NDArray[Any]:
        return ENGINE_REGULARIZERS[self.kind].gradient(w, **self.attrs())


def _factor(name: str, number: Any) -> float:
    """A factor as a float; ArgumentError unless it is a finite number, 0 or greater."""
    if isinstance(number, bool) or not isinstance(number, int | float | np.number):
        raise ArgumentError(f"{name} must be a number, got {number!r}.")
    if not 0 <= number < float("inf"):
        raise ArgumentError(f"{name} must be finite and not negative, got {number!r}.")
    return float(number)


@REGULARIZERS.register("l1")
class L1(_EngineRegularizer):
    """l1 times the sum of absolute values.

    >>> L1(0.5)([1.0, -3.0])
    2.0
    """

    kind = "l1l2"

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("l1", l1)

    def attrs(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": 0.0}


@REGULARIZERS.register("l2")
class L2(_EngineRegularizer):
    """l2 times the sum of squares, without a factor 1/2 (PyTorch's SGD weight_decay is 2 * l2)."""

    kind = "l1l2"

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("l2", l2)

    def attrs(self) -> dict[str, Any]:
        return {"l1": 0.0, "l2": self.l2}


@REGULARIZERS.register("l1_l2", "l1l2")
class L1L2(_EngineRegularizer):
    """l1 times the sum of absolute values plus l2 times the sum of squares; None counts as 0."""

    kind = "l1l2"

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("l1", l1 or 0.0)
        self.l2 = _factor("l2", l2 or 0.0)

    def attrs(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


@REGULARIZERS.register("orthogonal_regularizer")
class OrthogonalRegularizer(_EngineRegularizer):
    """Pushes vectors apart: factor times the mean |cosine| of all pairs of rows or columns.

    Args:
        mode: "rows" or "columns" of a matrix. A convolution kernel counts as the matrix (rest, filters), so
            that "columns" compares its filters; Keras takes matrices only.
    """

    kind = "orthogonal"

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ArgumentError(f"mode must be 'rows' or 'columns', got {mode!r}.")
        self.factor = _factor("factor", factor)
        self.mode = mode

    def attrs(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


def get(identifier: Any) -> Any:
    """The regulariser that a name, a config, a class or an object stands for; None stays None.

    Raises: UnknownNameError; ArgumentError, also for a function, whose gradient is not known.
    """
    if isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    return REGULARIZERS.get(identifier)


def penalty_attrs(rule: Any) -> dict[str, Any]:
    """Attributes of the operators of penalties for a regulariser."""
    return (
        {"kind": rule.kind, "custom": rule} if rule.kind == "custom" else {"kind": rule.kind, **rule.attrs()}
    )


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """The JSON config of a regulariser."""
    return REGULARIZERS.serialize(regularizer)


def deserialize(config: dict[str, Any]) -> Regularizer:
    """The regulariser of a config made by `serialize`."""
    regularizer: Regularizer = REGULARIZERS.get(config)
    return regularizer
