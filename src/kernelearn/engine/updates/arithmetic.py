"""The arithmetic that steps are written with, and the formulas that several optimisers share.

A step is a formula on terms: `Term` is an array of NumPy, or a value of emitted code. Its coefficients are
numbers: Python's, or float64 values of emitted code. + - * / are the terms' own, and the rest is what
`Entries` and `Numbers` name. NumPy's are in `engine.reference.optimizers`, those of emitted code in
`engine.cpu.kernels.updates`.

NOTE: emitted code keeps the order in which a formula is written, and `fma` rounds once where the processor
can: another order is another result in the last bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

Attrs = Mapping[str, Any]
Coefficients = Mapping[str, Any]


class Term(Protocol):
    """What + - * / do; the other operand is of the same kind or a number."""

    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...


T = TypeVar("T", bound=Term)


class Entries(Protocol[T]):
    """Functions of every entry of a term."""

    def sqrt(self, x: T, /) -> T: ...
    def absolute(self, x: T, /) -> T: ...
    def sign(self, x: T, /) -> T:
        """-1, 0 or 1."""

    def maximum(self, a: T, b: T, /) -> T:
        """NaN if either is."""

    def positive(self, x: T, /) -> T:
        """x where it is above zero, else zero; NaN stays NaN."""

    def fma(self, a: T | float, b: T | float, c: T, /) -> T:
        """a * b + c."""

    def power(self, x: T, exponent: float, /) -> T:
        """x to a fixed power; x is at least 0."""


class Numbers(Protocol[T]):
    """Functions of the numbers of one update."""

    def sqrt(self, x: T, /) -> T: ...
    def powers(self, bases: Sequence[float], later: int = 0, /) -> Sequence[T]:
        """base^(t + later), t the number of this update, from 1."""

    def number(self, slot: str, /) -> T:
        """What a slot that is a single number held before this update."""

    def count(self) -> T:
        """The number of this update, from 1."""

    def smaller(self, a: T, b: float, /) -> T: ...

    def ratio(self, a: T, b: T, /) -> T:
        """a / b where both are above zero, else 1."""

    @property
    def factor(self) -> T:
        """What the direction was multiplied by, for `linear` of an update that has such a factor."""


def towards(math: Entries[T], average: T, value: T, share: float) -> T:
    """Exponential moving average: a fraction `share` of the way from `average` to `value`."""
    return math.fma(value - average, share, average)


def mix(math: Entries[T], average: T, value: T, rho: float) -> T:
    """The same, as rho * average + (1 - rho) * value."""
    return math.fma(rho, average, (1 - rho) * value)


def only_rate(math: Numbers[T], a: Attrs, rate: T) -> dict[str, T]:
    """The coefficients of an optimiser that does not count its steps."""
    return {"rate": rate}


def bias_corrections(math: Numbers[T], a: Attrs) -> tuple[T, T]:
    """1 - beta_1^t and 1 - beta_2^t: how much of the averages, which start at zero, gradients have filled."""
    first, second = math.powers((a["beta_1"], a["beta_2"]))
    return 1.0 - first, 1.0 - second


def kept(a: Attrs, rate: T) -> T:
    """What decoupled weight decay multiplies the parameter by, whatever the gradient says."""
    kept: T = 1.0 - a["weight_decay"] * rate
    return kept
