"""Numbers for people: rounded so that what is shown adds up as it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import floor, isfinite, log10

MINUS = "\u2212"
_DIGITS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


@dataclass(frozen=True)
class Column:
    """Numbers of one sum, all with the same unit and the same number of decimals.

    Attributes:
        exponent: numbers are shown in units of 10^exponent.
        places: decimals that are shown.
    """

    exponent: int
    places: int

    def rounded(self, value: float) -> Decimal:
        """A value in the unit of the column; NaN for what is not finite."""
        if not isfinite(value):
            return Decimal("NaN")
        return Decimal(repr(float(value))).scaleb(-self.exponent).quantize(Decimal(1).scaleb(-self.places))

    def text(self, value: float | Decimal, plus: bool = False) -> str:
        """As shown; a Decimal is already in the unit."""
        shown = value if isinstance(value, Decimal) else self.rounded(value)
        return f"{shown + 0:{'+' if plus else ''}f}".replace("-", MINUS)

    @property
    def unit(self) -> str:
        """What the numbers are to be multiplied by, "" for 1."""
        return power(self.exponent) if self.exponent else ""


def column_for(values: Sequence[float], digits: int = 6) -> Column:
    """A column in which the largest of the values has so many digits.

    >>> column_for([0.00012345678, -0.5]), column_for([3.2e-7])
    (Column(exponent=0, places=6), Column(exponent=-9, places=3))
    """
    largest = max((abs(v) for v in values if isfinite(v)), default=0.0)
    first = floor(log10(largest)) if largest else 0
    exponent = 0 if -4 <= first <= 5 else 3 * floor(first / 3)
    return Column(exponent, max(0, digits - 1 - (first - exponent)))


def cell_column(values: Sequence[float], digits: int = 3) -> Column:
    """A column for the narrow cells of a small matrix: few digits, at most one zero before them.

    >>> cell_column([-0.1234]), cell_column([0.0618])
    (Column(exponent=0, places=3), Column(exponent=-2, places=2))
    """
    largest = max((abs(v) for v in values if isfinite(v)), default=0.0)
    first = floor(log10(largest)) if largest else 0
    exponent = 0 if -1 <= first <= 2 else first
    return Column(exponent, max(0, digits - 1 - (first - exponent)))


def closing(column: Column, total: float, shown: Sequence[float]) -> Decimal:
    """What is left of a total beside the numbers shown, so that the column adds up to the last digit."""
    return column.rounded(total) - sum(map(column.rounded, shown), start=Decimal(0))


def power(exponent: int) -> str:
    """10 with a raised exponent."""
    return f"10{str(exponent).translate(_DIGITS)}"


def brief(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, for reading: 0.01234, 1.2 x 10^-7, 12,345."""
    if value is None or not isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace("-", MINUS)
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits}g}".replace("-", MINUS)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa} \u00d7 ".replace("-", MINUS) + power(int(exponent))
