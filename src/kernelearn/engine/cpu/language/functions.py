"""Functions on float32 vectors: exp, log, tanh and what activations and losses are made of.

Written for about one unit in the last place. `log` and `exp` reduce the argument and sum a series; everything
else is built on them in the form that keeps its precision near zero.
"""

from __future__ import annotations

import math

from kernelearn.engine.cpu.language.kernel import Kernel

LOG2_E = 1 / math.log(2)
# ln 2 in two parts; the first has few bits, so that its product with a small integer is exact.
LN2_HIGH = 0.693359375
LN2_LOW = math.log(2) - LN2_HIGH


def integers(k: Kernel, value: int) -> str:
    """The same int32 in every lane."""
    return "<" + ", ".join([f"i32 {value}"] * k.width) + ">"


def as_bits(k: Kernel, x: str) -> str:
    return k.op(f"bitcast {k.vector} {x} to <{k.width} x i32>")


def as_float(k: Kernel, bits: str) -> str:
    return k.op(f"bitcast <{k.width} x i32> {bits} to {k.vector}")


def polynomial(k: Kernel, x: str, coefficients: list[float]) -> str:
    """Horner's rule, highest power first."""
    value = k.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = k.fma(value, x, k.constant(coefficient))
    return value


def power_of_two(k: Kernel, n: str) -> str:
    """2^n for a vector of int32 in the range of normal numbers."""
    kind = f"<{k.width} x i32>"
    biased = k.op(f"add {kind} {n}, {integers(k, 127)}")
    return as_float(k, k.op(f"shl {kind} {biased}, {integers(k, 23)}"))


def exp(k: Kernel, x: str, rest: str | None = None) -> str:
    """e^x: x = n ln 2 + r, e^x = 2^n (1 + r + r^2/2 + ... + r^7/5040), |r| < 0.35.

    Args:
        rest: a small number to add to x, below the precision of x.
    """
    kind = f"<{k.width} x i32>"
    clipped = k.smaller(k.larger(x, k.constant(-105.0)), k.constant(89.0))
    n = k.intrinsic("rint", k.mul(clipped, k.constant(LOG2_E)))
    r = k.fma(n, k.constant(-LN2_HIGH), clipped)
    r = k.fma(n, k.constant(-LN2_LOW), r)
    if rest is not None:
        r = k.add(r, rest)
    series = polynomial(k, r, [1 / math.factorial(i) for i in range(7, -1, -1)])
    # NOTE: 2^n in two factors, because n reaches from -151 to 128, beyond the exponents of normal numbers.
    safe = k.select(k.test("ord", x, x), n, k.zero)
    whole = k.op(f"fptosi {k.vector} {safe} to {kind}")
    half = k.op(f"ashr {kind} {whole}, {integers(k, 1)}")
    rest = k.op(f"sub {kind} {whole}, {half}")
    return k.mul(k.mul(series, power_of_two(k, half)), power_of_two(k, rest))


def log(k: Kernel, x: str) -> str:
    """ln x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 (s + s^3/3 + ...), s = (m-1)/(m+1)."""
    kind = f"<{k.width} x i32>"
    small = k.test("olt", x, k.constant(1.17549435e-38))
    scaled = k.select(small, k.mul(x, k.constant(2.0**24)), x)
    bits = as_bits(k, scaled)
    # sqrt(1/2) as bits: numbers below it in their octave belong to the next lower exponent.
    shifted = k.op(f"sub {kind} {bits}, {integers(k, 0x3F3504F3)}")
    exponent = k.op(f"ashr {kind} {shifted}, {integers(k, 23)}")
    removed = k.op(f"shl {kind} {exponent}, {integers(k, 23)}")
    m = as_float(k, k.op(f"sub {kind} {bits}, {removed}"))
    e = k.op(f"sitofp {kind} {exponent} to {k.vector}")
    e = k.select(small, k.sub(e, k.constant(24.0)), e)
    f = k.sub(m, k.constant(1.0))
    s = k.div(f, k.add(f, k.constant(2.0)))
    s2 = k.mul(s, s)
    tail = polynomial(k, s2, [2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3])
    # ln m = f - s f + s^3 (2/3 + ...): the form whose leading term f is exact.
    series = k.fma(k.mul(s2, s), tail, k.mul(k.sub(k.zero, s), f))
    series = k.fma(e, k.constant(LN2_LOW), series)
    value = k.fma(e, k.constant(LN2_HIGH), k.add(f, series))
    infinity, nan = k.constant(math.inf), k.constant(math.nan)
    value = k.select(k.test("oeq", x, infinity), x, value)
    value = k.select(k.test("oeq", x, k.constant(0.0)), k.constant(-math.inf), value)
    value = k.select(k.test("olt", x, k.constant(0.0)), nan, value)
    return k.select(k.test("uno", x, x), x, value)


def absolute(k: Kernel, x: str) -> str:
    return k.intrinsic("fabs", x)


