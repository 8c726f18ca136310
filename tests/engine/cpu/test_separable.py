"""A depthwise convolution and the pointwise one behind it in one kernel: values, borders, what is joined."""

import math
from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, layers
from kernelearn.engine.cpu.kernels.convolution.separable import (
    LEAST_CHANNELS,
    MOST_WEIGHTS,
    PANEL,
    Separable,
    panel_rows,
    pays,
)
from kernelearn.engine.cpu.plan import Call, kernel_text
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import REQUIRED, Operator
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, lose_a_product
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
PAIR = "depthwise_affine_activation_pointwise_bias_add"
# Sizes, channels, filters, window, stride, dilation, zeros in front and behind.
PAIRS = {
    "narrow maps": ((7, 7), 17, 24, 3, 1, 1, (1, 1)),
    "stride": ((16, 12), 32, 40, 3, 2, 1, (0, 1)),
    "one row a panel": ((11, 9), 20, 9, 5, 1, 1, (2, 2)),
    "tails of blocks": ((8, 10), 50, 70, 3, 1, 1, (1, 1)),
    "dilation": ((12, 8), 16, 33, 3, 1, 2, (2, 2)),
    "no zeros": ((10, 18), 9, 16, 3, 1, 1, (0, 0)),
    "rows of taps in a loop": ((15, 11), 35, 16, 9, 1, 1, (4, 4)),
    "windows of one pixel": ((4, 8), 32, 32, 1, 1, 1, (0, 0)),
    "many channels": ((8, 8), 130, 12, 3, 1, 1, (1, 1)),
}
NOTHING = ((0, 0), (0, 0))
POINTWISE = {"stride": (1, 1), "padding": NOTHING, "dilation": (1, 1), "groups": 1}


def run_pair(x, v, scale, shift, w, bias, other, *, conv, kind):
    """What the pair is, one operator after another."""
    y = OPERATORS["affine"].run(OPERATORS["conv"].run(x, v, **conv), scale, shift)
    y = OPERATORS["conv"].run(OPERATORS["activation"].run(y, kind=kind), w, **POINTWISE)
    return OPERATORS["add"].run(OPERATORS["bias_add"].run(y, bias), other)


class PairBench(Bench):
    """The operators of a pair as a program, for the rewrites to join."""

    def _build(self, graph):
        self.inputs = {f"x{i}": array for i, array in enumerate(self.narrow)}
        shapes = [(None, *a.shape[1:]) if i in (0, 6) else a.shape for i, a in enumerate(self.narrow)]
        x, v, scale, shift, w, bias, other = (graph.input(f"x{i}", s) for i, s in enumerate(shapes))
        a = self.problem.attrs
        y = graph.add("affine", graph.add("conv", x, v, **a["conv"]), scale, shift)
        y = graph.add("conv", graph.add("activation", y, kind=a["kind"]), w, **POINTWISE)
        graph.outputs = {"y": graph.add("add", graph.add("bias_add", y, bias), other).name}
        return ["y"]


@pytest.fixture(autouse=True)
def pair(monkeypatch):
    attrs = {"conv": REQUIRED, "kind": REQUIRED}
    monkeypatch.setitem(OPERATORS, PAIR, Operator(PAIR, lambda *a, **k: (), run_pair, attrs=attrs))
    monkeypatch.setattr("tests.engine.cpu.harness.Bench", PairBench)


def problem_of(sizes, channels, filters, window, stride, dilation, zeros, images=1, seed=0) -> Problem:
    rng = np.random.default_rng(seed)
    conv = {"stride": (stride,) * 2, "padding": (zeros,) * 2, "dilation": (dilation,) * 2, "groups": channels}
    v = normal(rng, window, window, 1, channels)
    x = normal(rng, images, *sizes, channels)
    made = OPERATORS["conv"].run(x[:1], v, **conv).shape
    scale, shift, w = normal(rng, channels), normal(rng, channels), normal(rng, 1, 1, channels, filters)
    arrays = (x, v, scale, shift, w, normal(rng, filters), normal(rng, images, *made[1:3], filters))
    return Problem(PAIR, arrays, {"conv": conv, "kind": "relu"}, images=(0, 6), weights=())


def problem(name: str, images: int = 1) -> Problem:
    return problem_of(*PAIRS[name], images, sum(map(ord, name)))


def kernels(p: Problem, target: str | None = None) -> list[Separable]:
    calls = [c for c in PairBench(p, target).executable.calls() if isinstance(c, Call)]
    return [c.code for c in calls if isinstance(c.code, Separable)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PAIRS)
