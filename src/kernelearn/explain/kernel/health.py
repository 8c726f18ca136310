"""Kernel health: which kernels of a layer are dead, which are copies, and which the others make superfluous.

dead by weights   the norm is at most `dead_norm` (0.1 %) of the layer's median norm
dead on data      the output is the same number for every image and position (a ReLU that never opens)
duplicate         |cosine| with an earlier kernel is at least `similarity` (0.98), by weights; or the
                  |correlation| of the maps is, on data
redundant         a linear combination of the other kernels holds all but 1 - similarity^2 (4 %) of its energy
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.kernel.activity import ChannelActivity, channel_activity
from kernelearn.explain.kernel.source import Kernels, kernels_of
from kernelearn.explain.runs import is_run, opened
from kernelearn.explain.table import Table

# Singular values below this share of the largest do not count for the rank.
_RANK_TOLERANCE = 1e-3
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class KernelHealth:
    """The state of every kernel of a layer. F filters.

    Attributes:
        kernels: what was looked at.
        norm: (F,).
        dead_weights: (F,) bool.
        nearest: (F,) the filter with the largest |cosine|; -1 if there is no other that is not zero.
        cosine: (F,) that cosine, with its sign.
        duplicate_of: (F,) the first earlier filter that this one repeats (or negates), or -1.
        own_share: (F,) share of the energy that no combination of the other filters gives.
        redundant: (F,) bool.
        rank: dimensions that the filters span, counting singular values above 0.1 % of the largest.
        effective_rank: exp of the entropy of the squared singular values: how many share the energy.
        activity: on data; None without.
        dead_on_data: (F,) bool, or None.
        same_map_as: (F,) the first earlier filter with the same map up to scale and shift, or -1; or None.
    """

    kernels: Kernels
    norm: np.ndarray
    dead_weights: np.ndarray
    nearest: np.ndarray
    cosine: np.ndarray
    duplicate_of: np.ndarray
    own_share: np.ndarray
    redundant: np.ndarray
    rank: int
    effective_rank: float
    activity: ChannelActivity | None = field(repr=False, default=None)
    dead_on_data: np.ndarray | None = None
    same_map_as: np.ndarray | None = None

    @property
    def dead(self) -> np.ndarray:
        """(F,) bool: by weights or on data."""
        return self.dead_weights if self.dead_on_data is None else self.dead_weights | self.dead_on_data

    def table(self) -> Table:
        """One row per filter."""
        columns = ["filter", "norm", "dead", "nearest", "cosine", "duplicate_of", "own_share", "redundant"]
        cells: list[list[Any]] = [
            list(range(len(self.norm))),
            self.norm.tolist(),
            self.dead.tolist(),
            _filters(self.nearest),
            self.cosine.tolist(),
            _filters(self.duplicate_of),
            self.own_share.tolist(),
            self.redundant.tolist(),
        ]
        if self.activity is not None and self.same_map_as is not None:
            columns += ["active", "active_images", "largest", "same_map_as"]
            found = self.activity
            cells += [found.active.tolist(), found.active_images.tolist(), found.largest.tolist()]
            cells.append(_filters(self.same_map_as))
        return Table(tuple(columns), tuple(zip(*cells)), title=f"Kernel health of {self.kernels.name}")

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON values."""
        return self.table().to_dict()

    def __str__(self) -> str:
        dimension = int(np.prod(self.kernels.values.shape[:-1]))
        copies, redundant = int((self.duplicate_of >= 0).sum()), int(self.redundant.sum())
        return (
            f"{self.table()}\n{len(self.norm)} filters in {dimension} dimensions: "
            f"{int(self.dead.sum())} dead, {copies} duplicate, {redundant} redundant; "
            f"rank {self.rank}, effective rank {self.effective_rank:.1f}"
        )

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def kernel_health(
    source: Any,
    layer: Any = None,
    step: int | None = None,
    weight: str = "kernel",
    x: Any = None,
    similarity: float = 0.98,
    dead_norm: float = 1e-3,
) -> KernelHealth:
    """Which kernels of a layer are dead, duplicate or redundant.

    Args:
        source: kernel array, layer, model, recorded run, or the path of its folder.
        layer, step, weight: which kernels of a model or run, see `kernels_of`.
        x: images or a Dataset to see the kernels at work on; needs a model, or a run that holds one.
        similarity: |cosine| or |correlation| from which on two kernels count as the same.
        dead_norm: see the top of this file.
    Raises: ArgumentError for images without a model; ShapeError, UnknownNameError.

    >>> kernel = np.random.default_rng(0).standard_normal((3, 3, 1, 3))
    >>> kernel[..., 2] = -2 * kernel[..., 0]
    >>> kernel_health(kernel).duplicate_of.tolist()
    [-1, -1, 0]
    """
    source = opened(source)
    if not 0 < similarity <= 1:
        raise ArgumentError(f"similarity must lie in (0, 1], got {similarity!r}.")
    kernels = kernels_of(source, layer, step, weight)
    flat = kernels.values.reshape(-1, kernels.values.shape[-1])
    norm = np.linalg.norm(flat, axis=0)
    unit = flat / np.where(norm > 0, norm, 1)
    cosines = unit.T @ unit
    nearest, cosine = _nearest(cosines)
    own_share = _own_shares(cosines)
    singular = np.linalg.svd(flat, compute_uv=False)
    activity = None if x is None else channel_activity(_model_of(source, step), kernels.layer, x)
    return KernelHealth(
        kernels,
        norm,
        _silent(norm, dead_norm),
        nearest,
        cosine,
        _first_alike(cosines, similarity),
        own_share,
        (own_share <= 1 - similarity**2 + 1e-9) & (norm > 0),
        int((singular > _RANK_TOLERANCE * singular[0]).sum()) if singular[0] > 0 else 0,
        _effective_rank(singular),
        activity,
        None if activity is None else _never_varies(activity),
        None if activity is None else _first_alike(activity.correlation, similarity),
    )


