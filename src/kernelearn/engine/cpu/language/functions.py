"""Functions of values: exp, log, tanh and what activations, losses and optimisers are made of.

Those that are a series are for float32 (`sine_and_cosine` also for float64), written for about one unit in
the last place: `log` and `exp` reduce the argument and sum; everything else is built on them in the form that
keeps its precision near zero. The others (`absolute` to `sign`) are for any float type, and for single
numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernelearn.engine.cpu.language.kernel import Index
from kernelearn.engine.cpu.language.values import SIZES, Value, type_of

DOUBLE = type_of("double")

LOG2_E = 1 / math.log(2)
# ln 2 in two parts; the first has few bits, so that its product with a small integer is exact.
LN2_HIGH = 0.693359375
LN2_LOW = math.log(2) - LN2_HIGH


# --- for any float type


def absolute(x: Value) -> Value:
    return x.kernel.intrinsic("fabs", x)


def sqrt(x: Value) -> Value:
    return x.kernel.intrinsic("sqrt", x)


def fma(a: Value | float, b: Value | float, c: Value | float) -> Value:
    """a * b + c, rounded once where the processor can, else twice; at least one of them is a value."""
    known = next(v for v in (a, b, c) if isinstance(v, Value))
    k = known.kernel
    return k.fma(*(v if isinstance(v, Value) else k.constant(v, known.type) for v in (a, b, c)))


def larger(a: Value, b: Value | float) -> Value:
    """max(a, b); a NaN in `a` is kept."""
    other = b if isinstance(b, Value) else a.kernel.constant(b, a.type)
    return (a < other).choose(other, a)


def positive(x: Value) -> Value:
    """x where it is above zero, else zero; a NaN is kept."""
    return larger(x, x.kernel.zero_of(x.type))


def smaller(a: Value, b: Value | float) -> Value:
    """min(a, b); a NaN in `a` is kept."""
    other = b if isinstance(b, Value) else a.kernel.constant(b, a.type)
    return (a > other).choose(other, a)


def maximum(a: Value, b: Value) -> Value:
    """max(a, b), NaN if either is."""
    return b.is_nan().choose(b, larger(a, b))


def minimum(a: Value, b: Value) -> Value:
    """min(a, b), NaN if either is."""
    return b.is_nan().choose(b, smaller(a, b))


def take_larger(best: Value, where: Value, x: Value, number: Value) -> tuple[Value, Value]:
    """The larger of `best` and one more x, and its number. The first of equals wins; a NaN wins and stays."""
    where = (x > best).choose(number, where)
    return maximum(best, x), where


def clip(x: Value, low: float, high: float) -> Value:
    """x moved into [low, high]; NaN stays NaN."""
    return smaller(larger(x, low), high)


def sign(x: Value) -> Value:
    """-1, 0 or 1; NaN stays NaN, and a zero keeps its sign."""
    k = x.kernel
    one = k.intrinsic("copysign", k.constant(1.0, x.type), x)
    return x.test("one", k.zero_of(x.type)).choose(one, x)


def power(x: Value, exponent: float) -> Value:
    """x^exponent for x >= 0: by products for small whole exponents, else e^(exponent ln x) (float32 only)."""
    if exponent == int(exponent) and 0 <= exponent <= 8:
        result = x.kernel.constant(1.0, x.type)
        for _ in range(int(exponent)):
            result = result * x
        return result
    return exp(exponent * log(x))


def polynomial(x: Value, coefficients: list[float]) -> Value:
    """Horner's rule, highest power first."""
    value = x.kernel.constant(coefficients[0], x.type)
    for coefficient in coefficients[1:]:
        value = fma(value, x, coefficient)
    return value


# --- exponentials and logarithms of float32


def power_of_two(n: Value) -> Value:
    """2^n for int32 in the range of normal numbers."""
    return ((n + 127) << 23).from_bits()


# e^r for |r| <= ln(2) / 2 as a polynomial that begins with 1 + r: relative error 3e-9.
EXP = [
    0.001381459878757596,
    0.008368716575205326,
    0.04166838899254799,
    0.1666652113199234,
    0.4999999403953552,
    1.0,
    1.0,
]


def exp(x: Value, rest: Value | None = None) -> Value:
    """e^x: x = n ln 2 + r, e^x = 2^n p(r), |r| < 0.35.

    Args:
        rest: a small number to add to x, below the precision of x.
    """
    clipped = clip(x, -105.0, 89.0)
    n = x.kernel.intrinsic("rint", clipped * LOG2_E)
    r = fma(n, -LN2_HIGH, clipped)
    r = fma(n, -LN2_LOW, r)
    if rest is not None:
        r = r + rest
    series = polynomial(r, EXP)
    if x.kernel.can_scale(x.type):
        return x.kernel.scaled(series, n)
    # NOTE: 2^n in two factors, because n reaches from -151 to 128, beyond the exponents of normal numbers.
    whole = x.is_number().choose(n, x.kernel.zero_of(x.type)).to_int()
    half = whole.halved()
    other = whole - half
    return series * power_of_two(half) * power_of_two(other)


