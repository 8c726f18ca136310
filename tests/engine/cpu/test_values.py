"""Values of the emission language know their type: what they write, and what they refuse."""

import math
import struct

import pytest

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import PAIR, Type, as_type, float_text, type_of
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.errors import KernelearnError

VECTOR, DOUBLE = type_of("float", 8), type_of("double")


@pytest.fixture
def k():
    return Kernel("test", ("x", "y"), Target("avx2", "", "", 8, 16))


def last(k: Kernel) -> str:
    """The last instruction, without its register."""
    return k.finish().splitlines()[-3].split(" = ")[-1]


def bits(text: str) -> float:
    (number,) = struct.unpack("<d", struct.pack("<Q", int(text, 16)))
    return number


def test_a_type_is_spelled_as_llvm_does():
    assert (VECTOR, DOUBLE, VECTOR.of("i1")) == ("<8 x float>", "double", "<8 x i1>")
    assert as_type("<8 x float>") is VECTOR and as_type("double") is DOUBLE
    assert type_of(PAIR, 8) == VECTOR and type_of(PAIR, 8) is not VECTOR
    assert (VECTOR.suffix, DOUBLE.suffix, VECTOR.one) == ("v8f32", "f64", "float")


def test_an_address_is_formed_once_in_a_basic_block(k):
    with k.loop(k.lo, k.hi) as i:
        first, again = k.load("x", i * 3 + 1), k.load("x", i * 3 + 2)
        k.store(first + again, "y", i * 3)
    inside = k.finish().split("phi")[1]
    assert inside.count("mul i64 %i") == 1 and inside.count("ptr %arg.x, i64") == 1
    assert first.split("load")[-1] != again.split("load")[-1]
    with k.loop(0, k.hi) as i:
        k.load("x", i * 3)
    assert k.finish().count("ptr %arg.x, i64") == 2


@pytest.mark.parametrize("products", [7, 8])
def test_llvm_sees_the_counters_of_register_tiles_alone(k, products):
    with k.loop(k.lo, k.hi) as outer:
        with k.loop(0, k.hi) as inner:
            for number in range(products):
                k.store(k.fma(*[k.load("x", inner + number)] * 3), "y", outer)
        k.store(k.zero, "y", outer)
    text = k.finish()
    assert text.count(" = phi i64 ") == 2
    assert text.count("call i64 asm") == (2 if products == 7 else 1)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 32, 35, 64, 77])
@pytest.mark.parametrize("start", ["known", "image"])
def test_a_known_range_is_gone_through_once(k, count, start):
    first = k.const(0) if start == "known" else k.lo * 100
    seen = []
    emit_flat(k, first, first + count, lambda at, mask: seen.append((at.constant, mask)))
    whole = [at for at, mask in seen if mask is None]
    assert [mask.count("i1 1") for _, mask in seen if mask is not None] == ([count % 8] if count % 8 else [])
    assert len(whole) == (4 if count >= 32 else 0) + min(count // 8 % 4, 1)


@pytest.mark.parametrize("number", [1 / 3, 0.1, -0.0, 1e300])
def test_a_float64_constant_is_exact(number):
    assert bits(DOUBLE.constant(number)) == number
    assert math.copysign(1, bits(DOUBLE.constant(number))) == math.copysign(1, number)
    assert bits(type_of("double", 4).constant(number).split()[1].rstrip(",")) == number


def test_a_float32_constant_is_rounded():
    assert bits(float_text(0.1)) == struct.unpack("f", struct.pack("f", 0.1))[0] != 0.1


def test_operators_write_instructions_of_the_type(k):
    x = k.load("x")
    for made, text in (
        (x + 1.0, f"fadd <8 x float> {x}, {VECTOR.constant(1.0)}"),
        (1.0 - x, f"fsub <8 x float> {VECTOR.constant(1.0)}, {x}"),
        (-x, f"fneg <8 x float> {x}"),
        (x.bits() << 3, None),
        (x.widened() / 3.0, None),
        (x.lane() * 2.0, None),
    ):
        assert text is None or text in k.finish()
        assert made.type is (VECTOR if text else made.type)
    assert (x < 0.0).type == "<8 x i1>" and (x.bits() < 0).type == "<8 x i1>"
    assert f"fcmp olt <8 x float> {x}" in k.finish() and "icmp slt <8 x i32>" in k.finish()
    assert (x.bits() + 1).type.element == "i32" and (x.lane() * 2.0).type == "float"


def test_a_comparison_chooses(k):
    x = k.load("x")
    made = (x > 0.0).choose(x, 0.5)
    assert made.type is VECTOR and f"<8 x float> {x}, <8 x float> {VECTOR.constant(0.5)}" in last(k)
    with pytest.raises(KernelearnError, match="has no type"):
        (x > 0.0).choose(1.0, 0.5)


@pytest.mark.parametrize(
    "mix",
    [
        lambda k, x: x + x.widened(),
        lambda k, x: x * x.lane(),
        lambda k, x: x - x.bits(),
        lambda k, x: x < x.widened(),
        lambda k, x: fn.maximum(x, x.widened()),
    ],
)
def test_two_types_are_refused(k, mix):
    with pytest.raises(KernelearnError, match="convert one"):
        mix(k, k.load("x"))


@pytest.mark.parametrize("mix", [lambda x: x + "%v1", lambda x: x > "%v1"])
def test_text_without_a_type_is_refused(k, mix):
    with pytest.raises(KernelearnError, match="without a type"):
        mix(k.load("x"))


def test_integers_are_not_divided(k):
    with pytest.raises(KernelearnError, match="divides floats"):
        k.load("x").bits() / 2


def test_the_absent_term_writes_nothing(k):
    x, before = k.load("x"), k.finish()
    nothing = k.nothing
    assert nothing + x is x and x + nothing is x and x - nothing is x
    assert (nothing * x).is_absent and (nothing + nothing).is_absent and (nothing / x).is_absent
    assert k.finish() == before
    assert not (nothing - x).is_absent and last(k) == f"fsub <8 x float> zeroinitializer, {x}"


def test_adding_zero_is_an_instruction(k):
    """It turns -0 into 0."""
    x = k.load("x")
    assert k.zero + x is not x and last(k).startswith("fadd")


def test_functions_take_any_float_type(k):
    for x in (k.load("x"), k.load("x").widened(), k.load_one("x"), k.load_one("x", 0, "double")):
        for function in (fn.absolute, fn.sqrt, fn.sign, lambda v: fn.clip(v, 0.0, 1.0)):
            assert function(x).type is x.type
        assert fn.maximum(x, x).type is x.type and fn.fma(x, 2.0, x).type is x.type


def test_pairs_are_multiplied_as_pairs(k):
    wide = Kernel("pairs", ("x",), Target("avx512", "", "", 16, 32, True))
    total = wide.multiply_add(wide.load("x", 0, None, PAIR), wide.broadcast("x", 0, PAIR), wide.zero)
    assert "dpbf16ps" in last(wide) and total.type == "<16 x float>"
    assert "dpbf16ps" not in k.multiply_add(k.load("x"), k.load("x"), k.zero).kernel.finish()


def test_a_register_keeps_its_type(k):
    register = k.register(start=k.load_one("x", 0, "double"))
    with k.loop(0, 3):
        k.set(register, k.get(register) * 2.0)
    assert isinstance(register.type, Type) and k.get(register).type is DOUBLE
