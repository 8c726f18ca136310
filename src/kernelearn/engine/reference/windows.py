"""Sliding windows over channels-last arrays: padding, and the strided slice that one tap of a window reads.

Convolution and pooling are both written as a loop over the taps of a window: tap (i, j) of every position at
once is one strided slice of the padded input.
"""

from collections.abc import Iterator

import numpy as np

from kernelearn.engine.arrays import Array, Pairs, Sizes


def pad_spatial(x: Array, padding: Pairs, value: float = 0.0) -> Array:
    """Pad the spatial axes of x (n, ..., c); negative padding crops. Gives x itself when nothing is to do."""
    crop = [slice(None)] + [
        slice(max(-lo, 0), size - max(-hi, 0)) for size, (lo, hi) in zip(x.shape[1:-1], padding)
    ]
    x = x[tuple(crop)]
    grow = [(max(lo, 0), max(hi, 0)) for lo, hi in padding]
    if not any(lo or hi for lo, hi in grow):
        return x
    shape = [x.shape[0], *(s + lo + hi for s, (lo, hi) in zip(x.shape[1:-1], grow)), x.shape[-1]]
    out = np.full(shape, value, dtype=x.dtype)
    inner = tuple(slice(lo, lo + s) for s, (lo, _) in zip(x.shape[1:-1], grow))
    out[(slice(None), *inner)] = x
    return out


def unpad_spatial(padded: Array, padding: Pairs, sizes: tuple[int, ...]) -> Array:
    """The adjoint of `pad_spatial`: the part of `padded` that came from an input of these spatial sizes."""
    inner = tuple(
        slice(max(lo, 0), max(lo, 0) + size - max(-lo, 0) - max(-hi, 0))
        for size, (lo, hi) in zip(sizes, padding)
    )
    part = padded[(slice(None), *inner)]
    if all(lo >= 0 and hi >= 0 for lo, hi in padding):
        return part
    return pad_spatial(part, tuple((max(-lo, 0), max(-hi, 0)) for lo, hi in padding))


def padded_sizes(sizes: tuple[int, ...], padding: Pairs) -> tuple[int, ...]:
    """Spatial sizes after `pad_spatial`."""
    return tuple(size + lo + hi for size, (lo, hi) in zip(sizes, padding))


def taps(
    kernel_size: Sizes, stride: Sizes, dilation: Sizes, outputs: Sizes
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For every tap of a window: its index (i, j, ...) and the slices of a padded array that it reads."""
    for index in np.ndindex(*kernel_size):
        starts = [i * d for i, d in zip(index, dilation)]
        spans = [slice(a, a + (o - 1) * s + 1, s) for a, o, s in zip(starts, outputs, stride)]
        yield index, (slice(None), *spans)