def sqrt(k: Kernel, x: str) -> str:
    return k.intrinsic("sqrt", x)


def sigmoid(k: Kernel, x: str) -> str:
    """1 / (1 + e^-x), without overflow for either sign: with z = e^-|x| it is 1/(1+z) or z/(1+z)."""
    numerators, denominator = _sigmoid_parts(k, x)
    return k.div(numerators[0], denominator)


def sigmoids(k: Kernel, x: str) -> tuple[str, str]:
    """sigmoid(x) and sigmoid(-x) = 1 - sigmoid(x), both precise where they are small."""
    numerators, denominator = _sigmoid_parts(k, x)
    return k.div(numerators[0], denominator), k.div(numerators[1], denominator)


def _sigmoid_parts(k: Kernel, x: str) -> tuple[tuple[str, str], str]:
    one, z = k.constant(1.0), exp(k, negative(k, absolute(k, x)))
    is_negative = k.test("olt", x, k.zero)
    numerators = k.select(is_negative, z, one), k.select(is_negative, one, z)
    return numerators, k.add(one, z)


def maximum(k: Kernel, a: str, b: str) -> str:
    """max(a, b), NaN if either is."""
    return k.select(k.test("uno", b, b), b, k.larger(a, b))


def minimum(k: Kernel, a: str, b: str) -> str:
    """min(a, b), NaN if either is."""
    return k.select(k.test("uno", b, b), b, k.smaller(a, b))


def clip(k: Kernel, x: str, low: float, high: float) -> str:
    """x moved into [low, high]; NaN stays NaN."""
    return k.smaller(k.larger(x, k.constant(low)), k.constant(high))


def sign(k: Kernel, x: str) -> str:
    """-1, 0 or 1; NaN stays NaN, and a zero keeps its sign."""
    one = k.intrinsic("copysign", k.constant(1.0), x)
    return k.select(k.test("one", x, k.zero), one, x)


def log1p(k: Kernel, x: str) -> str:
    """ln(1 + x) with the precision of x near zero: ln(u) x / (u - 1), u = 1 + x as rounded.

    Source: Kahan's correction, in Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1.
    """
    one = k.constant(1.0)
    u = k.add(one, x)
    corrected = k.mul(log(k, u), k.div(x, k.sub(u, one)))
    is_plain = k.test("oeq", u, one)
    is_infinite = k.test("oeq", u, k.constant(math.inf))
    return k.select(is_plain, x, k.select(is_infinite, u, corrected))


def expm1(k: Kernel, x: str) -> str:
    """e^x - 1: with x = n ln 2 + r it is 2^n (e^r - 1) + (2^n - 1), and e^r - 1 is a series from r on."""
    kind = f"<{k.width} x i32>"
    # Below -18 the result is -1; so n > -27, and half of 2^n is a normal number.
    clipped = k.smaller(k.larger(x, k.constant(-18.0)), k.constant(89.0))
    n = k.intrinsic("rint", k.mul(clipped, k.constant(LOG2_E)))
    r = k.fma(n, k.constant(-LN2_HIGH), clipped)
    r = k.fma(n, k.constant(-LN2_LOW), r)
    series = polynomial(k, r, [1 / math.factorial(i) for i in range(8, 1, -1)])
    series = k.fma(k.mul(r, r), series, r)
    safe = k.select(k.test("ord", x, x), n, k.zero)
    whole = k.op(f"fptosi {k.vector} {safe} to {kind}")
    half = power_of_two(k, k.op(f"sub {kind} {whole}, {integers(k, 1)}"))
    result = k.fma(half, series, k.sub(half, k.constant(0.5)))
    # Half of a subnormal number would lose its last bit.
    tiny = k.test("olt", absolute(k, x), k.constant(2.0**-25))
    return k.select(tiny, x, k.add(result, result))


# (tanh(x) - x) / x^3 as a polynomial in x^2 for x^2 <= 0.4: interpolation at Chebyshev points.
TANH = [
    0.0022695015650242567,
    -0.0083231870085001,
    0.021762503311038017,
    -0.053958460688591,
    0.1333329975605011,
    -0.3333333432674408,
]


def tanh(k: Kernel, x: str) -> str:
    """x + x^3 p(x^2) near zero, else 1 - 2 / (e^2|x| + 1) with the sign of x."""
    square = k.mul(x, x)
    near = k.fma(k.mul(x, square), polynomial(k, square, TANH), x)
    size = k.smaller(absolute(k, x), k.constant(10.0))
    far = k.div(k.constant(2.0), k.add(exp(k, k.add(size, size)), k.constant(1.0)))
    # A NaN takes the first form, in which it stays.
    value = k.select(k.test("ogt", square, k.constant(0.4)), k.sub(k.constant(1.0), far), near)
    return k.intrinsic("copysign", value, x)


def softplus(k: Kernel, x: str) -> str:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    z = exp(k, negative(k, absolute(k, x)))
    return k.add(k.larger(x, k.zero), log1p(k, z))


