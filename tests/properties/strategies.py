"""Hypothesis strategies: random window geometries, on one axis and whole."""

from hypothesis import strategies as st

from tests.engine.geometries import Geometry

# (size, kernel, stride, dilation) of one axis
axes = st.tuples(st.integers(1, 24), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


def span(kernel: int, dilation: int) -> int:
    """Pixels from the first to the last tap, both counted."""
    return len(range(0, (kernel - 1) * dilation + 1))


@st.composite
def geometries(draw) -> Geometry:
    """A convolution that fits: one to three axes, any explicit padding or cropping, groups."""
    rank = draw(st.integers(1, 3))
    largest = 4 if rank == 3 else 7
    parts = []
    for _ in range(rank):
        size, kernel = draw(st.integers(1, largest)), draw(st.integers(1, min(largest, 4)))
        stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        lo, hi = draw(st.integers(-2, 3)), draw(st.integers(-2, 3))
        # NOTE: cropping must leave a pixel, and the window must fit; the end is padded further until it does.
        lo = max(lo, 1 - size)
        hi = max(hi, span(kernel, dilation) - size - lo, 1 - size - min(lo, 0))
        parts.append((size, kernel, stride, dilation, (lo, hi)))
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return Geometry("random", *zip(*parts), groups, channels, filters)


@st.composite
def pools(draw) -> Geometry:
    """Pooling windows, each with a real pixel: padded on every side by less than the window."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        size, window, stride = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
        lo, hi = draw(st.integers(0, window - 1)), draw(st.integers(0, window - 1))
        parts.append((size, window, stride, 1, (lo, max(hi, window - size - lo))))
    return Geometry("random", *zip(*parts), 1, 3, 3)
