"""Max pooling in the pass that makes the map: values, winners, borders of buffers, NaN, few images."""

from dataclasses import replace

import numpy as np
import pytest

from kernelearn import Input, Model, layers
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.forward import FilteredRows
from kernelearn.engine.cpu.kernels.convolution.taps.tasks import Taps
from kernelearn.engine.cpu.kernels.convolution.winograd.forward import WinogradRows
from kernelearn.engine.cpu.kernels.entrywise.pooled import Pooled, PooledPass
from kernelearn.engine.cpu.kernels.matrix_tiles import lowering
from kernelearn.engine.cpu.kernels.matrix_tiles.forward import TileConv
from kernelearn.engine.cpu.kernels.pooling.pooling import Pooling
from kernelearn.engine.cpu.plan import Call, kernel_text
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import REQUIRED, Operator
from tests.engine.cpu.harness import EMULATED, TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")

WINDOWS = {"size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
# Sizes, channels, filters, window and stride of the convolution, groups, and zeros on each side if there are
# any: even maps of all kinds.
CONVOLUTIONS = {
    "one channel": ((8, 12), 1, 5, 3, 1, 1),
    "tail of filters": ((7, 9), 3, 19, 2, 1, 1),
    "stride": ((13, 9), 4, 33, 3, 2, 1),
    "groups": ((6, 6), 4, 6, 3, 1, 2),
    "depthwise": ((8, 8), 18, 18, 3, 1, 18),
    "one window": ((4, 4), 2, 3, 3, 1, 1),
    "winograd": ((10, 14), 16, 40, 3, 1, 1),
    "winograd with a cropped end": ((12, 12), 17, 16, 3, 1, 1),
    "rows of taps in a loop": ((21, 18), 3, 40, 7, 2, 1, 3),
    "windows that are larger than the map": ((8, 8), 3, 33, 9, 1, 1, 4),
    "rows without a tap in common": ((2, 6), 3, 32, 7, 4, 1, 7),
    "a loop without zeros": ((17, 17), 3, 32, 8, 1, 1),
    "filtered rows": ((7, 11), 24, 23, 4, 1, 1),
}
CHAIN = "conv_bias_activation_pool"


def run_chain(x, kernel, bias, *, conv, kind, pool):
    """What the chain is, one operator after another."""
    y = OPERATORS["conv"].run(x, kernel, **conv)
    y = OPERATORS["activation"].run(OPERATORS["bias_add"].run(y, bias), kind=kind)
    return OPERATORS["max_pool"].run(y, **pool)


class ChainBench(Bench):
    """The operators of a chain as a program, for the rewrites to join."""

    def _build(self, graph):
        x, kernel, bias = self.narrow
        self.inputs = {"x0": x, "x1": kernel, "x2": bias}
        a = self.problem.attrs
        buffers = [graph.input("x0", (None, *x.shape[1:])), graph.input("x1", kernel.shape)]
        y = graph.add("conv", *buffers, **a["conv"])
        y = graph.add("bias_add", y, graph.input("x2", bias.shape))
        y = graph.add("activation", y, kind=a["kind"])
        graph.outputs = {f"y{i}": b.name for i, b in enumerate(graph.add("max_pool", y, **a["pool"]))}
        return list(graph.outputs)


@pytest.fixture(autouse=True)
def chain(monkeypatch):
    attrs = {"conv": REQUIRED, "kind": REQUIRED, "pool": REQUIRED}
    monkeypatch.setitem(OPERATORS, CHAIN, Operator(CHAIN, lambda *a, **k: (), run_chain, attrs=attrs))
    monkeypatch.setattr("tests.engine.cpu.harness.Bench", ChainBench)


def problem(name: str, kind: str = "relu", images: int = 3) -> Problem:
    sizes, channels, filters, window, stride, groups, *zeros = CONVOLUTIONS[name]
    before = sum(zeros)
    rng = np.random.default_rng(sum(map(ord, name)))
    # NOTE: more on one side, so that maps are even whatever the sizes.
    outputs = [(n + 2 * before - window) // stride + 1 for n in sizes]
    padding = tuple((before, before + stride * (n % 2)) for n in outputs)
    conv = {"stride": (stride,) * 2, "padding": padding, "dilation": (1, 1), "groups": groups}
    x = normal(rng, images, *sizes, channels)
    kernel = normal(rng, window, window, channels // groups, filters)
    # NOTE: results of about 1: behind an ELU several larger ones of a window would be -1 but for rounding.
    kernel /= np.float32(window * np.sqrt(channels // groups))
    attrs = {"conv": conv, "kind": kind, "pool": WINDOWS}
    return Problem(CHAIN, (x, kernel, normal(rng, filters)), attrs, images=(0,), weights=())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("kind", ["relu", "elu"])
def test_convolution_and_pooling_in_one_kernel(name, kind, target):
    p = problem(name, kind)
    codes = [c.code for c in ChainBench(p, target).executable.calls() if isinstance(c, Call)]
    codes = [getattr(code, "code", code) for code in codes]  # of those on narrow vectors
    assert sum(isinstance(getattr(code, "chain", None), Pooled) for code in codes) == 1
    assert not any(isinstance(code, Pooling) for code in codes)
    assert ("winograd" in name) == any(isinstance(code, WinogradRows) for code in codes)
    assert ("filtered" in name) == any(isinstance(code, FilteredRows) for code in codes)
    check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_they_stay_inside_of_their_buffers(target):
    check_guarded([problem(name) for name in CONVOLUTIONS], target)


@pytest.mark.parametrize("name", ["winograd", "winograd with a cropped end", "tail of filters"])
def test_on_matrix_tiles_the_chain_and_pooling_are_a_pass_of_their_own(emulated_tiles, monkeypatch, name):
    p = problem(name)
    p = replace(p, attrs={**p.attrs, "conv": {**p.attrs["conv"], "precision": "bfloat16"}})
    monkeypatch.setattr(lowering, "is_worthwhile", lambda *_: True)
    codes = [c.code for c in ChainBench(p, EMULATED).executable.calls() if isinstance(c, Call)]
    assert [type(code) for code in codes[-2:]] == [TileConv, PooledPass]
    check(p, EMULATED)
    check_guarded([p], EMULATED)


@pytest.mark.parametrize("name", ["one channel", "winograd", "filtered rows", "rows of taps in a loop"])
@pytest.mark.parametrize("images", [1, 2, 9])
def test_any_number_of_images(name, images):
    check(problem(name, images=images))


@pytest.mark.parametrize("name", ["one channel", "winograd"])
def test_nan_comes_through(name):
    p = problem(name)
    x = p.arrays[0].copy()
    x[1, 3, 4, 0] = np.nan
    bench = ChainBench(
        Problem(CHAIN, (x, *p.arrays[1:]), {**p.attrs, "kind": "tanh"}, images=(0,), weights=())
    )
    found = bench.run()[0]
    expected = run_chain(x, *p.arrays[1:], **{**p.attrs, "kind": "tanh"})[0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.isnan(found).any()


def test_the_first_of_equals_wins():
    p = problem("one channel")
    x, kernel, bias = p.arrays
    arrays = (x, np.zeros_like(kernel), bias)
    _, winners = ChainBench(Problem(CHAIN, arrays, p.attrs, images=(0,), weights=())).run()
    assert not winners.any()


def test_normalisation_activation_and_pooling_are_one_pass():
    x = inputs = Input((8, 8, 2))
    x = layers.Conv2D(5, 3, padding="same", use_bias=False)(x)
    x = layers.MaxPooling2D(2)(layers.ReLU()(layers.BatchNormalization()(x)))
    model = Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model.compile("sgd", "mse")
    model.fit(np.random.default_rng(0).normal(size=(6, 8, 8, 2)), np.ones((6, 3)), verbose=0)
    notes = [c.note for c in model.step("train").executable.calls() if isinstance(c, Call)]
    assert "affine + activation + max_pool" in notes
    images = np.random.default_rng(1).normal(size=(4, 8, 8, 2))
    compiled = model.predict(images, verbose=0)
    assert isinstance(model.step("predict").executable, CpuExecutable)
    model.compile("sgd", "mse", engine="reference")
    np.testing.assert_allclose(compiled, model.predict(images, verbose=0), rtol=2e-5, atol=1e-6)


def test_rows_of_taps_are_a_loop_where_the_code_of_two_rows_is_long():
    """Twice the rows of taps, of the same width: the code is hardly longer."""

    def size(rows: int) -> int:
        p = problem("rows of taps in a loop")
        x, _, bias = p.arrays
        kernel = np.ones((rows, 11, 3, 40), np.float32)
        conv = {**p.attrs["conv"], "padding": ((rows // 2, rows // 2 + 1), (5, 4))}
        taller = Problem(CHAIN, (x, kernel, bias), {**p.attrs, "conv": conv}, images=(0,), weights=())
        executable = ChainBench(taller).executable
        (call,) = [c for c in executable.calls() if isinstance(c.code, Taps)]
        assert isinstance(call.code.chain, Pooled)
        return len(kernel_text(call, "k", executable.target))

    assert size(22) < 1.2 * size(12)
