"""Random numbers as a pure function of (seed, step, stream, index): the same on every engine and resumed run.

Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC
2011): ten rounds turn a 128-bit counter and a 64-bit key into four 32-bit words. Here the key is (seed,
stream) and the counter (block, attempt, step low, step high); every layer has a stream of its own. Attempts
above 0 are for distributions that reject numbers.
"""

from collections.abc import Callable
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


def random_bits(count: int, seed: Array | int, step: Array | int, stream: int, attempt: int = 0) -> Array:
    """`count` independent 32-bit words as uint64."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    constant = [np.full_like(blocks, word) for word in (attempt, int(step) & 0xFFFFFFFF, int(step) >> 32)]
    words = philox((blocks, *constant), (int(seed) & 0xFFFFFFFF, stream & 0xFFFFFFFF))
    return np.stack(words, axis=-1).reshape(-1)[:count]


def uniforms(
    shape: Sizes,
    seed: Array | int,
    step: Array | int,
    stream: int,
    dtype: str | np.dtype[Any] = "float32",
    attempt: int = 0,
) -> Array:
    """Numbers in [0, 1) with 24 random bits each."""
    bits = random_bits(int(np.prod(shape)), seed, step, stream, attempt)
    return ((bits >> np.uint64(8)).astype(dtype) * np.dtype(dtype).type(2.0**-24)).reshape(shape)


def normals(
    shape: Sizes,
    seed: Array | int,
    step: Array | int,
    stream: int,
    dtype: str | np.dtype[Any] = "float32",
    attempt: int = 0,
) -> Array:
    """Standard normal numbers by the Box-Muller transform."""
    count = int(np.prod(shape))
    u = uniforms((2, -(-count // 2)), seed, step, stream, "float64", attempt)
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


# --- draws of a shape, for code of one's own


def draw(
    seed: Array, step: Array, *like: Array, kind: str, shape: Shape, stream: int, dtype: str, **attrs: Any
) -> Array:
    """Numbers of one distribution; None in the shape stands for the number of images, that of `like`."""
    sizes = tuple(like[0].shape[0] if s is None else s for s in shape)
    return DRAWS[kind](sizes, (seed, step, stream), dtype, **attrs)


# (seed, step, stream)
Source = tuple[Array | int, Array | int, int]


def _uniform(shape: Sizes, source: Source, dtype: str) -> Array:
    return uniforms(shape, *source, dtype)


def _normal(shape: Sizes, source: Source, dtype: str) -> Array:
    return normals(shape, *source, dtype)


def _truncated_normal(shape: Sizes, source: Source, dtype: str) -> Array:
    """Within two standard deviations: what lies outside is drawn again."""
    z, attempt = normals(shape, *source, "float64"), 1
    while (outside := np.abs(z) > 2).any():
        z = np.where(outside, normals(shape, *source, "float64", attempt), z)
        attempt += 1
    return z.astype(dtype)


def _integers(shape: Sizes, source: Source, dtype: str, low: int, high: int) -> Array:
    """low + floor(word * (high - low) / 2^32); some are likelier by a share of (high - low) / 2^32."""
    words = random_bits(int(np.prod(shape)), *source)
    return (((words * np.uint64(high - low)) >> _HALF).astype("int64") + low).astype(dtype).reshape(shape)


def _gumbel(shape: Sizes, source: Source, dtype: str) -> Array:
    """-log(-log(u)): the largest of logits plus such numbers is drawn with its softmax."""
    with np.errstate(divide="ignore"):
        return (-np.log(-np.log(uniforms(shape, *source, "float64")))).astype(dtype)


def _bernoulli(shape: Sizes, source: Source, dtype: str, probability: float) -> Array:
    return (uniforms(shape, *source) < np.float32(probability)).astype(dtype)


# Distributions of `draw`; further attributes of theirs are in the operator table.
DRAWS: dict[str, Callable[..., Array]] = {
    "uniform": _uniform,
    "normal": _normal,
    "truncated_normal": _truncated_normal,
    "gumbel": _gumbel,
    "bernoulli": _bernoulli,
    "integers": _integers,
}


def draw_gamma(alpha: Array, seed: Array, step: Array, *, stream: int) -> Array:
    """Gamma numbers of shape alpha and scale 1, one for each alpha.

    Marsaglia and Tsang (2000), "A simple method for generating gamma variables": d v of a cubed normal v, if
    that is accepted; for alpha < 1 a number for alpha + 1 times u^(1 / alpha).
    """
    a = np.asarray(alpha, "float64")
    d = np.where(a < 1, a + 1, a) - 1 / 3
    source = (seed, step, stream)
    found, missing, attempt = np.zeros(a.shape), np.ones(a.shape, bool), 0
    while missing.any():
        x = normals(a.shape, *source, "float64", 2 * attempt)
        u = 1 - uniforms(a.shape, *source, "float64", 2 * attempt + 1)
        v = (1 + x / np.sqrt(9 * d)) ** 3
        with np.errstate(invalid="ignore", divide="ignore"):
            accepted = (v > 0) & (np.log(u) < 0.5 * x * x + d * (1 - v + np.log(v)))
        found = np.where(missing & accepted, d * v, found)
        # NOTE: alphas that are no positive numbers are never accepted.
        missing &= ~accepted & (a > 0)
        attempt += 1
    boost = (1 - uniforms(a.shape, *source, "float64", 2 * attempt)) ** (1 / np.where(a < 1, a, 1))
    return np.where(a > 0, np.where(a < 1, found * boost, found), np.nan).astype(alpha.dtype)


def draw_binomial(counts: Array, probabilities: Array, seed: Array, step: Array, *, stream: int) -> Array:
    """How many of so many trials succeed, trial by trial; in the type of the probabilities."""
    total = np.zeros(counts.shape, probabilities.dtype)
    for trial in range(int(counts.max(initial=0))):
        u = uniforms(counts.shape, seed, step, stream, "float64", trial)
        total += (u < probabilities) & (trial < counts)
    return total
