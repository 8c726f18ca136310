"""Convolution, its two gradients and the transposed convolution, on the whole grid of geometries.

The last tests check the tests: a convolution with one tap missing or one pixel off must be caught by them.
"""

import numpy as np
import pytest

from kernelearn.engine.operators import OPERATORS, Spec
from kernelearn.engine.reference import conv as reference
from kernelearn.engine.reference import windows
from kernelearn.errors import ShapeError
from tests.engine import cases
from tests.engine.geometries import GEOMETRIES
from tests.engine.helpers import check_op, float32_ratio


@pytest.mark.parametrize("case", cases.CONVOLUTION, ids=str)
def test_convolution(case):
    check_op(case)


@pytest.mark.parametrize("g", GEOMETRIES, ids=lambda g: g.label)
def test_adjoint(g):
    """<conv(x, w), g> = <x, grad_input(g, w)> = <w, grad_kernel(x, g)>, from the reference functions."""
    x, kernel = (
        cases.normal(2, *g.sizes, g.channels),
        cases.normal(*g.kernel, g.channels // g.groups, g.filters),
    )
    y = OPERATORS["conv"].run(x, kernel, **g.attrs)
    grad = np.random.default_rng(0).normal(size=y.shape)
    forward = float((y * grad).sum())
    through_x = float(
        (x * OPERATORS["conv_grad_input"].run(grad, kernel, input_size=g.sizes, **g.attrs)).sum()
    )
    through_w = float(
        (kernel * OPERATORS["conv_grad_kernel"].run(x, grad, kernel_size=g.kernel, **g.attrs)).sum()
    )
    scale = float(np.abs(y * grad).sum())
    assert through_x == pytest.approx(forward, abs=1e-13 * scale)
    assert through_w == pytest.approx(forward, abs=1e-13 * scale)


def test_one_image_at_a_time_gives_the_same(monkeypatch):
    """Columns are built for a few images at a time; how many must not matter but for rounding."""
    whole = [OPERATORS[c.operator].run(*c.inputs, **c.attrs) for c in cases.CONVOLUTION]
    monkeypatch.setattr(reference, "CHUNK_NUMBERS", 1)
    parts = [OPERATORS[c.operator].run(*c.inputs, **c.attrs) for c in cases.CONVOLUTION]
    for a, b in zip(whole, parts):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_an_empty_batch_gives_an_empty_result():
    x, kernel = np.zeros((0, 5, 5, 2)), np.zeros((3, 3, 2, 4))
    attrs = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    assert OPERATORS["conv"].run(x, kernel, **attrs).shape == (0, 3, 3, 4)
    assert (
        OPERATORS["conv_grad_kernel"].run(x, np.zeros((0, 3, 3, 4)), kernel_size=(3, 3), **attrs).shape
        == kernel.shape
    )


def test_float32_stays_well_within_its_bound():
    """The bound gamma_K |x| * |w| is for the worst order of summation; BLAS stays well inside of it."""
    assert max(float32_ratio(case) for case in cases.CONVOLUTION) < 0.9


@pytest.mark.parametrize(
    ("x", "kernel", "groups", "message"),
    [
        ((1, 5, 5, 3), (3, 3, 2, 4), 1, "takes 2 input channels"),
        ((1, 5, 5, 4), (3, 3, 2, 3), 2, "filters divisible by 2"),
        ((1, 2, 5, 3), (3, 3, 3, 4), 1, "does not fit"),
    ],
)
def test_shapes_that_do_not_match_are_refused(x, kernel, groups, message):
    attrs = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": groups}
    with pytest.raises(ShapeError, match=message):
        OPERATORS["conv"].shape(Spec(x, "float32"), Spec(kernel, "float32"), **attrs)


# --- the tests of the tests


def _first_tap_dropped(*geometry):
    found = windows.taps(*geometry)
    next(found)
    yield from found


def _last_tap_twice(*geometry):
    found = list(windows.taps(*geometry))
    yield from found[:-1]
    yield found[-1][0], found[0][1]


def _shifted_by_one(x, padding, value=0.0):
    return windows.pad_spatial(
        x, tuple((max(hi, 0), max(lo, 0)) if lo >= 0 <= hi else (lo, hi) for lo, hi in padding), value
    )


def _transposed_kernel(kernel, groups):
    flipped = np.ascontiguousarray(kernel[::-1])
    entries = int(np.prod(kernel.shape[:-1]))
    return np.ascontiguousarray(flipped.reshape(entries, groups, -1).transpose(1, 0, 2))


def _cut_off_by_one(padded, padding, sizes):
    return windows.unpad_spatial(padded, tuple((hi, lo) for lo, hi in padding), sizes)


def _oracle_misses(operator: str, label: str) -> bool:
    """Whether check_op accepts the example: it must not, the convolution being wrong."""
    (case,) = [c for c in cases.CONVOLUTION if (c.operator, c.label) == (operator, label)]
    try:
        # A tap that is left out leaves memory that nobody wrote, whose numbers may overflow.
        with np.errstate(all="ignore"):
            check_op(case)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("operator", ["conv", "conv_grad_input", "conv_grad_kernel", "conv_transpose"])
@pytest.mark.parametrize("mutant", [_first_tap_dropped, _last_tap_twice])
def test_a_wrong_tap_is_caught(monkeypatch, operator, mutant):
    monkeypatch.setattr(reference, "taps", mutant)
    assert not _oracle_misses(operator, "2d")


@pytest.mark.parametrize(
    ("operator", "function", "mutant"),
    [
        ("conv", "pad_spatial", _shifted_by_one),
        ("conv_grad_kernel", "pad_spatial", _shifted_by_one),
        ("conv_grad_input", "unpad_spatial", _cut_off_by_one),
        ("conv_transpose", "unpad_spatial", _cut_off_by_one),
        ("conv", "_weight_matrices", _transposed_kernel),
        ("conv_grad_input", "_weight_matrices", _transposed_kernel),
    ],
)
def test_a_shifted_pad_or_flipped_kernel_is_caught(monkeypatch, operator, function, mutant):
    monkeypatch.setattr(reference, function, mutant)
    assert not _oracle_misses(operator, "2d-same-even")
