"""Powers, logarithms of other bases, remainders, and the error function of float32 vectors.

What would lose digits in float32 (x^y is e^(y ln x), a remainder is x less a large multiple) is worked out in
float64.
"""

from __future__ import annotations

import math

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value

# erf(x) as a quotient of polynomials in x^2, times x, for |x| <= 4, where it is 1 in float32; highest first.
# Source: XLA, xla/hlo/builder/lib/math.cc (ErfImpl32).
ERF_ABOVE = [
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
]
ERF_BELOW = [
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
]
# Powers of w = -log(1 - x^2) - 2.5 for w < 5, and of sqrt(w) - 3 beyond; highest first (Giles).
GILES_CENTRE = [
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
]
GILES_TAIL = [
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
]
# Exponents up to this are products.
PRODUCTS = 8


def _binary_parts(x: Value) -> tuple[Value, Value]:
    """x = 2^e m in float64 for x > 0, m in [sqrt(1/2), sqrt(2))."""
    small = x < 1.17549435e-38
    bits = small.choose(x * 2.0**24, x).bits()
    exponent = (bits - 0x3F3504F3).halved(23)
    m = (bits - (exponent << 23)).from_bits().widened()
    e = exponent.to_float()
    return small.choose(e - 24.0, e).widened(), m


def _wide_log2(x: Value) -> Value:
    """log2 of a positive float32 in float64, to 1e-12: ln m = 2 (s + s^3/3 + ...), s = (m-1) / (m+1)."""
    e, m = _binary_parts(x)
    s = (m - 1.0) / (m + 1.0)
    series = fn.polynomial(s * s, [2 / math.log(2) / i for i in range(15, 0, -2)])
    return fn.fma(s, series, e)


def _ends_of_log(x: Value, value: Value) -> Value:
    """The logarithm, with what it is of zero, infinity, negative numbers and NaN."""
    value = x.equals(math.inf).choose(x, value)
    value = x.equals(0.0).choose(-math.inf, value)
    value = (x < 0.0).choose(math.nan, value)
    return x.is_nan().choose(x, value)


def log2(x: Value) -> Value:
    return _ends_of_log(x, _wide_log2(x).narrowed())


def log10(x: Value) -> Value:
    return _ends_of_log(x, (_wide_log2(x) * math.log10(2)).narrowed())


def _exp2(t: Value) -> Value:
    """2^t as float32 of a float64; NaN stays."""
    k = t.kernel
    clipped = fn.clip(t, -160.0, 130.0)
    n = k.intrinsic("rint", clipped)
    r = ((clipped - n) * math.log(2)).narrowed()
    series = fn.polynomial(r, [1 / math.factorial(i) for i in range(7, -1, -1)])
    whole = t.is_number().choose(n, k.zero_of(t.type)).converted("fptosi", "i32")
    half = whole.halved()
    return series * fn.power_of_two(half) * fn.power_of_two(whole - half)


def power(x: Value, y: Value) -> Value:
    """x^y as C's pow: any x to a whole y; NaN for other powers of negative numbers."""
    k = x.kernel
    size = fn.absolute(x)
    logarithm = _ends_of_wide_log(size, _wide_log2(size))
    value = _exp2(y.widened() * logarithm)
    is_whole = k.intrinsic("rint", y).equals(y)
    half = y * 0.5
    is_odd = is_whole & k.intrinsic("floor", half).differs(half) & (fn.absolute(y) < 2.0**24)
    is_negative = x.bits() < 0
    value = (is_negative & is_odd).choose(-value, value)
    value = ((x < 0.0) & (x > -math.inf) & ~is_whole).choose(math.nan, value)
    one = y.equals(0.0) | x.equals(1.0) | (x.equals(-1.0) & fn.absolute(y).equals(math.inf))
    return one.choose(1.0, value)


