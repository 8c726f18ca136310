"""Minimal filtering along an axis: exact in exact arithmetic, few products, and every output once."""

from itertools import pairwise

import numpy as np
import pytest

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis
from kernelearn.engine.cpu.kernels.convolution.winograd.axes import Axis, cut_axis
from kernelearn.engine.cpu.kernels.convolution.winograd.filters import (
    Filter,
    nested,
    plain,
    three_taps,
    two_taps,
)


def forward(taps: int, stride: int = 1, dilation: int = 1, inputs: int = 23, before: int = 2) -> Axis | None:
    """The axis of a convolution, with as many zeros behind."""
    count = (inputs + 2 * before - (taps - 1) * dilation - 1) // stride + 1
    shifts = tuple((t * dilation - before, t) for t in range(taps))
    return cut_axis([TapAxis(count, 0, 1, stride, shifts, inputs)], taps, count)


def backward(taps: int, stride: int, inputs: int = 23, before: int = 2) -> Axis | None:
    """The axis of an input gradient: a window for every residue of the position."""
    classes = []
    for r in range(stride):
        shifts = ((r + before - t, t) for t in range(taps))
        found = tuple((shift // stride, t) for shift, t in shifts if shift % stride == 0)
        classes.append(TapAxis(-(-(inputs - r) // stride), r, stride, 1, found, (inputs + 2) // stride))
    return cut_axis(classes, taps, inputs)


def matrices(f: Filter) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.array(m.matrix) for m in (f.inputs, f.taps, f.outputs))


def meant(f: Filter) -> np.ndarray:
    """Factor of tap t and input i in output o: [o, t, i]."""
    inputs, taps, outputs = matrices(f)
    return np.einsum("op,pt,pi->oti", outputs, taps, inputs)


BLOCKS = {
    "F(4, 1)": (plain(4), 4),
    "F(2, 2)": (two_taps(), 3),
    "F(2, 3)": (three_taps(), 4),
    "F(4, 4)": (nested(4), 9),
    "F(4, 6)": (nested(6), 12),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_exact_with_few_products(name):
    f, products = BLOCKS[name]
    assert f.points == products
    found = meant(f)
    outputs, taps, _ = found.shape
    expected = np.zeros_like(found)
    for o in range(outputs):
        for t in range(taps):
            expected[o, t, o + t] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", BLOCKS)
def test_outputs_meet_no_input_outside_of_their_windows(name):
    """Not even in terms that cancel each other: NaN would not cancel, nor would what is rounded."""
    f, _ = BLOCKS[name]
    inputs, _, outputs = matrices(f)
    met = (outputs != 0).astype(int) @ (inputs != 0) > 0
    np.testing.assert_array_equal(met, (meant(f) != 0).any(1))


@pytest.mark.parametrize("name", BLOCKS)
def test_inputs_and_outputs_are_only_added_and_taps_halved(name):
    f, _ = BLOCKS[name]
    for m in (f.inputs, f.outputs):
        assert {factor for layer in m.layers for row in layer for _, factor in row} <= {-1, 1}
    assert {abs(factor) for layer in f.taps.layers for row in layer for _, factor in row} <= {0.5, 1}


@pytest.mark.parametrize("name", BLOCKS)
def test_transposes_are_transposes(name):
    f, _ = BLOCKS[name]
    for m in (f.inputs, f.taps, f.outputs):
        np.testing.assert_array_equal(m.transposed.matrix, np.array(m.matrix).T)


FORWARD = [(taps, stride, 1) for taps in (*range(1, 10), 15) for stride in (1, 2, 3)]
DILATED = [(taps, 1, dilation) for taps in (2, 3, 5, 7) for dilation in (2, 3, 5)]


@pytest.mark.parametrize(("taps", "stride", "dilation"), FORWARD + DILATED)
def test_tiles_make_every_output_of_a_convolution_once(taps, stride, dilation):
    axis = forward(taps, stride, dilation)
    assert axis is not None
    check(axis, {(p, t): p * stride + t * dilation - 2 for p in range(axis.count) for t in range(taps)})


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize(("taps", "stride"), [(t, s) for t in (2, 3, 5, 7, 15) for s in (1, 2, 3) if t >= s])
def test_tiles_make_every_output_of_an_input_gradient_once(taps, stride, before):
    axis = backward(taps, stride, before=before)
    assert axis is not None
    meets = {
        (p, t): (p + before - t) // stride
        for p in range(axis.count)
        for t in range(taps)
        if (p + before - t) % stride == 0
    }
    check(axis, meets)


def check(axis: Axis, meets: dict[tuple[int, int], int]) -> None:
    """Compare with the input that each (output, tap) meets: all those inside of the image, and no others."""
    found = meant(axis.filter)
    met, written = set(), []
    for span in axis.spans:
        for tile in range(span.first, span.last + 1):
            turn, phase = divmod(tile, axis.phases)
            reads = [turn * axis.read_step + phase + i for i in axis.reads]
            writes = [turn * axis.write_step + phase + i for i in axis.writes]
            assert span.inside == tuple(0 <= i < axis.size for i in reads)
            assert span.kept == tuple(o < axis.count for o in writes)
            written += [o for o, kept in zip(writes, span.kept) if kept]
            for o, t, i in np.argwhere(found):
                assert found[o, t, i] == 1
                if span.inside[i] and span.kept[o]:
                    met.add((writes[o], t, reads[i]))
    assert sorted(written) == list(range(axis.count))
    for alike, of in ((axis.inputs, "inside"), (axis.outputs, "kept")):
        there = [a.there for a in alike for _ in range(a.first, a.last + 1)]
        assert there == [getattr(s, of) for s in axis.spans for _ in range(s.first, s.last + 1)]
        assert all(a.there != b.there for a, b in pairwise(alike))
    expected = {(p, t, i) for (p, t), i in meets.items() if 0 <= i < axis.size}
    assert met == expected
    assert axis.pairs == tuple(sum(t == tap for _, t, _ in expected) for tap in range(axis.window.taps))


def test_a_residue_without_taps_is_no_window():
    assert backward(2, 3) is None


def test_holes_with_steps_are_no_windows():
    assert forward(3, stride=2, dilation=2) is None
