"""Functions on float32 vectors: exp, log, tanh and what activations and losses are made of.

Written for about one unit in the last place. `log` and `exp` reduce the argument and sum a series; everything
else is built on them in the form that keeps its precision near zero.
"""

from __future__ import annotations

import math

from kernelearn.engine.cpu.emit import Kernel

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


def exp(k: Kernel, x: str) -> str:
    """e^x: x = n ln 2 + r, e^x = 2^n (1 + r + r^2/2 + ... + r^7/5040), |r| < 0.35."""
    kind = f"<{k.width} x i32>"
    clipped = k.smaller(k.larger(x, k.constant(-105.0)), k.constant(89.0))
    n = k.intrinsic("rint", k.mul(clipped, k.constant(LOG2_E)))
    r = k.fma(n, k.constant(-LN2_HIGH), clipped)
    r = k.fma(n, k.constant(-LN2_LOW), r)
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
    z = exp(k, k.sub(k.zero, absolute(k, x)))
    denominator = k.add(k.constant(1.0), z)
    numerator = k.select(k.test("olt", x, k.constant(0.0)), z, k.constant(1.0))
    return k.div(numerator, denominator)


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
