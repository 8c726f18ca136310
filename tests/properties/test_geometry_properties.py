"""Geometry against brute force: sizes counted, paddings enumerated, receptive fields traced by dependency."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernelearn.engine import geometry
from tests.engine.oracles import positions
from tests.properties.strategies import axes

pytestmark = pytest.mark.properties
pairs = st.tuples(st.integers(-3, 5), st.integers(-3, 5))


@given(axes)
def test_same_gives_size_over_stride_rounded_up(axis):
    size, _, stride, _ = axis
    padding = geometry.resolve_padding("same", *axis)
    assert geometry.output_size(*axis, padding) == -(-size // stride)
    assert padding[1] - padding[0] in (0, 1)


@given(axes)
def test_same_pads_no_more_than_needed(axis):
    size, _, stride, _ = axis
    before, after = geometry.resolve_padding("same", *axis)
    if before + after:
        assert geometry.output_size(*axis, (before, after - 1)) < -(-size // stride)


@given(axes, pairs)
def test_output_size_counts_the_positions(axis, padding):
    """Below one, and without any position, exactly when the window does not fit."""
    outputs = geometry.output_size(*axis, padding)
    assert max(outputs, 0) == len(positions(*axis, padding))


@given(axes)
def test_causal_sees_no_future(axis):
    size, _, stride, _ = axis
    windows = positions(*axis, geometry.resolve_padding("causal", *axis))
    assert len(windows) == -(-size // stride)
    for t, window in enumerate(windows):
        assert window[-1][1] == t * stride


@given(axes, st.sampled_from(["valid", "same"]), st.none() | st.integers(0, 4))
def test_transpose_padding_inverts_the_convolution(axis, padding, output_padding):
    """A convolution with the padding found brings the transposed output back to the input's size."""
    size, kernel, stride, dilation = axis
    assume(output_padding is None or output_padding < stride)
    crop = geometry.transpose_padding(padding, kernel, stride, dilation, output_padding)
    large = geometry.transpose_output_size(size, kernel, stride, dilation, crop)
    assume(large >= 1)
    assert geometry.output_size(large, kernel, stride, dilation, crop) == size


@given(axes)
def test_transpose_sizes_are_those_of_keras(axis):
    size, kernel, stride, dilation = axis
    span = geometry.effective_size(kernel, dilation)
    expected = {"same": size * stride, "valid": (size - 1) * stride + max(span, stride)}
    for padding, large in expected.items():
        crop = geometry.transpose_padding(padding, kernel, stride, dilation, None)
        assert geometry.transpose_output_size(size, kernel, stride, dilation, crop) == large


@given(axes, st.integers(0, 4), st.integers(0, 4))
def test_window_counts_are_the_real_pixels(axis, before, after):
    size, kernel, stride, _ = axis
    padding = min(before, kernel - 1), min(after, kernel - 1)
    assume(size + sum(padding) >= kernel)
    counted = [sum(u >= 0 for _, u in window) for window in positions(size, kernel, stride, 1, padding)]
    assert geometry.window_counts(size, kernel, stride, padding) == counted


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5))
def test_receptive_field_is_what_one_output_depends_on(windows):
    def seen(outputs):
        for kernel, stride, dilation in reversed(windows):
            outputs = {p * stride + tap * dilation for p in outputs for tap in range(kernel)}
        return outputs

    size, jump = geometry.receptive_field(windows)
    first, second = seen({0}), seen({1})
    assert size == max(first) - min(first) + 1
    assert jump == min(second) - min(first)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", (1, 2, 3), (1,), (1, 0), None])
def test_normalize_tuple_says_what_it_expects(value):
    with pytest.raises(ValueError, match=r"kernel_size must be an int or 2 ints"):
        geometry.normalize_tuple(value, 2, "kernel_size")
