"""Penalties on weights in Keras's words; `engine.reference.regularizers` computes.

Your own: a function of the weights that gives a number, or a subclass of `Regularizer` with `__call__(w)`,
written with functions of `kernelearn.ops`; it is traced and compiled with the step. Code in NumPy works where
a subclass defines `value(w)` and `gradient(w)`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kernelearn import config
from kernelearn._configurable import Configurable
from kernelearn._serializable import function_config, function_of, is_function_config
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.regularizers import REGULARIZERS as ENGINE_REGULARIZERS
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.registry import Registry
from kernelearn.tracing import Traced, tracing

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

    @property
    def is_traced(self) -> bool:
        """Whether the penalty is the user's own and written with functions of `ops`."""
        return self.kind == "custom" and type(self).gradient is Regularizer.gradient

    def __call__(self, w: Any) -> Any:
        if isinstance(w, Traced):
            return self._traced(w)
        weights = np.asarray(getattr(w, "value", w))
        return self.value(weights if weights.dtype.kind == "f" else weights.astype(config.floatx()))

    def _traced(self, w: Traced) -> Any:
        """The penalty in code that is traced."""
        if self.kind == "custom":
            return self.value(w)  # type: ignore[arg-type]
        return Traced(w.graph, w.graph.add("penalty", w.buffer, kind=self.kind, **self.attrs()))


class FunctionRegularizer(Regularizer):
    """A function of the weights as a regulariser."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, w: Any) -> Any:
        return self.function(w)


def traced_penalty(graph: ProgramBuilder, rule: Any, weight: Buffer) -> Buffer:
    """The penalty of a regulariser of one's own, as one number of the program.

    Raises: ShapeError for anything else than one number.
    """
    with tracing(graph):
        value = rule(Traced(graph, weight))
    name = getattr(getattr(rule, "function", rule), "__name__", type(rule).__name__)
    if not isinstance(value, Traced) or value.buffer.shape != ():
        given = f"a value of shape {value.shape}" if isinstance(value, Traced) else repr(value)
        raise ShapeError(
            f"Regularizer {name} must give one number for the weight {weight.name!r} of shape "
            f"{weight.shape}; it gave {given}. Take ops.sum of it."
        )
    return value.buffer


# What `get` takes: a name, a config, a class, an object or a function of the weights.
RegularizerLike = str | dict[str, Any] | type[Regularizer] | Regularizer | Callable[..., Any] | None


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
    """The regulariser that a name, a config, a class, an object or a function stands for; None stays None.

    Raises: UnknownNameError, ArgumentError.
    """
    if isinstance(identifier, Regularizer):
        return identifier
    if is_function_config(identifier):
        return FunctionRegularizer(function_of(identifier))
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return FunctionRegularizer(identifier)
    return REGULARIZERS.get(identifier)


def penalty(graph: ProgramBuilder, rule: Any, weight: Buffer) -> Buffer:
    """What a regulariser adds to the loss for a weight, as one number of the program."""
    if rule.is_traced:
        return traced_penalty(graph, rule, weight)
    made: Buffer = graph.add("penalty", weight, **penalty_attrs(rule))
    return made


def activity_penalty(graph: ProgramBuilder, rule: Any, x: Buffer) -> Buffer:
    """What a regulariser adds to the loss for the output of a layer: per image, as in Keras."""
    if not rule.is_traced:
        made: Buffer = graph.add("activity_penalty", x, **penalty_attrs(rule))
        return made
    value = traced_penalty(graph, rule, x)
    if x.shape[0] is not None:
        whole: Buffer = graph.add("scale", value, factor=1 / x.shape[0])
        return whole
    whole = graph.add("divide", value, graph.add("image_count", x, dtype=x.dtype))
    return whole


def penalty_attrs(rule: Any) -> dict[str, Any]:
    """Attributes of the operators of penalties for a regulariser."""
    return (
        {"kind": rule.kind, "custom": rule} if rule.kind == "custom" else {"kind": rule.kind, **rule.attrs()}
    )


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """The JSON config of a regulariser; of a function its registered name."""
    if isinstance(regularizer, FunctionRegularizer):
        return function_config(regularizer.function, "A regularizer")
    return REGULARIZERS.serialize(regularizer)


def deserialize(config: dict[str, Any]) -> Regularizer:
    """The regulariser of a config made by `serialize`."""
    regularizer: Regularizer = get(config)
    return regularizer