def share(x: Value) -> Value:
    """e^x for x <= 0 beside e^0 = 1, where what is no normal number is as good as nothing: then 0.

    Processors take a hundred times as long for numbers below the normal ones, and masks are full of them.
    """
    least = -87.0
    return (x < least).choose(x.kernel.zero_of(x.type), exp(larger(x, least)))


def log(x: Value) -> Value:
    """ln x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 (s + s^3/3 + ...), s = (m-1)/(m+1)."""
    k = x.kernel
    small = x < 1.17549435e-38
    bits = small.choose(x * 2.0**24, x).bits()
    # sqrt(1/2) as bits: numbers below it in their octave belong to the next lower exponent.
    exponent = (bits - 0x3F3504F3).halved(23)
    m = (bits - (exponent << 23)).from_bits()
    e = exponent.to_float()
    e = small.choose(e - 24.0, e)
    f = m - 1.0
    s = f / (f + 2.0)
    s2 = s * s
    tail = polynomial(s2, [2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3])
    # ln m = f - s f + s^3 (2/3 + ...): the form whose leading term f is exact.
    series = fma(s2 * s, tail, (k.zero_of(x.type) - s) * f)
    series = fma(e, LN2_LOW, series)
    value = fma(e, LN2_HIGH, f + series)
    value = x.equals(math.inf).choose(x, value)
    value = x.equals(0.0).choose(-math.inf, value)
    value = (x < 0.0).choose(math.nan, value)
    return x.is_nan().choose(x, value)


def log1p(x: Value) -> Value:
    """ln(1 + x) with the precision of x near zero: ln(u) x / (u - 1), u = 1 + x as rounded.

    Source: Kahan's correction, in Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1.
    """
    u = 1.0 + x
    corrected = log(u) * (x / (u - 1.0))
    is_plain = u.equals(1.0)
    is_infinite = u.equals(math.inf)
    return is_plain.choose(x, is_infinite.choose(u, corrected))


def expm1(x: Value) -> Value:
    """e^x - 1: with x = n ln 2 + r it is 2^n (e^r - 1) + (2^n - 1), and e^r - 1 is a series from r on."""
    # Below -18 the result is -1; so n > -27, and half of 2^n is a normal number.
    clipped = clip(x, -18.0, 89.0)
    n = x.kernel.intrinsic("rint", clipped * LOG2_E)
    r = fma(n, -LN2_HIGH, clipped)
    r = fma(n, -LN2_LOW, r)
    series = polynomial(r, [1 / math.factorial(i) for i in range(8, 1, -1)])
    series = fma(r * r, series, r)
    whole = x.is_number().choose(n, x.kernel.zero_of(x.type)).to_int()
    half = power_of_two(whole - 1)
    result = fma(half, series, half - 0.5)
    # Half of a subnormal number would lose its last bit.
    tiny = absolute(x) < 2.0**-25
    return tiny.choose(x, result + result)