def cosine_by_chance(size: int, filters: int, samples: int = 20, seed: int = 0) -> float:
    """The largest |cosine| of two kernels of a layer of random ones: what the most alike have by chance.

    Args:
        size: numbers in a kernel; filters: kernels in the layer.
    Returns: the median over so many random layers; 0 for a single kernel.

    >>> cosine_by_chance(9, 32) > cosine_by_chance(9, 4) > cosine_by_chance(900, 4)
    True
    """
    if filters < 2:
        return 0.0
    kernels = np.random.default_rng(seed).standard_normal((samples, size, filters))
    unit = kernels / np.linalg.norm(kernels, axis=1, keepdims=True)
    cosines = np.abs(unit.transpose(0, 2, 1) @ unit) - np.eye(filters)
    return float(np.median(cosines.max(axis=(1, 2))))


def _model_of(source: Any, step: int | None) -> Any:
    if is_run(source):
        return source.model() if step is None else source.model(step=step)
    if not hasattr(source, "layers"):
        raise ArgumentError("Activity on data needs the whole model: kernel_health(model, layer, x=images).")
    return source


def _silent(norm: np.ndarray, dead_norm: float) -> np.ndarray:
    """Whether a norm is small beside the median of those that are not zero."""
    alive = norm[norm > 0]
    return norm <= dead_norm * (float(np.median(alive)) if alive.size else 0.0)


def _nearest(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number, signed cosine) of the most similar other filter; (-1, 0) where there is none."""
    others = np.abs(cosines)
    np.fill_diagonal(others, 0)
    found = others.argmax(axis=1)
    rows = np.arange(len(found))
    is_none = others[rows, found] == 0
    return np.where(is_none, -1, found), np.where(is_none, 0.0, np.clip(cosines[rows, found], -1, 1))


def _first_alike(likeness: np.ndarray, similarity: float) -> np.ndarray:
    """The first earlier column with at least this |likeness|, or -1."""
    is_alike = np.tril(np.abs(likeness) >= similarity - 1e-12, -1)
    return np.where(is_alike.any(axis=1), is_alike.argmax(axis=1), -1)


def _own_shares(cosines: np.ndarray) -> np.ndarray:
    """Share of each unit vector outside the span of the others: 1 / diagonal of the inverse Gram matrix."""
    # The ridge keeps a singular matrix invertible; shares of its size are zeros.
    share = 1 / np.diag(np.linalg.inv(cosines + _RIDGE * np.eye(len(cosines))))
    is_zero = (np.diag(cosines) == 0) | (share < 100 * _RIDGE)
    return np.where(is_zero, 0.0, np.clip(share, 0, 1))


def _effective_rank(singular: np.ndarray) -> float:
    """Source: Roy and Vetterli, EUSIPCO 2007, on squared singular values."""
    shares = np.square(singular) / max(np.square(singular).sum(), np.finfo(float).tiny)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0


def _never_varies(activity: ChannelActivity) -> np.ndarray:
    """Whether the output of a channel is one number, up to rounding beside the layer's range."""
    ranges = activity.largest - activity.smallest
    return np.asarray(ranges <= 1e-6 * float(ranges.max()))


def _filters(numbers: np.ndarray) -> list[int | None]:
    return [None if n < 0 else int(n) for n in numbers]