def negative(k: Kernel, x: str) -> str:
    return k.op(f"fneg {k.vector} {x}")


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


def exp_minus_square(k: Kernel, y: str, factor: float = 1.0) -> str:
    """e^(-factor y^2) for a factor of 1 or 1/2, without the rounding error of y^2.

    y is split into its leading bits, whose square is exact, and the rest.
    """
    bits = k.op(f"and <{k.width} x i32> {as_bits(k, y)}, {integers(k, -4096)}")
    lead = as_float(k, bits)
    rest = k.mul(k.sub(y, lead), k.add(y, lead))
    minus = k.constant(-factor)
    return exp(k, k.mul(minus, k.mul(lead, lead)), k.mul(minus, rest))


def _erfc_scaled(k: Kernel, y: str) -> str:
    """erfc(y) e^(y^2) for 0 <= y <= 10.2."""
    q = k.div(k.sub(y, k.constant(2.0)), k.add(y, k.constant(2.0)))
    return k.div(polynomial(k, q, ERFC), k.fma(y, k.constant(2.0), k.constant(1.0)))


def erfc(k: Kernel, x: str) -> str:
    """1 - erf(x), also where it is small."""
    y = k.smaller(absolute(k, x), k.constant(10.2))
    tail = k.mul(exp_minus_square(k, y), _erfc_scaled(k, y))
    return k.select(k.test("olt", x, k.zero), k.sub(k.constant(2.0), tail), tail)


def gaussian_cdf(k: Kernel, x: str) -> str:
    """Probability that a standard normal number is below x: erfc(-x / sqrt(2)) / 2."""
    size = k.smaller(absolute(k, x), k.constant(14.4))
    # The exponential from x itself: it would magnify the rounding of x / sqrt(2).
    tail = k.mul(exp_minus_square(k, size, 0.5), _erfc_scaled(k, k.mul(size, k.constant(math.sqrt(0.5)))))
    half = k.mul(k.constant(0.5), tail)
    return k.select(k.test("ogt", x, k.zero), k.sub(k.constant(1.0), half), half)


def power(k: Kernel, x: str, exponent: float) -> str:
    """x^exponent for x >= 0: by products for small whole exponents, else e^(exponent ln x)."""
    if exponent == int(exponent) and 0 <= exponent <= 8:
        result = k.constant(1.0)
        for _ in range(int(exponent)):
            result = k.mul(result, x)
        return result
    return exp(k, k.mul(k.constant(exponent), log(k, x)))


def sine_and_cosine(k: Kernel, turns: str) -> tuple[str, str]:
    """sin(2 pi t) and cos(2 pi t) for 0 <= t <= 1: quarters of a turn are taken off exactly."""
    kind = f"<{k.width} x i32>"
    quarter = k.intrinsic("rint", k.mul(turns, k.constant(4.0)))
    r = k.sub(turns, k.mul(quarter, k.constant(0.25)))
    square = k.mul(r, r)
    tau = 2 * math.pi
    odd = [(-1) ** i * tau ** (2 * i + 1) / math.factorial(2 * i + 1) for i in range(4, -1, -1)]
    even = [(-1) ** i * tau ** (2 * i) / math.factorial(2 * i) for i in range(5, -1, -1)]
    sine, cosine = k.mul(r, polynomial(k, square, odd)), polynomial(k, square, even)
    number = k.op(f"fptosi {k.vector} {quarter} to {kind}")
    is_odd = k.op(f"trunc {kind} {number} to <{k.width} x i1>")
    first, second = k.select(is_odd, cosine, sine), k.select(is_odd, sine, cosine)
    # Quarters 2 and 3 turn the sine's sign, quarters 1 and 2 the cosine's.
    following = k.op(f"add {kind} {number}, {integers(k, 1)}")
    return _signed(k, first, number), _signed(k, second, following)


def _signed(k: Kernel, x: str, number: str) -> str:
    """x, or -x where bit 1 of a number is set."""
    kind = f"<{k.width} x i32>"
    bit = k.op(f"and {kind} {number}, {integers(k, 2)}")
    flip = k.op(f"shl {kind} {bit}, {integers(k, 30)}")
    return as_float(k, k.op(f"xor {kind} {as_bits(k, x)}, {flip}"))


def larger_or_nan(k: Kernel, a: str, b: str) -> str:
    """max(a, b), NaN if either is."""
    wins = k.op(f"or <{k.width} x i1> {k.test('ogt', b, a)}, {k.test('uno', b, b)}")
    return k.select(wins, b, a)


def take_larger(k: Kernel, best: str, where: str, value: str, tap: str) -> tuple[str, str]:
    """The larger of `best` and one more number, and the tap of the winner, as `_take` of a maximum."""
    where = k.select(k.test("ogt", value, best), tap, where, f"<{k.width} x i32>")
    return larger_or_nan(k, best, value), where