# --- sigmoids


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x), without overflow for either sign: with z = e^-|x| it is 1/(1+z) or z/(1+z)."""
    numerators, denominator = _sigmoid_parts(x)
    return numerators[0] / denominator


def sigmoids(x: Value) -> tuple[Value, Value]:
    """sigmoid(x) and sigmoid(-x) = 1 - sigmoid(x), both precise where they are small."""
    numerators, denominator = _sigmoid_parts(x)
    return numerators[0] / denominator, numerators[1] / denominator


def _sigmoid_parts(x: Value) -> tuple[tuple[Value, Value], Value]:
    z = exp(-absolute(x))
    is_negative = x < x.kernel.zero_of(x.type)
    return (is_negative.choose(z, 1.0), is_negative.choose(1.0, z)), 1.0 + z


# (tanh(x) - x) / x^3 as a polynomial in x^2 for x^2 <= 0.4: interpolation at Chebyshev points.
TANH = [
    0.0022695015650242567,
    -0.0083231870085001,
    0.021762503311038017,
    -0.053958460688591,
    0.1333329975605011,
    -0.3333333432674408,
]


def tanh(x: Value) -> Value:
    """x + x^3 p(x^2) near zero, else 1 - 2 / (e^2|x| + 1) with the sign of x."""
    square = x * x
    cube = x * square
    near = fma(cube, polynomial(square, TANH), x)
    size = smaller(absolute(x), 10.0)
    far = 2.0 / (exp(size + size) + 1.0)
    # A NaN takes the first form, in which it stays.
    value = (square > 0.4).choose(1.0 - far, near)
    return x.kernel.intrinsic("copysign", value, x)


def softplus(x: Value) -> Value:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    z = exp(-absolute(x))
    return positive(x) + log1p(z)


# --- the normal distribution


# erfc(y) e^(y^2) (1 + 2 y) as a polynomial in (y - 2) / (y + 2), 0 <= y <= 10.2: there erfc ends in float32;
# interpolation at Chebyshev points, error 2e-8.
ERFC = [
    2.2995682229520753e-05,
    -0.0003702809917740524,
    -0.0012509537627920508,
    0.0012801680713891983,
    0.008638506755232811,
    -0.008047373034060001,
    -0.05420541763305664,
    0.16405358910560608,
    -0.16603133082389832,
    -0.09276391565799713,
    1.2769783735275269,
]


def exp_minus_square(y: Value, factor: float = 1.0) -> Value:
    """e^(-factor y^2) for a factor of 1 or 1/2, without the rounding error of y^2.

    An exact multiply-add tells what y^2 was rounded by. Where the processor has none, y is split into its
    leading bits, whose square is exact, and the rest.
    """
    if y.kernel.has_fma:
        square = y * y
        return exp(-factor * square, -factor * fma(y, y, -square))
    lead = (y.bits() & -4096).from_bits()
    rest = (y - lead) * (y + lead)
    return exp(-factor * (lead * lead), -factor * rest)


def _erfc_scaled(y: Value) -> Value:
    """erfc(y) e^(y^2) for 0 <= y <= 10.2."""
    q = (y - 2.0) / (y + 2.0)
    return polynomial(q, ERFC) / fma(y, 2.0, 1.0)


def erfc(x: Value) -> Value:
    """1 - erf(x), also where it is small."""
    y = smaller(absolute(x), 10.2)
    tail = exp_minus_square(y) * _erfc_scaled(y)
    return (x < x.kernel.zero_of(x.type)).choose(2.0 - tail, tail)


# Probability beyond s of a standard normal number, times e^(s^2 / 2), for 0 <= s <= 14.4, as a quotient of
# two polynomials in s: relative error 6e-9. All terms are positive, so nothing cancels.
TAIL = [0.0041086944, 0.0405820129, 0.183083344, 0.43809025, 0.5]
TAIL_DIVISOR = [0.0102988481, 0.101730538, 0.469069865, 1.20187295, 1.67406548, 1.0]


def gaussian_cdf(x: Value) -> Value:
    """Probability that a standard normal number is below x: erfc(-x / sqrt(2)) / 2."""
    return gaussian(x)[0]


def gaussian(x: Value) -> tuple[Value, Value]:
    """That probability and e^(-x^2 / 2), by one exponential and one division."""
    size = smaller(absolute(x), 14.4)
    bell = exp_minus_square(size, 0.5)
    tail = bell * polynomial(size, TAIL) / polynomial(size, TAIL_DIVISOR)
    return (x > x.kernel.zero_of(x.type)).choose(1.0 - tail, tail), bell


# --- circles


def sine_and_cosine(turns: Value) -> tuple[Value, Value]:
    """sin(2 pi t) and cos(2 pi t), also in float64: quarters of a turn are taken off exactly."""
    last, integer = (8, "i64") if turns.type.element == "double" else (4, "i32")
    quarter = turns.kernel.intrinsic("rint", turns * 4.0)
    r = turns - quarter * 0.25
    square = r * r
    tau = 2 * math.pi
    odd = [(-1) ** i * tau ** (2 * i + 1) / math.factorial(2 * i + 1) for i in range(last, -1, -1)]
    even = [(-1) ** i * tau ** (2 * i) / math.factorial(2 * i) for i in range(last + 1, -1, -1)]
    sine, cosine = r * polynomial(square, odd), polynomial(square, even)
    number = quarter.to_int(integer)
    is_odd = number.truncated("i1")
    first, second = is_odd.choose(cosine, sine), is_odd.choose(sine, cosine)
    # Quarters 2 and 3 turn the sine's sign, quarters 1 and 2 the cosine's.
    following = number + 1
    return _signed(first, number), _signed(second, following)


def _signed(x: Value, number: Value) -> Value:
    """x, or -x where bit 1 of a number is set."""
    flip = (number & 2) << (8 * SIZES[number.type.element] - 2)
    return (x.bits() ^ flip).from_bits()


# --- powers of a counter


def powers(bases: Sequence[float], exponent: Index) -> list[Value]:
    """base^exponent in float64 for an exponent of at least 0, by repeated squaring."""
    k = exponent.kernel
    results = [k.register("double", k.constant(1.0, DOUBLE)) for _ in bases]
    squares = [k.register("double", k.constant(base, DOUBLE)) for base in bases]
    k.declare("i64 @llvm.ctlz.i64(i64, i1)")
    unused = Index(k, k.op(f"call i64 @llvm.ctlz.i64(i64 {exponent}, i1 false)"))
    with k.loop(0, unused * -1 + 64) as bit:
        shifted = k.value(f"lshr i64 {exponent}, {bit}", "i64")
        odd = shifted.truncated("i1")
        for result, square in zip(results, squares):
            factor = odd.choose(k.get(square), 1.0)
            k.set(result, k.get(result) * factor)
            k.set(square, k.get(square) * k.get(square))
    return [k.get(result) for result in results]