def test_both_convolutions_in_one_kernel(name, target):
    for images in (1, 5):
        p = problem(name, images)
        assert len(kernels(p, target)) == 1
        check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_they_stay_inside_of_their_buffers(target):
    check_guarded([problem(name, images) for name in PAIRS for images in (1, 5)], target)


def test_random_geometries():
    rng, found = np.random.default_rng(5), 0
    while found < 12:
        window, stride, dilation = (int(rng.integers(1, high)) for high in (6, 4, 3))
        reach = (window - 1) * dilation
        sizes = tuple(int(n) for n in rng.integers(4, 20, 2))
        zeros = tuple(int(n) for n in rng.integers(0, reach + 1, 2))
        height, width = ((n + sum(zeros) - reach - 1) // stride + 1 for n in sizes)
        channels, filters = (int(n) for n in rng.integers(LEAST_CHANNELS, 80, 2))
        if min(height, width) < 1 or not pays(height, width, channels, filters):
            continue
        p = problem_of(sizes, channels, filters, window, stride, dilation, zeros, 1 + found % 5, found)
        assert kernels(p)
        check(p)
        found += 1


@pytest.mark.parametrize("number", [0, -1])
def test_a_product_left_out_is_caught(number):
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem("stride"), change=lose_a_product(number))


def test_float64_too():
    check(replace(problem("stride", 3), dtype="float64"))


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(56, 56, 144), (7, 7, 960), (12, 40, 9), (1, 9, 9)]
)
def test_panels_are_equal_and_fit(height, width, channels):
    rows = panel_rows(height, width, channels, height)
    assert rows == 0 or (height % rows == 0 and rows * width * channels <= PANEL)


def test_only_what_is_worth_it_is_joined():
    assert pays(16, 16, 64, 128)
    assert not pays(16, 16, LEAST_CHANNELS - 1, 128)
    assert not pays(16, 16, 64, MOST_WEIGHTS // 64 + 1)
    assert not pays(4, 4, 64, 64), "too few pixels for several tasks"
    assert not pays(300, 300, 64, 64), "a row is longer than a panel"


def network(joined: bool = True, **options) -> Model:
    x = inputs = Input((12, 12, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="stem")(x)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise", **options)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    z = layers.Conv2D(24, 1, name="pointwise")(y)
    z = layers.Add()([z, x] if joined else [z, y])
    model = Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(z)))
    model.compile("sgd", "mse")
    return model


def separable(model: Model, kind: str = "predict") -> list[Call]:
    calls = model.step(kind).executable.calls()
    return [c for c in calls if isinstance(c, Call) and isinstance(c.code, Separable)]


def test_predictions_join_them_and_training_does_not():
    kernelearn.utils.set_random_seed(0)
    model = network()
    x = np.random.default_rng(0).normal(size=(6, 12, 12, 3)).astype("float32")
    model.fit(x, np.ones((6, 3)), verbose=0)
    assert len(separable(model)) == 1 and not separable(model, "train")
    found = model.predict(x, verbose=0)
    model.compile("sgd", "mse", engine="reference")
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)


def test_what_something_else_reads_is_not_joined():
    assert not separable(network(joined=False))
    assert not separable(network(depth_multiplier=2))
    model = network()
    step = model.step("predict")
    kept = step.keeping({"made": "depthwise/conv"}).executable
    assert not any(isinstance(c.code, Separable) for c in kept.calls() if isinstance(c, Call))


def test_any_number_of_images_and_threads_gives_the_same_bits():
    p = problem("tails of blocks", 9)
    found = []
    try:
        for count in (1, 2, 3):
            kernelearn.set_num_threads(count)
            found.append(PairBench(p).run()[0])
            for images in (1, 2, 4):
                arrays = tuple(a[:images] if i in (0, 6) else a for i, a in enumerate(p.arrays))
                some = PairBench(replace(p, arrays=arrays)).run()[0]
                np.testing.assert_array_equal(some, found[0][:images])
    finally:
        kernelearn.set_num_threads(None)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_what_lies_between_is_not_in_memory():
    executable = PairBench(problem("stride", 5)).executable
    ((call,),) = [[c for c in executable.calls() if isinstance(c.code, Separable)]]
    size = math.prod(call.code.first.g.y)
    assert size not in [executable.plan.numbers(name, 1) for name in call.writes.values()]
    assert "local.panel" in kernel_text(call, "k", executable.target)
