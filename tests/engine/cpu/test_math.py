"""Functions on vectors against float64, from subnormal numbers to infinity: errors in last places."""

import ctypes
import itertools
import math

import numpy as np
import pytest
from scipy import special

from kernelearn.engine.cpu.language import angles, powers
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.machine import codegen, compiler
from kernelearn.engine.cpu.machine.target import find_target
from tests.engine.cpu.harness import TARGETS

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_numbers = itertools.count()


def compiled(emit, target: str):
    """f(x) -> y, or a tuple, for float32 arrays."""
    machine = find_target(target)

    def call(x: np.ndarray, results: int = 1):
        name = f"math_test_{next(_numbers)}"
        k = Kernel(name, ("x", *(f"y{i}" for i in range(results))), machine)

        def one(at, mask):
            values = emit(k.load("x", at, mask))
            for i, value in enumerate(values if isinstance(values, tuple) else (values,)):
                k.store(value, f"y{i}", at, mask)

        emit_flat(k, k.lo, k.hi, one)
        function = compiler.link([codegen.compile_object(k.finish(), machine)], machine).function(name)
        x = np.ascontiguousarray(x, "float32")
        outputs = [np.empty_like(x) for _ in range(results)]
        table = np.array([x.ctypes.data, *(y.ctypes.data for y in outputs)], np.int64)
        FUNCTION(function.address)(table.ctypes.data, 0, x.size)
        return outputs[0] if results == 1 else outputs

    return call


def every_exponent(low: float = -150.0, high: float = 127.99) -> np.ndarray:
    """Numbers of both signs, dense in their logarithm."""
    sizes = np.exp2(np.random.default_rng(0).uniform(low, high, 60_000))
    return np.concatenate([sizes, -sizes]).astype("float32")


def near(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(1).uniform(low, high, 60_000).astype("float32")


def positive(x: np.ndarray) -> np.ndarray:
    return x[x >= 0]


SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38, 1.1754942e-38], "f"
)
EVERYWHERE = np.concatenate([every_exponent(), near(-20, 20), near(-2, 2), near(-110, 95), SPECIAL])

ANGLES = EVERYWHERE[~(np.abs(EVERYWHERE) >= angles.LARGEST_ANGLE) | np.isinf(EVERYWHERE)]

# name -> emitter, float64 function, arguments, largest error in units in the last place.
FUNCTIONS = {
    "exp": (fn.exp, np.exp, EVERYWHERE, 1.5),
    "log": (fn.log, np.log, EVERYWHERE, 1.5),
    "log1p": (fn.log1p, np.log1p, EVERYWHERE, 2.5),
    "expm1": (fn.expm1, np.expm1, EVERYWHERE, 2.0),
    "tanh": (fn.tanh, np.tanh, EVERYWHERE, 2.0),
    "sigmoid": (fn.sigmoid, special.expit, EVERYWHERE, 3.0),
    "softplus": (fn.softplus, lambda x: np.logaddexp(x, 0), EVERYWHERE, 3.0),
    "erfc": (fn.erfc, special.erfc, EVERYWHERE, 6.0),
    "gaussian_cdf": (fn.gaussian_cdf, special.ndtr, EVERYWHERE, 7.0),
    "sqrt": (fn.sqrt, np.sqrt, EVERYWHERE, 0.5001),
    "sign": (fn.sign, np.sign, EVERYWHERE, 0.0),
    "power 2.5": (lambda x: fn.power(x, 2.5), lambda x: x**2.5, positive(near(0, 1)), 40.0),
    "sin": (angles.sin, np.sin, ANGLES, 1.5),
    "cos": (angles.cos, np.cos, ANGLES, 1.5),
    "tan": (angles.tan, np.tan, ANGLES, 3.5),
    "sinh": (angles.sinh, np.sinh, EVERYWHERE, 4.0),
    "cosh": (angles.cosh, np.cosh, EVERYWHERE, 4.0),
    "arcsin": (angles.arcsin, np.arcsin, EVERYWHERE, 4.0),
    "arccos": (angles.arccos, np.arccos, EVERYWHERE, 4.0),
    "arctan": (angles.arctan, np.arctan, EVERYWHERE, 4.0),
    "arcsinh": (angles.arcsinh, np.arcsinh, EVERYWHERE, 5.0),
    "arccosh": (angles.arccosh, np.arccosh, EVERYWHERE, 5.0),
    "arctanh": (angles.arctanh, np.arctanh, EVERYWHERE, 5.0),
    "log2": (powers.log2, np.log2, EVERYWHERE, 1.0),
    "log10": (powers.log10, np.log10, EVERYWHERE, 1.0),
    "erf": (powers.erf, special.erf, EVERYWHERE, 7.0),
    "erfinv": (powers.erfinv, special.erfinv, EVERYWHERE, 8.0),
    "power -1.5": (lambda x: powers.power_by(x, -1.5), lambda x: x**-1.5, positive(near(0, 9)), 4.0),
    "power 2.2": (
        lambda x: powers.power_by(x, 2.2),
        lambda x: x ** np.float64(np.float32(2.2)),
        EVERYWHERE,
        1.5,
    ),
    "power 3": (lambda x: fn.power(x, 3.0), lambda x: x**3.0, near(-9, 9), 1.6),
}


def errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in units in the last place of the exact value; entries that are no numbers must agree."""
    rounded = exact.astype("float32")
    plain = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~plain], rounded[~plain])
    unit = np.spacing(np.maximum(np.abs(rounded[plain]), np.float32(2.0**-126))).astype("float64")
    return np.abs(y[plain] - exact[plain]) / unit


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function(name, target):
    emit, exact, x, limit = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        worst = errors(compiled(emit, target)(x), exact(x.astype("float64")))
    assert worst.max() <= limit, f"{worst.max():.2f} ulp at {x[np.isfinite(exact(x))][worst.argmax()]!r}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", ["tanh", "expm1", "log1p", "sign", "sin", "tan", "sinh", "arcsin", "arctan", "arcsinh", "erf"]
)
def test_an_odd_function_keeps_the_sign_of_zero(name, target):
    y = compiled(FUNCTIONS[name][0], target)(np.array([0.0, -0.0]))
    np.testing.assert_array_equal(np.signbit(y), [False, True])


@pytest.mark.parametrize("target", TARGETS)
def test_sine_and_cosine(target):
    turns = np.concatenate([np.arange(2.0**24)[::701] * 2.0**-24, np.arange(9) / 8]).astype("f")
    sine, cosine = compiled(fn.sine_and_cosine, target)(turns, 2)
    for y, exact in ((sine, np.sin), (cosine, np.cos)):
        assert np.abs(y - exact(2 * math.pi * turns.astype("float64"))).max() <= 1.5 * 2.0**-24


def in_parts(x: Value) -> tuple[Value, Value]:
    """A float64 as the nearest float32 and what is left of it."""
    high = x.narrowed()
    return high, (x - high.widened()).narrowed()


@pytest.mark.parametrize("target", TARGETS)
def test_sine_and_cosine_are_as_precise_as_float64_if_their_argument_is(target):
    def emit(x: Value) -> tuple[Value, ...]:
        sine, cosine = fn.sine_and_cosine(x.widened())
        return *in_parts(sine), *in_parts(cosine)

    turns = np.concatenate([np.arange(-(2.0**24), 2.0**24)[::701] * 2.0**-24, np.arange(-9, 9) / 8]).astype(
        "f"
    )
    parts = [part.astype("float64") for part in compiled(emit, target)(turns, 4)]
    # Of a whole number of quarters the sine is exactly zero, or one.
    angles = 2 * math.pi * (turns.astype("float64") - np.rint(turns * 4) / 4)
    quarter = np.rint(turns * 4).astype(int)
    for high, low, shift in ((*parts[:2], 0), (*parts[2:], 1)):
        number = (quarter + shift) % 4
        exact = np.where(number % 2, np.cos(angles), np.sin(angles)) * np.where(number >= 2, -1, 1)
        # The two parts leave out what is below 49 bits.
        assert np.abs(high + low - exact).max() <= 2.0**-49
