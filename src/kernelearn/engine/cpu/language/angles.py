"""Circular and hyperbolic functions of float32 vectors, and their inverses: a few units in the last place."""

from __future__ import annotations

import math

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value

# pi / 2 in two float64 parts.
HALF_PI = (math.pi / 2, 6.123233995736766e-17)
# Beyond this the quarters of a turn cannot be counted in float64.
LARGEST_ANGLE = 2.0**45

# (sin r - r) / r^3 and (cos r - 1) / r^2 in powers of r^2, highest first; |r| <= pi / 4.
SIN = [(-1) ** i / math.factorial(2 * i + 1) for i in range(4, 0, -1)]
COS = [(-1) ** i / math.factorial(2 * i) for i in range(5, 0, -1)]
# Of the Cephes library by S. L. Moshier (atanf.c, asinf.c): minimax polynomials in x^2, highest first.
ARCTAN = [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]
ARCSIN = [4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1]


def _quarters(x: Value) -> tuple[Value, Value]:
    """x less a whole number of quarters of a turn, and that number; worked out in float64."""
    k = x.kernel
    wide = (fn.absolute(x) < LARGEST_ANGLE).choose(x, k.zero).widened()
    count = k.intrinsic("rint", wide * (2 / math.pi))
    rest = _less_quarters(wide, count) - count * HALF_PI[1]
    return rest.narrowed(), count.converted("fptosi", "i64").truncated("i32")


def _less_quarters(wide: Value, count: Value) -> Value:
    """wide - count * HALF_PI[0], rounded once; without fma by parts of both, whose products are exact."""
    k = wide.kernel
    if k.has_fma:
        return fn.fma(count, -HALF_PI[0], wide)
    high = k.intrinsic("trunc", count * 2.0**-22) * 2.0**22
    head = math.floor(HALF_PI[0] * 2**25) / 2**25
    rest = wide
    for part in (head, HALF_PI[0] - head):
        rest = rest - high * part - (count - high) * part
    return rest


def _sine_and_cosine(x: Value) -> tuple[Value, Value]:
    """NaN for infinities, and for angles beyond `LARGEST_ANGLE`."""
    rest, quarter = _quarters(x)
    square = rest * rest
    sine = fn.fma(rest * square, fn.polynomial(square, SIN), rest)
    cosine = fn.fma(square, fn.polynomial(square, COS), 1.0)
    is_odd = (quarter & 1).test("ne", 0)
    first, second = is_odd.choose(cosine, sine), is_odd.choose(sine, cosine)
    is_known = fn.absolute(x) < LARGEST_ANGLE
    return (
        is_known.choose(_turned(first, quarter), math.nan),
        is_known.choose(_turned(second, quarter + 1), math.nan),
    )


def _turned(x: Value, quarter: Value) -> Value:
    """x, or -x where bit 1 of a number is set."""
    return (x.bits() ^ ((quarter & 2) << 30)).from_bits()


def sin(x: Value) -> Value:
    sine, _ = _sine_and_cosine(x)
    return x.equals(0.0).choose(x, sine)


def cos(x: Value) -> Value:
    return _sine_and_cosine(x)[1]


def tan(x: Value) -> Value:
    sine, cosine = _sine_and_cosine(x)
    return x.equals(0.0).choose(x, sine / cosine)


def arctan(x: Value) -> Value:
    """A polynomial below tan(pi / 8); larger arguments are turned by 45 or 90 degrees first."""
    k, size = x.kernel, fn.absolute(x)
    is_large, is_middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    turned = is_large.choose(-1.0 / size, is_middle.choose((size - 1.0) / (size + 1.0), size))
    offset = is_large.choose(math.pi / 2, is_middle.choose(k.constant(math.pi / 4), k.zero))
    square = turned * turned
    value = offset + fn.fma(square * turned, fn.polynomial(square, ARCTAN), turned)
    return k.intrinsic("copysign", value, x)


