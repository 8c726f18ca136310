"""Mean, spread and Student's interval of a few seeds, and the paired comparison of two conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt

import numpy as np

# 97.5 % quantiles of Student's t with 1 to 30 degrees of freedom.
_T_975 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
_Z_975 = 1.959964


@dataclass(frozen=True)
class Summary:
    """What some values of one quantity, one per seed, say.

    Attributes:
        count: number of values.
        mean: their mean, NaN without any.
        std: standard deviation with count - 1 in the denominator; NaN below two values.
        low, high: 95 % interval of the mean by Student's t; NaN below two values.
    """

    count: int
    mean: float
    std: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain numbers, None for NaN."""
        values = {"mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        return {name: None if isnan(value) else value for name, value in values.items()}


@dataclass(frozen=True)
class Comparison:
    """Condition `first` minus condition `second`, seed by seed.

    Both saw the same images in the same order in every seed, so the difference is taken within a seed
    before it is averaged: what the seeds have in common drops out. The interval is that of this one
    comparison; it is not corrected for making several.
    """

    first: str
    second: str
    difference: Summary

    @property
    def verdict(self) -> str:
        """ "higher" or "lower" if the 95 % interval leaves out 0, else "unclear"."""
        if self.difference.low > 0:
            return "higher"
        return "lower" if self.difference.high < 0 else "unclear"

    @property
    def points(self) -> str:
        """The difference of two accuracies in words."""
        mean, low, high = (100 * x for x in (self.difference.mean, self.difference.low, self.difference.high))
        if isnan(low):
            return f"{mean:+.1f} points, one seed"
        return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"

    def claim(self, higher: str, lower: str, unclear: str) -> str:
        """The one of three sentences that the numbers support, followed by them."""
        text = {"higher": higher, "lower": lower, "unclear": unclear}[self.verdict]
        return f"{text} ({self.points})"


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: what the 95 % interval of a mean is built with.

    Source: above 30 degrees of freedom the expansion 26.7.5 of Abramowitz and Stegun, exact to 1e-5 there.
    """
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = _Z_975
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of the mean.

    >>> summary = summarise([1.0, 2.0, 3.0])
    >>> round(summary.mean, 3), round(summary.low, 3), round(summary.high, 3)
    (2.0, -0.484, 4.484)
    """
    count = len(values)
    if not count:
        return Summary(0, nan, nan, nan, nan)
    mean = float(np.mean(values))
    if count == 1:
        return Summary(1, mean, nan, nan, nan)
    std = float(np.std(values, ddof=1))
    half = t_quantile(count - 1) * std / sqrt(count)
    return Summary(count, mean, std, mean - half, mean + half)


def compare(first: str, x: Sequence[float], second: str, y: Sequence[float]) -> Comparison:
    """Paired comparison of two conditions; x and y hold one value per seed, in the same order."""
    return Comparison(first, second, summarise([a - b for a, b in zip(x, y, strict=True)]))
