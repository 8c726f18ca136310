"""Sums over taps: the forms that their code takes, each found in the code and held against the reference."""

import itertools

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu import gathering
from kernelearn.engine.cpu.kernels.convolution.taps.tap_rows import LONG_CODE
from kernelearn.engine.cpu.kernels.products.summed import SummedProduct
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.plan import Call, kernel_text
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from tests.engine import oracles
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, lose_a_product
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal
from tests.engine.geometries import geometry
from tests.sweeps import some

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
PASSES = ("conv", "conv_grad_input", "conv_transpose", "conv_grad_kernel")
FORWARD = PASSES[:3]


def problem(operator: str, *args, images: int = 3, precision: str = "float32", **options) -> Problem:
    """A pass of a convolution; further arguments as of `geometry`."""
    g, rng = geometry(operator, *args, **options), np.random.default_rng(3)
    outputs = oracles.output_sizes(g.sizes, g.kernel, g.stride, g.dilation, g.padding)
    x, grad = normal(rng, images, *g.sizes, g.channels), normal(rng, images, *outputs, g.filters)
    kernel = normal(rng, *g.kernel, g.channels // g.groups, g.filters)
    attrs, taps = {**g.attrs, "precision": precision}, int(np.prod(g.kernel))
    if operator == "conv":
        return Problem(operator, (x, kernel), attrs, terms=taps * g.channels // g.groups)
    if operator == "conv_grad_kernel":
        terms = images * int(np.prod(outputs))
        return Problem(operator, (x, grad), {**attrs, "kernel_size": g.kernel}, terms=terms)
    size = "input_size" if operator == "conv_grad_input" else "output_size"
    return Problem(operator, (grad, kernel), {**attrs, size: g.sizes}, terms=taps * g.filters // g.groups)


def texts(p: Problem, target: str | None = None) -> list[str]:
    """The code of its kernels."""
    executable = Bench(p, target).executable
    calls = [call for call in executable.calls() if isinstance(call, Call)]
    return [kernel_text(call, "k", executable.target) for call in calls]


# --- large windows: weights tap by tap, rows of taps in a loop

LARGE = {
    "five": (((9, 10), 5), {"padding": "same", "channels": 6, "filters": 48}),
    "eleven": (((23, 19), 11), {"stride": 4, "padding": "same", "filters": 40}),
    "wide": (((8, 12), (3, 7)), {"stride": 2, "padding": ((2, 0), (3, 4)), "channels": 7, "filters": 33}),
    "dilated": (((12, 11), 5), {"dilation": (2, 3), "padding": "same", "channels": 5, "filters": 20}),
    "crop": (((14, 12), 6), {"padding": ((-2, 5), (4, -1)), "channels": 5, "filters": 17}),
    "sequence": (((41,), 15), {"stride": 2, "padding": "same", "channels": 5, "filters": 37}),
    "volume": (((4, 6, 7), (2, 5, 4)), {"padding": "same", "channels": 5, "filters": 36}),
    "groups": (((9, 9), 5), {"groups": 2, "channels": 6, "filters": 72, "padding": "same"}),
}  # fmt: skip


# Those that are always compiled: square and not, with steps, in a row, and in groups.
QUICK = ("eleven", "wide", "sequence", "groups")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", some(LARGE, quick=QUICK))
def test_large_windows(name, target):
    args, options = LARGE[name]
    for operator in PASSES:
        check(problem(operator, *args, **options), target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", some(LARGE, quick=QUICK))
def test_large_windows_stay_inside_of_their_buffers(name, target):
    args, options = LARGE[name]
    check_guarded([problem(operator, *args, **options, images=2) for operator in PASSES], target)


# --- bands of rows of a depthwise convolution; kernel gradients image by image

BANDS = {
    "same": (((17, 15), 3), {"padding": "same", "groups": 73, "channels": 73, "filters": 73}),
    "strided": (((38, 20), 3), {"padding": "same", "stride": 2, "groups": 70, "channels": 70, "filters": 70}),
    "large": (((19, 16), 7), {"padding": "same", "groups": 67, "channels": 67, "filters": 67}),
    "uneven": (((21, 20), (2, 3)), {"stride": (3, 1), "groups": 80, "channels": 80, "filters": 80}),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", BANDS)
def test_rows_of_depthwise_convolutions_in_bands(name, target):
    args, options = BANDS[name]
    cases = [problem(operator, *args, **options, images=2) for operator in PASSES]
    calls = [c for p in cases[:2] for c in Bench(p, target).executable.calls() if isinstance(c, Call)]
    assert max(getattr(call.code, "bands", 1) for call in calls) > 1
    for case in cases:
        check(case, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_bands_stay_inside_of_their_buffers(target):
    check_guarded(
        [problem(operator, *a, **o, images=2) for a, o in BANDS.values() for operator in PASSES], target
    )


@pytest.mark.parametrize("images", [1, 2, 3, 9])
def test_kernel_gradients_of_images_are_those_of_blocks_of_filters(images):
    """Few images are divided further, and give the same bits."""
    for args, options in (
        (((20, 19), 3), {"padding": "same", "channels": 5, "filters": 37, "groups": 1}),
        (((18, 18), 3), {"padding": "same", "channels": 16, "filters": 16}),
        (((16, 16), 1), {"channels": 24, "filters": 40}),
        *BANDS.values(),
    ):
        bench = Bench(problem("conv_grad_kernel", *args, **options, images=images))
        (first, *_) = (call for call in bench.executable.calls() if isinstance(call, Call))
        assert first.by_image and first.alternative is not None
        few = gathering.alone(first.alternative, bench.executable.plan)
        many = bench.run_cut()[0]
        bench.executable.stretches[0].groups[0] = few
        bench.executable._bindings.clear()
        np.testing.assert_array_equal(bench.run_cut()[0], many)


# Each of those in one direction.
PAIRS = list(zip(QUICK, itertools.cycle(FORWARD)))


@pytest.mark.parametrize(("name", "operator"), some(itertools.product(LARGE, FORWARD), quick=PAIRS))
def test_large_windows_of_bfloat16(name, operator):
    args, options = LARGE[name]
    check(problem(operator, *args, **options, precision="bfloat16"))


@pytest.mark.parametrize("name", ["five", "eleven", "sequence"])
def test_weights_that_do_not_fit_into_registers_are_read_tap_by_tap(name):
    args, options = LARGE[name]
    assert any("~{memory}" in text for text in texts(problem("conv", *args, **options), "avx2"))
    narrow = {**options, "filters": 8}
    assert not any("~{memory}" in text for text in texts(problem("conv", *args, **narrow), "avx2"))


def test_rows_of_taps_become_a_loop_where_their_code_is_long():
    """Twice the rows, of the same width: the code is hardly longer."""

    def size(rows: int) -> int:
        p = problem("conv", (30, 30), (rows, 11), padding="same", filters=32)
        return max(map(len, texts(p, "avx2")))

    assert LONG_CODE < 8 * 11 * 3 * 11 * 12
    assert size(22) < 1.2 * size(11)


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", ["five", "eleven", "sequence"])
def test_a_lost_product_is_caught(name, number):
    args, options = LARGE[name]
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem("conv", *args, **options), change=lose_a_product(number))


def test_a_row_of_taps_too_few_is_caught():
    args, options = LARGE["eleven"]
    p = problem("conv", *args, **options)
    with pytest.raises(AssertionError, match="entries are off"):
        check(p, change=lambda text: text.replace("i64 11\n", "i64 10\n"))


# --- weights side by side


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", FORWARD)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_packed_weights_of_each_order(operator, precision, target):
    """Odd counts of inner channels, tails of blocks, groups; in one to three dimensions."""
    for rank, inner, outer, groups in ((1, 1, 17, 1), (2, 17, 33, 1), (2, 19, 5, 3), (3, 3, 40, 2)):
        channels, filters = (inner, outer) if operator == "conv" else (outer, inner)
        sizes, kernel = (6, 5, 4)[:rank], (2, 4, 3)[-rank:]
        p = problem(
            operator, sizes, kernel, padding="same", groups=groups, precision=precision,
            channels=groups * channels, filters=groups * filters,
        )  # fmt: skip
        check(p, target)


# --- few channels a group: vectors of half the width

FEW = {
    "groups": (((7, 9), 3), {"groups": 3, "channels": 27, "filters": 21, "padding": "same"}),
    "eight-filters": (((6, 7), 3), {"stride": 2, "channels": 17, "filters": 8, "padding": "same"}),
    "five-filters": (((9,), 4), {"channels": 9, "filters": 5}),
    "pixel": (((4, 5), 1), {"channels": 33, "filters": 3}),
    "volume": (((3, 4, 5), 2), {"groups": 2, "channels": 6, "filters": 14}),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FEW)
def test_few_channels_a_group(name, target):
    args, options = FEW[name]
    for operator in PASSES:
        check(problem(operator, *args, **options), target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_few_channels_a_group_stay_inside_of_their_buffers(target):
    cases = [problem(operator, *a, **o, images=2) for a, o in FEW.values() for operator in PASSES]
    check_guarded(cases, target)


@pytest.mark.skipif(current_target().halved is None, reason="this processor's vectors are not halved")
@pytest.mark.parametrize("operator", ["conv", "conv_grad_kernel"])
@pytest.mark.parametrize("name", FEW)
def test_their_vectors_have_half_the_width(name, operator):
    args, options = FEW[name]
    text = "".join(texts(problem(operator, *args, **options)))
    assert "@llvm.fma.v8f32" in text and "@llvm.fma.v16f32" not in text


@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel"])
def test_a_lost_product_of_half_a_vector_is_caught(operator):
    args, options = FEW["groups"]
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem(operator, *args, **options), change=lose_a_product(0))


def test_pooling_and_a_chain_behind_half_vectors():
    """As one kernel, and the same as the reference engine has it."""
    rng = np.random.default_rng(0)
    weights = {"w": Variable(normal(rng, 3, 3, 5, 6), "w"), "b": Variable(normal(rng, 6), "b")}
    for pool in (False, True):
        g = ProgramBuilder()
        y = g.add(
            "conv", g.input("x", (None, 8, 8, 5)), g.variable(weights["w"]), **geometry("", (8, 8), 3).attrs
        )
        y = g.add("activation", g.add("bias_add", y, g.variable(weights["b"])), kind="relu")
        if pool:
            y, _ = g.add("max_pool", y, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))
        g.outputs = {"y": y.name}
        program, inputs = g.build(), {"x": normal(rng, 5, 8, 8, 5)}
        found = prepare(program, g.variables, "cpu").run(inputs)["y"]
        expected = prepare(program, g.variables, "reference").run(inputs)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# --- groups of few channels: several a vector

JOINED = {
    "eight": (((6, 9), 3), {"groups": 5, "channels": 40, "filters": 40, "padding": "same"}),
    "four": (((7, 5), 3), {"groups": 6, "channels": 24, "filters": 24, "stride": 2, "padding": "same"}),
    "fewer-inputs": (((11,), 5), {"groups": 7, "channels": 14, "filters": 28, "padding": "same"}),
    "fewer-outputs": (((11,), 5), {"groups": 7, "channels": 28, "filters": 14, "padding": "same"}),
    "one-input": (((5, 6), 3), {"groups": 9, "channels": 9, "filters": 18, "dilation": 2, "padding": "same"}),
    "volume": (((3, 4, 5), 2), {"groups": 3, "channels": 6, "filters": 6}),
    "large": (((9, 9), 7), {"groups": 4, "channels": 32, "filters": 32, "padding": "same"}),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", JOINED)
def test_groups_that_share_vectors(name, target):
    args, options = JOINED[name]
    for operator in PASSES:
        check(problem(operator, *args, **options), target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_groups_that_share_vectors_stay_inside_of_their_buffers(target):
    cases = [problem(operator, *a, **o, images=2) for a, o in JOINED.values() for operator in PASSES]
    check_guarded(cases, target)


# A kernel gradient joins four groups and more.
@pytest.mark.parametrize(
    "operator, name", [("conv", "four"), ("conv_grad_input", "four"), ("conv_grad_kernel", "volume")]
)
def test_lanes_are_put_in_order(operator, name):
    args, options = JOINED[name]
    assert any("permps" in text for text in texts(problem(operator, *args, **options), "avx2"))
    assert not any("permps" in text for text in texts(problem(operator, *args, **options), "baseline"))


def test_groups_that_share_vectors_through_a_pooling():
    rng, attrs = np.random.default_rng(1), geometry("", (6, 6), 3, groups=3, padding="same").attrs
    weights = Variable(normal(rng, 3, 3, 8, 24), "w")
    g = ProgramBuilder()
    y = g.add("conv", g.input("x", (None, 6, 6, 24)), g.variable(weights), **attrs)
    y = g.add("activation", y, kind="relu")
    y, _ = g.add("max_pool", y, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))
    g.outputs = {"y": y.name}
    program, inputs = g.build(), {"x": normal(rng, 3, 6, 6, 24)}
    found, expected = (prepare(program, g.variables, name).run(inputs)["y"] for name in ("cpu", "reference"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel"])
def test_a_lost_product_of_groups_is_caught(operator):
    args, options = JOINED["eight"]
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem(operator, *args, **options), change=lose_a_product())


# --- kernel gradients of windows of one pixel, as products of copies

PIXELS = {
    "even": (((8, 8), 1), {"channels": 128, "filters": 128}),
    "tails": (((5, 7), 1), {"channels": 87, "filters": 131}),
    "many-channels": (((3,), 1), {"channels": 300, "filters": 97}),
    "rest-alone-in-its-unit": (((3,), 1), {"channels": 1322, "filters": 40}),
    "volume": (((3, 5, 11), 1), {"channels": 90, "filters": 100}),
    "steps": (((9, 8), 1), {"channels": 100, "filters": 99, "stride": 2}),
    "other-steps": (((5, 4, 7), 1), {"channels": 87, "filters": 96, "stride": (1, 3, 2)}),
    "crop": (((9, 9), 1), {"channels": 96, "filters": 96, "stride": 3, "padding": ((-1, 0), (-2, -1))}),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PIXELS)
def test_kernel_gradients_of_one_pixel(name, target):
    args, options = PIXELS[name]
    p = problem("conv_grad_kernel", *args, **options, images=5)
    codes = [call.code for call in Bench(p, target).executable.calls() if isinstance(call, Call)]
    assert any(isinstance(code, SummedProduct) for code in codes)
    check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_kernel_gradients_of_one_pixel_stay_inside_of_their_buffers(target):
    check_guarded([problem("conv_grad_kernel", *a, **o) for a, o in PIXELS.values()], target)


@pytest.mark.parametrize(
    "changed",
    [{"stride": 2, "padding": ((1, 0), (0, 0))}, {"padding": ((1, 0), (0, 0))}, {"groups": 2}],
    ids=str,
)
def test_other_windows_of_one_pixel_are_summed_tap_by_tap(changed):
    p = problem("conv_grad_kernel", (6, 6), 1, channels=128, filters=128, **changed)
    codes = [call.code for call in Bench(p).executable.calls() if isinstance(call, Call)]
    assert not any(isinstance(code, SummedProduct) for code in codes)
    check(p)


def test_rounded_kernel_gradients_of_one_pixel():
    args, options = PIXELS["tails"]
    check(problem("conv_grad_kernel", *args, **options, precision="bfloat16"), "avx2")


@pytest.mark.parametrize("number", [0, -1])
def test_a_lost_product_of_a_kernel_gradient_is_caught(number):
    args, options = PIXELS["tails"]
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem("conv_grad_kernel", *args, **options, images=5), change=lose_a_product(number))
