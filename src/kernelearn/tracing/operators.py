"""Python's operators on what stands for an array: each is a function of `kernelearn.ops`, found by its name.

The same table serves traced values, symbolic tensors and weights; `ops` fills it when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from kernelearn.errors import TracingError
from kernelearn.tracing.where import user_line

# Public name of every function of `ops` that may be given symbols -> the function.
FUNCTIONS: dict[str, Callable[..., Any]] = {}

# NumPy's functions behind Python's operators: `array * x` reaches x through them.
_UFUNCS: dict[str, str] = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "true_divide": "divide",
    "floor_divide": "floor_divide",
    "remainder": "mod",
    "power": "power",
    "matmul": "matmul",
    "equal": "equal",
    "not_equal": "not_equal",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
}


def functions() -> Mapping[str, Callable[..., Any]]:
    """The whole table."""
    import_module("kernelearn.ops")
    return FUNCTIONS


def function(name: str) -> Callable[..., Any]:
    """The function of `ops` of this name.

    Raises: TracingError if there is none.
    """
    if name not in functions():
        raise TracingError(f"There is no function {name!r} in kernelearn.ops, which is needed in {_here()}.")
    return FUNCTIONS[name]


def _here() -> str:
    return user_line() or "this code"


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator and its reflected form."""

    def forward(self: Any, other: Any) -> Any:
        return function(name)(self, other)

    def reflected(self: Any, other: Any) -> Any:
        return function(name)(other, self)

    return forward, reflected


def _unary(name: str) -> Callable[..., Any]:
    def operator(self: Any) -> Any:
        return function(name)(self)

    return operator


class Operators:
    """Operators, indexing, and what is said where code asks for the numbers of something that has none yet.

    A class that has this says in `called` what it is, for messages.
    """

    called = "a value that has no numbers yet"
    # NOTE: a number of NumPy on the left then asks us instead of reading our entries.
    __array_priority__ = 1000.0

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide")
    __mod__, __rmod__ = _binary("mod")
    __pow__, __rpow__ = _binary("power")
    __matmul__, __rmatmul__ = _binary("matmul")
    __and__, __rand__ = _binary("logical_and")
    __or__, __ror__ = _binary("logical_or")
    __xor__, __rxor__ = _binary("logical_xor")
    __lt__, _ = _binary("less")
    __le__, _ = _binary("less_equal")
    __gt__, _ = _binary("greater")
    __ge__, _ = _binary("greater_equal")
    __neg__ = _unary("negative")
    __abs__ = _unary("abs")
    __invert__ = _unary("logical_not")

    def __pos__(self) -> Any:
        return self

    def __getitem__(self, key: Any) -> Any:
        return function("get_item")(self, key)

    def __bool__(self) -> bool:
        raise TracingError(
            f"{_here()} asks whether {self._shown()} is true, but its numbers are known only when the program"
            " runs: `if`, `while`, `and`, `or`, `not`, `min` and `max` cannot look at them. Choose entry by "
            "entry with ops.where(condition, a, b), ops.maximum, ops.logical_and and the like; conditions on "
            "shapes and on Python numbers work as they are."
        )

    def __float__(self) -> float:
        self._refuse_number("float")

    def __int__(self) -> int:
        self._refuse_number("int")

    def __index__(self) -> int:
        self._refuse_number("int")

    def __complex__(self) -> complex:
        self._refuse_number("complex")

    def _refuse_number(self, kind: str) -> NoReturn:
        raise TracingError(
            f"{_here()} wants {self._shown()} as one number of type {kind}, but its numbers are known only "
            "when the program runs. Go on with functions of kernelearn.ops, or compute it from shapes."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TracingError(
            f"{_here()} makes a NumPy array of {self._shown()}, whose numbers are known only when the program"
            " runs. Use the function of kernelearn.ops of the same name instead of NumPy's."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__)
        is_operator = name is not None and method == "__call__" and not options and len(inputs) == 2
        if is_operator and isinstance(inputs[0], np.ndarray | np.generic):
            return function(str(name))(*inputs)
        self._refuse_numpy(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}")

    def __array_function__(self, called: Any, types: Any, args: Any, options: Any) -> Any:
        self._refuse_numpy(called.__name__)

    def _refuse_numpy(self, name: str) -> NoReturn:
        same = {"absolute": "abs", "amax": "max", "amin": "min", "remainder": "mod"}.get(name, name)
        remedy = f"ops.{same}" if same in functions() else "functions of kernelearn.ops"
        raise TracingError(
            f"{_here()} calls np.{name} on {self._shown()}, whose numbers are known only when the program "
            f"runs. Use {remedy} there."
        )

    def numpy(self) -> Any:
        """Refused: there are no numbers yet."""
        self.__array__()

    def _shown(self) -> str:
        return self.called


class Symbolic(Operators):
    """A tensor of a functional model: calling a function of `ops` on one adds a node to the model."""

    def apply(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The result of `ops.<name>(*args, **keywords)`, where one of the arguments is symbolic."""
        raise NotImplementedError

    def __len__(self) -> NoReturn:
        raise TracingError(f"{_here()} takes len() of {self._shown()}; sizes are in its .shape.")

    def __iter__(self) -> Iterator[Any]:
        raise TracingError(
            f"{_here()} goes through {self._shown()} one by one, but the number of images is not known. "
            "Loop over another axis with ops.unstack(x, axis=1), or compute with all images at once."
        )
