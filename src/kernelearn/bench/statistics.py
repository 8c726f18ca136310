"""Medians and quartiles of times and of ratios between contestants that were timed in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles: half of the rounds lie between `low` and `high`."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"median": self.median, "low": self.low, "high": self.high}


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.5, high=2.5)
    """
    low, median, high = np.percentile(np.asarray(values, float), (25, 50, 75))
    return Spread(float(median), float(low), float(high))


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times as long they took, round by round: what slowed a whole round down cancels out.

    >>> ratio([2.0, 40.0, 4.0], [1.0, 20.0, 1.0]).median
    2.0
    """
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class Line:
    """cost = start + slope * size, fitted by least squares; `fit` is the share of the variance explained."""

    start: float
    slope: float
    fit: float


def fit_line(sizes: Sequence[float], costs: Sequence[float]) -> Line:
    """The straight line through at least two different sizes.

    Each point counts in proportion to 1 / cost, so that the line fits small sizes as well as large ones.
    """
    x, y = np.asarray(sizes, float), np.asarray(costs, float)
    weight = 1.0 / y
    design = np.stack([np.ones_like(x), x], axis=1)
    (start, slope), *_ = np.linalg.lstsq(design * weight[:, None], y * weight, rcond=None)
    left = float(np.sum((y - start - slope * x) ** 2))
    total = float(np.sum((y - y.mean()) ** 2))
    return Line(float(start), float(slope), 1.0 - left / total if total else 1.0)
