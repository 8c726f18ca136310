"""Products by matrix tiles: every kernel against the reference, on tiles of the processor and emulated ones.

Emulation is plain code on memory instead of the instructions for tiles; all else is the same code, so what is
tested here is tested on every processor.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Sequential, layers
from kernelearn.engine.cpu.kernels.matrix_tiles import gradient, lowering, weight_gradient
from kernelearn.engine.cpu.kernels.matrix_tiles.sums import equal_steps
from kernelearn.engine.cpu.machine import target as targets
from kernelearn.engine.cpu.machine import threads, tile_state
from kernelearn.engine.cpu.plan import Call
from kernelearn.errors import KernelearnError
from tests.engine.cpu.harness import EMULATED, Bench, Problem, check, check_guarded, expected, has_target
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import FAMILIES, normal
from tests.engine.cpu.test_bfloat16 import OPERATORS, mixed
from tests.engine.cpu.test_weight_panels import SGD, StepBench, moved
from tests.sweeps import some

FIND = targets.find_target
guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
TILES = "avx512amx"
EVERY = (EMULATED, *([TILES] if has_target(TILES) else []))
needs_tiles = pytest.mark.skipif(not has_target(TILES), reason="this processor or system has no matrix tiles")
on_every = pytest.mark.parametrize("target", EVERY)
pytestmark = pytest.mark.usefixtures("emulated_tiles")


@pytest.fixture
def always(monkeypatch):
    """Tiles for everything that they can do, however small."""
    monkeypatch.setattr(lowering, "is_worthwhile", lambda *_: True)
    monkeypatch.setattr(lowering, "is_large", lambda *_: True)
    monkeypatch.setattr(gradient, "is_worthwhile", lambda *_: True)
    monkeypatch.setattr(weight_gradient, "LEAST_WEIGHTS", 1)


def notes(problem: Problem, target: str) -> list[str]:
    calls = Bench(problem, target).executable.calls()
    return [c.note for c in calls if isinstance(c, Call) and lowering.NOTE in c.note]


def dense(images: int, inner: int, outer: int, rows: int = 1) -> list[Problem]:
    """The three products of a dense layer."""
    rng = np.random.default_rng(images)
    between = (rows,) if rows > 1 else ()
    x, g = normal(rng, images, *between, inner), normal(rng, images, *between, outer)
    w = normal(rng, inner, outer)
    made = (
        Problem("dense", (x, w), terms=inner),
        Problem("dense_grad_input", (g, w), terms=outer),
        Problem("dense_grad_kernel", (x, g), terms=images * rows),
    )
    return [mixed(problem) for problem in made]


def conv(images, sizes, kernel, channels, filters, padding=None, stride=None, dilation=None) -> list[Problem]:
    """The three products of a convolution."""
    rng, rank = np.random.default_rng(images), len(sizes)
    padding = padding or tuple(((k - 1) // 2, k // 2) for k in kernel)
    stride, dilation = stride or (1,) * rank, dilation or (1,) * rank
    out = [
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, p, k, s, d in zip(sizes, padding, kernel, stride, dilation)
    ]
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1}
    x, g = normal(rng, images, *sizes, channels), normal(rng, images, *out, filters)
    w, taps = normal(rng, *kernel, channels, filters), int(np.prod(kernel))
    pixels = images * int(np.prod(out))
    made = (
        Problem("conv", (x, w), attrs, terms=taps * channels),
        Problem("conv_grad_input", (g, w), {**attrs, "input_size": sizes}, terms=taps * filters),
        Problem("conv_grad_kernel", (x, g), {**attrs, "kernel_size": kernel}, terms=pixels),
    )
    return [mixed(problem) for problem in made]


# Tails of tiles, of steps, of blocks of filters, of rows; one row; sequences, volumes, strides, dilation.
DENSE = ((1, 64, 32), (5, 33, 17), (16, 64, 48), (33, 72, 40), (50, 128, 10), (3, 64, 96, 5), (2, 64, 40, 21))
CONVOLUTIONS = (
    (3, (9, 9), (1, 1), 32, 48),
    (2, (8, 8), (3, 3), 32, 33),
    (2, (7, 19), (3, 3), 16, 24),
    (1, (5, 70), (3, 3), 8, 16),
    (2, (13, 12), (7, 7), 3, 16, None, (2, 2)),
    (2, (9, 21), (3, 3), 20, 16, ((2, 2), (2, 2)), None, (2, 2)),
    (2, (12, 9), (1, 1), 16, 32, None, (2, 2)),
    (2, (6, 7), (3, 2), 5, 8, ((0, 0), (-1, 0))),
    (2, (40,), (5,), 16, 16, None, (3,)),
    (2, (33,), (4,), 16, 16, ((0, -2),)),
    (2, (5, 6, 7), (2, 3, 3), 16, 12, None, (1, 2, 1)),
)


@on_every
@pytest.mark.parametrize("shape", DENSE, ids=str)
def test_dense_layers(always, shape, target):
    for problem in dense(*shape):
        check(problem, target)


@on_every
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolutions(always, shape, target):
    for problem in conv(*shape):
        check(problem, target)


def random_problems(seed: int, count: int) -> list[Problem]:
    rng = np.random.default_rng(seed)
    drawn = (FAMILIES["convolution" if i % 3 else "dense"](rng) for i in range(20 * count))
    return [mixed(p) for p in drawn if p.operator in OPERATORS and p.attrs.get("groups", 1) == 1][:count]


COUNTS = pytest.mark.parametrize("count", some([10, 60], quick=[10]))


@COUNTS
@on_every
def test_random_shapes(always, target, count):
    problems = random_problems(EVERY.index(target), count)
    for problem in problems:
        check(problem, target)
    assert sum(bool(notes(problem, target)) for problem in problems) > count // 3


@guarded
@on_every
def test_kernels_stay_inside_of_their_buffers(always, target):
    problems = [p for shape in DENSE for p in dense(*shape)] + [p for s in CONVOLUTIONS for p in conv(*s)]
    check_guarded([*problems[::2], *random_problems(7, 6)], target)


@guarded
@on_every
def test_kernel_gradients_of_no_images_are_zero(always, target):
    problems = [dense(*DENSE[3])[2], dense(*DENSE[5])[2], dense(*DENSE[6])[2], conv(*CONVOLUTIONS[0])[2]]
    empty = [replace(p, arrays=tuple(a[:0] for a in p.arrays), images=(0, 1)) for p in problems]
    for problem in empty:
        np.testing.assert_array_equal(Bench(problem, target).run()[0], 0, err_msg=str(problem))
    check_guarded(empty, target)


@on_every
def test_whole_numbers_are_exact(always, target):
    rng = np.random.default_rng(3)
    for problem in (*dense(*DENSE[3]), *conv(*CONVOLUTIONS[2])):
        whole = tuple(rng.integers(-8, 9, a.shape).astype("float32") for a in problem.arrays)
        bench = Bench(replace(problem, arrays=whole), target)
        for found, wanted in zip(bench.run(), expected(bench.problem, bench.narrow)):
            np.testing.assert_array_equal(found, wanted, err_msg=str(problem))


@needs_tiles
def test_emulated_tiles_give_the_same_as_those_of_the_processor(always):
    # Up to the order of the two products of a pair, and denormal numbers.
    for problem in (*dense(*DENSE[3]), *conv(*CONVOLUTIONS[1])):
        one, two = (Bench(problem, target).run()[0] for target in EVERY)
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-4)


@on_every
def test_an_update_on_the_way(target):
    one, two = (StepBench((7, 80, 72), SGD, target, kept, "bfloat16") for kept in (False, True))
    codes = [call.code for call in one.executable.calls()]
    assert any(isinstance(c, weight_gradient.TileWeightGradient) and c.step is not None for c in codes)
    assert not moved(one.executable)
    for a, b in zip(one.run(), two.run()):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.run()[0], one.narrow[2])


# --- what these tests would notice


@pytest.mark.parametrize(
    ("problem", "change"),
    [
        (conv(*CONVOLUTIONS[1])[1], lambda text: text.replace("i64 2, i64 1, i64 0", "i64 0, i64 1, i64 2")),
        (
            conv(*CONVOLUTIONS[1])[2],
            lambda text: re.sub(r"\[9 x i64\] \[i64 0, ", "[9 x i64] [i64 1, ", text),
        ),
        (dense(*DENSE[0])[0], lambda text: text.replace("%s0, %m1", "%s0, %m0")),
        (dense(*DENSE[3])[2], lambda text: text.replace("%s0, %m1", "%before, %m1")),
    ],
    ids=["taps", "shift", "pairs", "sums"],
)
def test_wrong_kernels_are_caught(always, problem, change):
    check(problem, EMULATED)
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem, EMULATED, change=change)


# --- which target, and whether it is faster


def test_steps_are_equal_and_fill_a_tile():
    for pairs in range(1, 200):
        steps = equal_steps(pairs)
        assert steps.count * steps.depth == pairs and steps.depth <= 16
        assert steps.count == 1 or pairs > 16


@on_every
def test_few_terms_or_filters_are_left_to_other_kernels(target):
    for problem in (*dense(8, 8, 8), *conv(2, (6, 6), (3, 3), 2, 4)):
        assert not notes(problem, target)
    for problem in (*dense(64, 256, 256), *conv(2, (16, 16), (3, 3), 64, 64)):
        assert notes(problem, target)
        assert not notes(replace(problem, attrs={**problem.attrs, "precision": "float32"}), target)


FEATURES = (*["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"], *targets.TILE_FEATURES)


@pytest.mark.skipif(targets._is_arm(), reason="x86 targets")
@pytest.mark.parametrize("lacking", [None, "amx-bf16", "avx512bf16", "permission"])
def test_tiles_are_used_where_there_are_some_and_the_system_permits_it(monkeypatch, lacking):
    monkeypatch.setattr(targets, "_host_features", lambda: {f: f != lacking for f in FEATURES})
    monkeypatch.setattr(targets, "may_use_tiles", lambda: lacking != "permission")
    assert targets._host().tiles == ("" if lacking else "amx")
    missing = targets._missing_features(TILES)
    assert bool(missing) == (lacking is not None)


@pytest.mark.skipif(targets._is_arm(), reason="x86 targets")
def test_a_target_with_tiles_that_the_system_does_not_permit_is_refused(monkeypatch):
    monkeypatch.setattr(targets, "_host_features", lambda: dict.fromkeys(FEATURES, True))
    monkeypatch.setattr(targets, "may_use_tiles", lambda: False)
    with pytest.raises(KernelearnError, match="'avx512amx' needs permission"):
        FIND.__wrapped__(TILES)


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "x86_64"), ("linux", "aarch64"), ("win32", "AMD64")]
)
def test_other_systems_are_not_asked(monkeypatch, system, machine):
    monkeypatch.setattr(tile_state.sys, "platform", system)
    monkeypatch.setattr(tile_state.platform, "machine", lambda: machine)
    monkeypatch.setattr(tile_state, "_ask", lambda: pytest.fail("asked"))
    assert not tile_state.may_use_tiles.__wrapped__()


def test_a_target_with_tiles_is_one_of_its_own():
    plain = targets.find_target(EMULATED)
    assert plain.key != replace(plain, tiles="").key and plain.key != replace(plain, tiles="amx").key


# --- in models


def trained(count: int, batch: int):
    kernelearn.set_random_seed(0)
    threads.set_num_threads(count)
    model = Sequential(
        [
            Input((10, 9, 8)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, strides=2),
            layers.Flatten(),
            layers.Dense(96, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile("adam", "mse", policy="mixed_bfloat16", engine="cpu")
    rng = np.random.default_rng(1)
    for _ in range(2):
        model.train_on_batch(normal(rng, batch, 10, 9, 8), normal(rng, batch, 10))
    used = [c.note for c in model.step("train").executable.calls() if isinstance(c, Call)]
    return model.get_weights(), used


@pytest.mark.parametrize("batch", [1, 7, 16])
@on_every
def test_the_number_of_threads_changes_nothing(monkeypatch, default_threads, target, batch):
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", target)
    first, used = trained(1, batch)
    assert sum(lowering.NOTE in note for note in used) >= 6
    for count in (2, 3):
        for a, b in zip(first, trained(count, batch)[0]):
            np.testing.assert_array_equal(a, b)
