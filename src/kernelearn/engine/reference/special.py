"""The error function in NumPy, which has none: needed by GELU, forward and backward."""

from collections.abc import Callable

import numpy as np

from kernelearn.engine.arrays import Array

# Coefficients of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
# Computation 23 (1969), 631-637, highest power first. Relative error below 1.2e-16 in each interval.
_SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_SMALL_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_MIDDLE_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_LARGE_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_LARGE_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_ONE_OVER_SQRT_PI = 0.5641895835477563
# Beyond this erfc is zero in float64; the clip keeps y * y finite in float32 too.
_ERFC_IS_ZERO = 30.0


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, in the dtype of `x`."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += coefficient
    return total


def _exp_minus_square(y: Array) -> Array:
    """exp(-y * y) without the rounding error of y * y: y is split at a multiple of 1/16 (Cody)."""
    coarse = np.trunc(y * 16.0) / 16.0
    return np.exp(-coarse * coarse) * np.exp(-(y - coarse) * (y + coarse))


def _erf_small(x: Array) -> Array:
    """erf for |x| <= 0.5."""
    square = x * x
    return x * _polynomial(_SMALL_P, square) / _polynomial(_SMALL_Q, square)


def _erfc_middle(y: Array) -> Array:
    """erfc for 0.46875 <= y <= 4."""
    return _exp_minus_square(y) * _polynomial(_MIDDLE_P, y) / _polynomial(_MIDDLE_Q, y)


def _erfc_large(y: Array) -> Array:
    """erfc for y > 4."""
    inverse = 1.0 / (y * y)
    tail = inverse * _polynomial(_LARGE_P, inverse) / _polynomial(_LARGE_Q, inverse)
    return _exp_minus_square(y) * (_ONE_OVER_SQRT_PI - tail) / y


def _by_interval(
    x: Array, small: Callable[[Array], Array], from_erfc: Callable[[Array, Array], Array]
) -> Array:
    """Fill an array like `x`: `small(x)` near zero, `from_erfc(erfc(|x|), x)` elsewhere."""
    y = np.minimum(np.abs(x), _ERFC_IS_ZERO)
    is_small = y <= 0.46875
    is_large = y > 4.0
    is_middle = ~(is_small | is_large)  # NaN goes here and stays NaN
    result = np.empty_like(y)
    result[is_small] = small(x[is_small])
    result[is_middle] = from_erfc(_erfc_middle(y[is_middle]), x[is_middle])
    result[is_large] = from_erfc(_erfc_large(y[is_large]), x[is_large])
    return result


def erf(x: Array) -> Array:
    """The error function, elementwise, to about one unit in the last place.

    Args:
        x: float array of any shape.
    Returns: array of the shape and dtype of `x`.
    Source: W. J. Cody, Mathematics of Computation 23 (1969), 631-637.

    >>> float(erf(np.array([0.5]))[0])
    0.5204998778130465
    """
    x = np.asarray(x)
    return _by_interval(x, _erf_small, lambda tail, x: np.copysign(1.0 - tail, x).astype(x.dtype, copy=False))


def erfc(x: Array) -> Array:
    """The complementary error function 1 - erf(x), without cancellation for large x.

    Args:
        x: float array of any shape.
    Returns: array of the shape and dtype of `x`.
    Source: as `erf`.
    """
    x = np.asarray(x)
    return _by_interval(x, lambda x: 1.0 - _erf_small(x), lambda tail, x: np.where(x < 0, 2.0 - tail, tail))


# Of Winitzki's approximation, for a relative error of 2e-3 everywhere.
_WINITZKI = 0.147


def erfinv(x: Array) -> Array:
    """The inverse of the error function, elementwise, to a few units in the last place.

    Args:
        x: float array of numbers in [-1, 1]; others give NaN.
    Returns: array of the shape and dtype of `x`.
    Source: S. Winitzki, "A handy approximation for the error function and its inverse" (2008) for a start,
        then two steps of Halley's method, in float64.

    >>> float(erfinv(np.array([0.5]))[0].round(12))
    0.476936276204
    """
    x = np.asarray(x)
    y = np.asarray(x, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log((1 - y) * (1 + y))
        middle = 2 / (np.pi * _WINITZKI) + logarithm / 2
        # NOTE: the square root less `middle`, in a form that does not cancel.
        inner = -logarithm / _WINITZKI / (np.sqrt(middle * middle - logarithm / _WINITZKI) + middle)
        start = np.copysign(np.sqrt(np.where(np.isfinite(inner), inner, 1.0)), y)
        for _ in range(2):
            # NOTE: near 1 the difference of complements keeps the digits that 1 - erf(x) would lose.
            error = np.where(np.abs(y) < 0.5, erf(start) - y, np.sign(y) * _tail_error(start, y))
            step = error * (np.sqrt(np.pi) / 2) * np.exp(start * start)
            start = start - step / (1 + start * step)
        limit = np.where(np.abs(y) == 1, np.copysign(np.inf, y), np.where(np.abs(y) < 1, start, np.nan))
    return limit.astype(x.dtype)


def _tail_error(start: Array, y: Array) -> Array:
    """erf(|start|) - |y| by complements."""
    return (1 - np.abs(y)) - erfc(np.abs(start))