def _ends_of_wide_log(x: Value, value: Value) -> Value:
    """As `_ends_of_log`, of a float64 logarithm of x >= 0."""
    value = x.equals(math.inf).choose(math.inf, value)
    value = x.equals(0.0).choose(-math.inf, value)
    return x.is_nan().choose(math.nan, value)


def power_by(x: Value, exponent: float) -> Value:
    """x^exponent: products and a square root for small multiples of 1/2, else `power`."""
    if exponent * 2 != int(exponent * 2) or abs(exponent) > PRODUCTS:
        return power(x, x.kernel.constant(exponent))
    if exponent < 0:
        return 1.0 / power_by(x, -exponent)
    value = None if exponent == int(exponent) else fn.sqrt(x)
    for _ in range(int(exponent)):
        value = x if value is None else value * x
    return x.kernel.constant(1.0) if value is None else value


def _divided(x: Value, y: Value) -> tuple[Value, Value]:
    """floor(x / y) and x - y floor(x / y) in float64, exact for quotients below 2^29."""
    k, a, b = x.kernel, x.widened(), y.widened()
    quotient = k.intrinsic("floor", a / b)
    rest = a - quotient * b
    # The quotient may have been rounded up to a whole number.
    is_over = (rest * b) < 0.0
    return is_over.choose(quotient - 1.0, quotient), is_over.choose(rest + b, rest)


def floor_divide(x: Value, y: Value) -> Value:
    """The largest whole number below x / y; by infinity it is 0 or -1."""
    k = x.kernel
    quotient = _divided(x, y)[0].narrowed()
    is_across = (x < 0.0) & (y > 0.0) | (x > 0.0) & (y < 0.0)
    by_infinity = is_across.choose(k.constant(-1.0), k.zero)
    is_far = fn.absolute(y).equals(math.inf) & (fn.absolute(x) < math.inf)
    # NOTE: NumPy says NaN where x is infinite, but infinity for a division by zero.
    infinite = fn.absolute(x).equals(math.inf) & y.differs(0.0)
    return infinite.choose(math.nan, is_far.choose(by_infinity, quotient))


def mod(x: Value, y: Value) -> Value:
    """The remainder with the sign of y, as Python's %."""
    k = x.kernel
    rest = _divided(x, y)[1].narrowed()
    rest = rest.equals(0.0).choose(k.intrinsic("copysign", k.zero, y), rest)
    is_across = (x < 0.0) & (y > 0.0) | (x > 0.0) & (y < 0.0)
    is_far = fn.absolute(y).equals(math.inf) & (fn.absolute(x) < math.inf)
    return is_far.choose(is_across.choose(y, x), rest)


def logaddexp(x: Value, y: Value) -> Value:
    """log(e^x + e^y) = max + log1p(e^(min - max)); two equal infinities stay."""
    high, low = fn.maximum(x, y), fn.minimum(x, y)
    gap = high.equals(low).choose(x.kernel.zero, low - high)
    return high + fn.log1p(fn.exp(gap))


def erf(x: Value) -> Value:
    """A quotient of polynomials; it may come out a little above 1, and is 1 then."""
    inside = fn.clip(x, -4.0, 4.0)
    square = inside * inside
    value = inside * (fn.polynomial(square, ERF_ABOVE) / fn.polynomial(square, ERF_BELOW))
    return fn.clip(value, -1.0, 1.0)


def erfinv(x: Value) -> Value:
    """The inverse of erf, by polynomials in w = -log(1 - x^2).

    Source: M. B. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2011).
    """
    w = -fn.log((1.0 - x) * (1.0 + x))
    centre = fn.polynomial(w - 2.5, GILES_CENTRE)
    tail = fn.polynomial(fn.sqrt(w) - 3.0, GILES_TAIL)
    value = x * (w < 5.0).choose(centre, tail)
    infinite = x.kernel.intrinsic("copysign", x.kernel.constant(math.inf), x)
    return fn.absolute(x).equals(1.0).choose(infinite, value)
