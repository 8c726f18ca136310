"""Dense layers with large weights and few rows: where panels are used, and against the reference."""

import re
from itertools import pairwise

import numpy as np
import pytest

import kernelearn
from kernelearn.engine.cpu.kernels.products.even_blocks import EvenBlocks
from kernelearn.engine.cpu.kernels.products.panels import LARGE_WEIGHTS, ROWS, Panels
from kernelearn.engine.cpu.kernels.products.pieces import DEPTH, STEP, piece_depth
from kernelearn.engine.cpu.plan import Call
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, expected
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
PASSES = ("dense", "dense_grad_input")
# (rows, inner, outer): tails of pieces, of blocks and of tiles; few rows, many, and more than ROWS.
SHAPES = ((1, 519, 520), (7, 1024, 260), (13, 640, 417), (ROWS + 3, 515, 513), (5, 70, 4001), (45, 641, 500))


def problem(operator: str, rows: int, inner: int, outer: int, precision: str = "float32") -> Problem:
    """A product of (rows, inner) with (inner, outer), or with its transpose."""
    rng, is_forward = np.random.default_rng(rows), operator == "dense"
    kernel = normal(rng, inner, outer) if is_forward else normal(rng, outer, inner)
    return product_of(operator, (normal(rng, rows, inner), kernel), {"precision": precision})


def product_of(operator: str, arrays: tuple[np.ndarray, ...], attrs: dict | None = None) -> Problem:
    """A product with weights that may be others at each run, so that no packed copy of them is kept."""
    terms = arrays[0].shape[-1]
    return Problem(operator, arrays, attrs or {}, terms=terms, weights=(), images=(0,))


def panels(p: Problem, target: str | None = None) -> list[Panels]:
    codes = [c.code for c in Bench(p, target).executable.calls() if isinstance(c, Call)]
    return [code for code in codes if isinstance(code, Panels)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_in_panels(shape, target):
    for operator in PASSES:
        p = problem(operator, *shape)
        assert panels(p, target)
        check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_panels_stay_inside_of_their_buffers(target):
    check_guarded([problem(operator, *shape) for operator in PASSES for shape in SHAPES], target)


@pytest.mark.parametrize("operator", PASSES)
def test_small_weights_and_many_rows_of_an_image_are_no_panels(operator):
    assert not panels(problem(operator, 8, 100, 100))
    large = problem(operator, 8, 512, LARGE_WEIGHTS // 2048)
    assert panels(large)
    x, kernel = large.arrays
    many = np.repeat(x[:, None], 65, 1)
    assert not panels(product_of(operator, (many, kernel)))


@pytest.mark.parametrize("operator", PASSES)
def test_they_are_not_used_on_shallow_stacks(operator, monkeypatch):
    monkeypatch.setattr("kernelearn.engine.cpu.machine.stack.is_deep", lambda: False)
    p = problem(operator, 7, 519, 520)
    assert not panels(p)
    check(p)


@pytest.mark.parametrize("operator", PASSES)
def test_rounded_operands_are_multiplied_in_panels_too(operator):
    p = problem(operator, 9, 519, 520, "bfloat16")
    assert panels(p, "avx2")
    check(p, "avx2")


def test_blocks_are_even_and_have_every_vector_once():
    for most in (1, 2, 3):
        for channels in (*range(1, 300), 512, 1000, 1024, 4001):
            blocks = EvenBlocks(channels, 16, most)
            starts = [blocks.start(b) for b in range(blocks.count + 1)]
            assert (starts[0], starts[-1]) == (0, blocks.vectors)
            sizes = {b - a for a, b in pairwise(starts)}
            assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1 and max(sizes) <= most


def test_half_of_the_blocks_is_half_of_the_work():
    for channels in (512, 784, 1024, 2048):
        blocks = EvenBlocks(channels, 16, 3)
        assert 2 * blocks.start(blocks.count // 2) in (blocks.vectors, blocks.vectors - 1)


def test_pieces_are_as_equal_as_whole_lines_allow():
    assert [piece_depth(n) for n in (10, 128, 129, 784, 1024)] == [16, 128, 80, 112, 128]
    for inner in range(1, 1000):
        depth = piece_depth(inner)
        assert depth % STEP == 0 and depth <= DEPTH and -(-inner // depth) == -(-inner // DEPTH)


def test_a_chain_behind_panels():
    kernelearn.utils.set_random_seed(0)
    model = kernelearn.Sequential([kernelearn.layers.Dense(517, activation="relu", input_shape=(600,))])
    x = normal(np.random.default_rng(0), 21, 600)
    kernel, bias = model.get_weights()
    model.set_weights([kernel, bias + 0.1])
    wide = x.astype("float64") @ kernel + bias + 0.1
    np.testing.assert_allclose(model.predict(x, verbose=0), np.maximum(wide, 0), rtol=1e-5, atol=1e-5)


def test_every_number_of_threads_gives_the_same_bits():
    found = []
    try:
        for count in (1, 2, 3):
            kernelearn.set_num_threads(count)
            found.append(Bench(problem("dense", 37, 1100, 610)).run()[0])
    finally:
        kernelearn.set_num_threads(None)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("operator", PASSES)
def test_pieces_round_less_than_a_long_sum(operator):
    p = problem(operator, 16, 16 * DEPTH, 400)
    exact, error = expected(p, p.arrays)[0], {}
    for name, arrays in (
        ("panels", p.arrays),
        ("long", (np.repeat(p.arrays[0][:, None], 65, 1), p.arrays[1])),
    ):
        y = Bench(product_of(operator, arrays)).run()[0].astype("float64")
        error[name] = np.sqrt(np.mean((y.reshape(16, -1, 400)[:, 0] - exact) ** 2))
    assert error["panels"] < 0.7 * error["long"]


@pytest.mark.parametrize("operator", PASSES)
def test_a_piece_left_out_is_caught(operator):
    def shorter(text: str) -> str:
        return re.sub(rf"(icmp slt i64 %v\d+), {4 * DEPTH}$", rf"\1, {3 * DEPTH}", text, flags=re.MULTILINE)

    with pytest.raises(AssertionError, match="entries are off"):
        check(problem(operator, 7, 5 * DEPTH - 1, 520), change=shorter)