def arctan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y): that of the smaller over the larger size, turned into its octant."""
    k = y.kernel
    a, b = fn.absolute(y), fn.absolute(x)
    large, small = fn.larger(a, b), fn.smaller(a, b)
    ratio = large.equals(0.0).choose(k.zero, small.equals(math.inf).choose(1.0, small / large))
    angle = arctan(ratio)
    angle = (a > b).choose(math.pi / 2 - angle, angle)
    angle = (x.bits() < 0).choose(math.pi - angle, angle)
    angle = x.is_nan().choose(x, y.is_nan().choose(y, angle))
    return k.intrinsic("copysign", angle, y)


def _arcsin_small(x: Value) -> Value:
    """For |x| <= 1/2."""
    square = x * x
    return fn.fma(square * x, fn.polynomial(square, ARCSIN), x)


def _arcsin_parts(x: Value) -> tuple[Value, Value, Value]:
    """Whether |x| is above 1/2, and arcsin(r) of r = |x|, or there of sqrt((1 - |x|) / 2)."""
    size = fn.absolute(x)
    is_large = size > 0.5
    part = _arcsin_small(is_large.choose(fn.sqrt(0.5 * (1.0 - size)), size))
    return is_large, part, size


def arcsin(x: Value) -> Value:
    is_large, part, _ = _arcsin_parts(x)
    value = is_large.choose(math.pi / 2 - (part + part), part)
    return x.kernel.intrinsic("copysign", value, x)


def arccos(x: Value) -> Value:
    is_large, part, size = _arcsin_parts(x)
    is_negative = x < 0.0
    doubled = part + part
    beyond = is_negative.choose(math.pi - doubled, doubled)
    within = math.pi / 2 - is_negative.choose(-part, part)
    return (size > 1.0).choose(math.nan, is_large.choose(beyond, within))


def sinh(x: Value) -> Value:
    """(e - 1 / e) / 2 in terms of t = e^|x| - 1, and half of e^|x| where the other is lost."""
    size = fn.absolute(x)
    t = fn.expm1(fn.smaller(size, 20.0))
    value = (size > 15.0).choose(_half_exp(size), 0.5 * (t + t / (t + 1.0)))
    value = x.equals(0.0).choose(x, value)
    return x.kernel.intrinsic("copysign", value, x)


def cosh(x: Value) -> Value:
    size = fn.absolute(x)
    e = fn.exp(fn.smaller(size, 20.0))
    return (size > 15.0).choose(_half_exp(size), 0.5 * (e + 1.0 / e))


def _half_exp(size: Value) -> Value:
    """e^(x - ln 2) for large x: it is finite where e^x is not."""
    return fn.exp(size - fn.LN2_HIGH, size.kernel.constant(-fn.LN2_LOW))


def arcsinh(x: Value) -> Value:
    """log(a + sqrt(a^2 + 1)) of a = |x|, as log1p of what is small with a."""
    size = fn.absolute(x)
    a = fn.smaller(size, 1e9)
    square = a * a
    near = fn.log1p(a + square / (1.0 + fn.sqrt(square + 1.0)))
    value = (size > 1e9).choose(fn.log(size) + math.log(2), near)
    return x.kernel.intrinsic("copysign", value, x)


def arccosh(x: Value) -> Value:
    """log(x + sqrt(x^2 - 1)) as log1p of t + sqrt(t^2 + 2 t), t = x - 1."""
    t = fn.smaller(x, 1e9) - 1.0
    near = fn.log1p(t + fn.sqrt(t * (t + 2.0)))
    return (x > 1e9).choose(fn.log(x) + math.log(2), (x < 1.0).choose(math.nan, near))


def arctanh(x: Value) -> Value:
    """log((1 + a) / (1 - a)) / 2 of a = |x|."""
    size = fn.absolute(x)
    value = 0.5 * fn.log1p((size + size) / (1.0 - size))
    value = size.equals(1.0).choose(math.inf, value)
    return x.kernel.intrinsic("copysign", value, x)
