"""Random numbers as a pure function of (seed, step, stream, index): the same on every engine and resumed run.

Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC
2011): ten rounds turn a 128-bit counter and a 64-bit key into four 32-bit words. Here the key is (seed,
stream) and the counter (block, 0, step low, step high); every layer has a stream of its own.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array, Shape, Sizes

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: tuple[Array, ...], key: tuple[int, int]) -> list[Array]:
    """Ten Philox rounds on four counter words: uint64 arrays holding 32-bit numbers, as are the results."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (p1 >> _HALF) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _HALF) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def random_bits(count: int, seed: Array | int, step: Array | int, stream: int) -> Array:
    """`count` independent 32-bit words as uint64."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    constant = [np.full_like(blocks, word) for word in (0, int(step) & 0xFFFFFFFF, int(step) >> 32)]
    words = philox((blocks, *constant), (int(seed) & 0xFFFFFFFF, stream & 0xFFFFFFFF))
    return np.stack(words, axis=-1).reshape(-1)[:count]


def uniforms(
    shape: Sizes, seed: Array | int, step: Array | int, stream: int, dtype: str | np.dtype[Any] = "float32"
) -> Array:
    """Numbers in [0, 1) with 24 random bits each."""
    bits = random_bits(int(np.prod(shape)), seed, step, stream)
    return ((bits >> np.uint64(8)).astype(dtype) * np.dtype(dtype).type(2.0**-24)).reshape(shape)


def normals(
    shape: Sizes, seed: Array | int, step: Array | int, stream: int, dtype: str | np.dtype[Any] = "float32"
) -> Array:
    """Standard normal numbers by the Box-Muller transform."""
    count = int(np.prod(shape))
    u = uniforms((2, -(-count // 2)), seed, step, stream, "float64")
    radius, angle = np.sqrt(-2 * np.log(1 - u[0])), 2 * np.pi * u[1]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(-1)[:count].reshape(shape).astype(dtype)


def dropout(
    x: Array, seed: Array, step: Array, *, rate: float, stream: int, noise_shape: Shape | None
) -> tuple[Array, Array]:
    """Set entries to zero with probability `rate`, scale the rest by 1 / (1 - rate).

    Args:
        noise_shape: sizes of the mask (None: as x); a 1 shares one decision along that axis.
    Returns: y, and the mask holding 0 or 1 / (1 - rate) that it was multiplied by.
    """
    sizes = noise_shape or (None,) * x.ndim
    shape = tuple(s if n is None else n for n, s in zip(sizes, x.shape))
    keep = uniforms(shape, seed, step, stream) >= rate
    # NOTE: rate 1 keeps nothing; the factor is then irrelevant but must not divide by zero.
    mask = keep.astype(x.dtype) * x.dtype.type(1 / (1 - rate) if rate < 1 else 0)
    return x * mask, mask


def gaussian_noise(x: Array, seed: Array, step: Array, *, stddev: float, stream: int) -> Array:
    """x plus independent normal noise."""
    return x + normals(x.shape, seed, step, stream, x.dtype) * x.dtype.type(stddev)


def random_uniform(
    x: Array, seed: Array, step: Array, *, shape: tuple[int, ...], low: float, high: float, stream: int
) -> Array:
    """One draw per image of x: (n, *shape) numbers in [low, high)."""
    u = uniforms((x.shape[0], *shape), seed, step, stream, x.dtype)
    return x.dtype.type(low) + u * x.dtype.type(high - low)
