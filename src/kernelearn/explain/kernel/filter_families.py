"""The classical filters that kernels are compared with: families of templates for kernels of any size.

A template is not one filter but all that a rotation or a phase makes of it: the span of one or two filters.
Sobel and Prewitt steer, cos(a) X + sin(a) Y is the filter turned by a; a Gabor filter of any phase lies
between its even and its odd one. The best angle needs no search then; scale, frequency and width are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import product
from math import atan2, degrees, pi
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.initializers import GaborBank, GaussianBank, Laplacian, PrewittBank, SobelBank

Size = tuple[int, ...]

# 0.56 / frequency is the width of one octave, see GaborBank; half of it is a bar without side lobes.
_GABOR_WIDTHS = (0.56, 0.28)
_GABOR_FREQUENCIES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
_GABOR_ORIENTATIONS = 12
# Marr and Hildreth 1980: the difference of Gaussians nearest to a Laplacian has the ratio 1.6.
_SURROUNDS = (1.6, 3.0)


@dataclass(frozen=True, eq=False)
class Template:
    """One or two filters, and all their sums.

    Attributes:
        family: name of the family.
        settings: what is fixed: scale, frequency, width, ...
        filters: (m, *size) as they were made.
        angle: name of what changes between the two filters: "angle" or "phase"; "" for one filter.
        first: angle of the first filter, in degrees; the second has 90 more.
        basis: (pixels, m) orthonormal.
        mix: (m, m) turns coordinates in `basis` into amounts of the filters.
    """

    family: str
    settings: Mapping[str, Any]
    filters: np.ndarray = field(repr=False)
    angle: str = ""
    first: float = 0.0
    basis: np.ndarray = field(init=False, repr=False)
    mix: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flat = self.filters.reshape(len(self.filters), -1).T
        basis, scale = np.linalg.qr(flat)
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "mix", np.linalg.inv(scale))

    def describe(self, coordinates: np.ndarray) -> dict[str, Any]:
        """The settings, with the angle (degrees in [0, 180)) of a point of the span given in `basis`."""
        found = dict(self.settings)
        if self.angle:
            one, other = self.mix @ coordinates
            degree = round((self.first + degrees(atan2(other, one))) % 180.0, 6)
            found[self.angle] = 0.0 if degree >= 180.0 else degree
        return found


def _padded(filters: np.ndarray, size: Size) -> np.ndarray:
    """Filters of a smaller size in the middle of larger ones."""
    margins = [((n - s) // 2,) * 2 for n, s in zip(size, filters.shape[1:])]
    return np.pad(filters, [(0, 0), *margins])


def _smaller_sizes(size: Size, smallest: int) -> Iterator[Size]:
    """`size`, then two pixels less on every axis, and so on; all of them fit in the middle."""
    while min(size) >= smallest:
        yield size
        size = tuple(s - 2 for s in size)


def _sobel(size: Size) -> Iterator[Template]:
    for part in _smaller_sizes(size, 3):
        yield Template("sobel", {"size": part}, _padded(SobelBank().bank(part), size), "angle")


def _prewitt(size: Size) -> Iterator[Template]:
    for part in _smaller_sizes(size, 2):
        yield Template("prewitt", {"size": part}, _padded(PrewittBank().bank(part), size), "angle")


def _laplacian(size: Size) -> Iterator[Template]:
    for stencil, name in zip(Laplacian().bank(size), ("axes", "all")):
        yield Template("laplacian", {"neighbours": name}, stencil[None])


def _scales(size: Size) -> np.ndarray:
    """Widths in pixels, from a point to nearly flat, in steps of a quarter octave or so."""
    return np.geomspace(0.35, max(size) / 1.5, 4 * max(1, round(np.log2(max(size) / 0.5))))


def _gaussian(size: Size) -> Iterator[Template]:
    for sigma in _scales(size):
        yield Template("gaussian", {"sigma": float(sigma)}, GaussianBank([float(sigma)]).bank(size))


def _centre_surround(size: Size) -> Iterator[Template]:
    for sigma, ratio in product(_scales(size)[:-2], _SURROUNDS):
        centre, surround = GaussianBank([float(sigma), float(sigma * ratio)]).bank(size)
        difference = centre - surround
        if np.linalg.norm(difference) > 1e-6:
            yield Template("centre_surround", {"sigma": float(sigma), "ratio": ratio}, difference[None])


def _gabor(size: Size) -> Iterator[Template]:
    # NOTE: phases of 45 and 135 degrees span the same filters as 0 and 90, and neither is ever constant.
    phases = (pi / 4, 3 * pi / 4)
    for frequency, width in product(_GABOR_FREQUENCIES, _GABOR_WIDTHS):
        sigma = width / frequency
        bank = GaborBank(_GABOR_ORIENTATIONS, (frequency,), phases, sigma=sigma).bank(size)
        for number, pair in enumerate(bank.reshape(-1, 2, *size)):
            settings = {"frequency": frequency, "sigma": sigma, "angle": 180.0 * number / _GABOR_ORIENTATIONS}
            is_single = np.linalg.norm(pair[1] - pair[0] * (pair[0] * pair[1]).sum()) < 1e-6
            yield Template(
                "gabor", settings, pair[:1] if is_single else pair, "" if is_single else "phase", 45.0
            )


def _dct(size: Size) -> Iterator[Template]:
    """Source: the type II transform, Ahmed, Natarajan and Rao 1974."""
    waves = [[np.cos(pi * (np.arange(n) + 0.5) * u / n) for u in range(n)] for n in size]
    for orders in product(*(range(n) for n in size)):
        parts = [wave[u] for wave, u in zip(waves, orders)]
        yield Template("dct", {"orders": orders}, reduce(np.multiply.outer, parts)[None])


FAMILIES: dict[str, Callable[[Size], Iterator[Template]]] = {
    "sobel": _sobel,
    "prewitt": _prewitt,
    "laplacian": _laplacian,
    "gabor": _gabor,
    "gaussian": _gaussian,
    "dct": _dct,
    "centre_surround": _centre_surround,
}


@lru_cache(maxsize=64)
def _of_family(name: str, size: Size) -> tuple[Template, ...]:
    """Kernels of every step of a run are compared with the same ones."""
    return tuple(FAMILIES[name](size))


def templates_for(size: Size, families: Any = None) -> tuple[dict[str, list[Template]], dict[str, str]]:
    """The templates of each family for kernels of this size, and why families are left out.

    Args:
        size: spatial size of the kernels.
        families: names, or a dict that also brings own filters as arrays (number, *size); None for all.
    Raises: UnknownNameError, ArgumentError; ShapeError for kernels of one pixel, or if no family is defined.

    >>> found, left_out = templates_for((4, 4))
    >>> sorted(left_out)
    ['laplacian', 'sobel']
    """
    if max(size) < 2:
        raise ShapeError(f"Kernels of size {size} have no pattern to compare: they only mix channels.")
    own = dict(families) if isinstance(families, Mapping) else {}
    names = list(FAMILIES) if families is None else list(families)
    found: dict[str, list[Template]] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if own.get(name) is not None:
            found[name] = _own_templates(name, np.asarray(own[name], np.float64), size)
            continue
        if name not in FAMILIES:
            raise unknown_name("family of filters", name, FAMILIES)
        try:
            found[name] = list(_of_family(name, tuple(size)))
        except ShapeError as error:
            left_out[name] = str(error)
            continue
        if not found[name]:
            del found[name]
            left_out[name] = f"No filter of the family {name!r} fits into {size} pixels."
    if not found:
        raise ShapeError("; ".join(left_out.values()))
    return found, left_out


def _own_templates(name: str, filters: np.ndarray, size: Size) -> list[Template]:
    if filters.shape[1:] != size:
        raise ShapeError(f"Filters of family {name!r} must have the shape (n, *{size}); got {filters.shape}.")
    if not np.isfinite(filters).all() or not filters.reshape(len(filters), -1).any(axis=1).all():
        raise ArgumentError(f"Every filter of family {name!r} needs finite numbers that are not all zero.")
    return [Template(name, {"number": i}, one[None]) for i, one in enumerate(filters)]
