"""Filter bank: which classical filter each kernel resembles, how much, and how much chance alone would give.

The similarity, see `filter_search`, is 1 for a kernel that is the filter times one number per channel. A
large family reaches high values for any kernel, the more the smaller the kernel: the same search over random
kernels says what a value is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.kernel.filter_families import templates_for
from kernelearn.explain.kernel.filter_search import best_cosines, best_family, compare, null_of, p_values_of
from kernelearn.explain.kernel.shapes import KernelShape, kernel_shape
from kernelearn.explain.kernel.source import Kernels, as_filters, kernels_of, layer_kind
from kernelearn.explain.runs import opened, run_of
from kernelearn.explain.table import Table

CHANNELS = ("joint", "each")


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Kernels compared with families of classical filters. One row per filter, or per filter and channel.

    Attributes:
        kernels: what was compared.
        labels: (rows,) filter number, or (filter, channel).
        families: their names, in the order of the columns.
        similarity: (rows, families) best absolute cosine, 0 for a kernel of zeros.
        p_values: (rows, families) share of random kernels that reach the similarity.
        baseline: (families,) median similarity of random kernels.
        best: (rows,) name of the family that is least likely by chance; "" for a kernel of zeros.
        p_best: (rows,) p-value of that choice, which the choice itself is counted in.
        settings: for every row and family, the template that fits best: scale, angle in degrees, ...
        shape: properties that need no comparison.
        left_out: families that are not defined for this size -> why.
    """

    kernels: Kernels
    labels: list[Any]
    families: tuple[str, ...]
    similarity: np.ndarray
    p_values: np.ndarray
    baseline: np.ndarray
    best: list[str]
    p_best: np.ndarray
    settings: list[dict[str, dict[str, Any]]] = field(repr=False)
    shape: KernelShape = field(repr=False)
    left_out: dict[str, str] = field(default_factory=dict)

    def table(self, details: bool = False) -> Table:
        """One row per kernel: the best family with its numbers, and the similarity to each.

        Args:
            details: add the properties of `shape`.
        """
        properties = self.shape.columns if details else ()
        rows = [
            (
                self.labels[i],
                self.best[i] or None,
                self.of(i, self.best[i]) if self.best[i] else 0.0,
                float(self.p_best[i]),
                _as_text(self.settings[i].get(self.best[i], {})),
                *(float(value) for value in self.similarity[i]),
                *(self.shape.row(i) if details else ()),
            )
            for i in range(len(self.labels))
        ]
        columns = ("filter", "best", "similarity", "p_best", "settings", *self.families, *properties)
        return Table(columns, tuple(rows), title=f"Filter bank of {self.kernels.name}")

    def of(self, row: int, family: str) -> float:
        """Similarity of a kernel to a family."""
        return float(self.similarity[row, self.families.index(family)])

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name -> values, of the table with details."""
        return self.table(details=True).to_dict()

    def to_csv(self, path: Any = None) -> str:
        """The table with details as CSV, also written to `path` if given."""
        return self.table(details=True).to_csv(path)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def filter_bank(
    source: Any,
    layer: Any = None,
    step: int | None = None,
    weight: str = "kernel",
    families: Any = None,
    channels: str = "joint",
    samples: int = 999,
    seed: int = 0,
) -> FilterBank:
    """Compare the kernels of a layer with classical filters.

    Args:
        source: kernel array (*size, channels, filters), layer, model or recorded run.
        layer, step, weight: which kernels of a model or run, see `kernels_of`.
        families: names out of sobel, prewitt, laplacian, gabor, gaussian, dct and centre_surround; None for
            all that are defined for this size. A dict {name: None, own name: array (number, *size)} adds own.
        channels: "joint" compares a filter with template x channel mix; "each" every channel by itself.
        samples: random kernels that set the baseline; the smallest p-value is 1 / (samples + 1).
        seed: of the random kernels.
    Raises: ShapeError for kernels of one pixel; UnknownNameError, ArgumentError.

    >>> from kernelearn.initializers import SobelBank
    >>> found = filter_bank(SobelBank(8)((3, 3, 1, 8)), samples=99)
    >>> set(found.best), round(found.of(3, "sobel"), 6)
    ({'sobel'}, 1.0)
    """
    source = opened(source)
    if channels not in CHANNELS:
        raise ArgumentError(f"channels must be one of {CHANNELS}, got {channels!r}.")
    kernels = kernels_of(source, layer, step, weight)
    labels, rows = _rows(kernels.values, channels)
    found, left_out = templates_for(kernels.size, families)
    null = null_of(found, rows.shape[1:], samples, seed, families)
    similarity, settings = compare(rows, found)
    p_values = p_values_of(similarity, null)
    p_best, best = best_family(similarity, p_values, null)
    names = tuple(found)
    is_zero = np.linalg.norm(rows, axis=(1, 2)) == 0
    return FilterBank(
        kernels,
        labels,
        names,
        similarity,
        p_values,
        np.median(null, axis=0),
        ["" if zero else names[i] for zero, i in zip(is_zero, best)],
        np.where(is_zero, 1.0, p_best),
        settings,
        kernel_shape(_back(rows, kernels.size)),
        left_out,
    )


@dataclass(frozen=True, eq=False)
class FilterBankHistory:
    """Similarities over the steps of a run.

    Attributes:
        layer: path.
        steps: (steps,) recorded steps.
        labels, families, baseline: as in `FilterBank`.
        similarity, p_values: (steps, rows, families).
    """

    layer: str
    steps: np.ndarray
    labels: list[Any]
    families: tuple[str, ...]
    similarity: np.ndarray
    p_values: np.ndarray
    baseline: np.ndarray

    def table(self) -> Table:
        """One row per step: the mean similarity of the kernels to each family."""
        rows = [(int(s), *map(float, m)) for s, m in zip(self.steps, self.similarity.mean(axis=1))]
        return Table(("step", *self.families), tuple(rows), title=f"Mean similarity in {self.layer}")


def filter_bank_history(
    run: Any,
    layer: Any = None,
    steps: Sequence[int] | None = None,
    weight: str = "kernel",
    families: Any = None,
    channels: str = "joint",
    samples: int = 999,
    seed: int = 0,
) -> FilterBankHistory:
    """How the kernels of a layer come to resemble classical filters, step by step.

    Args:
        run: recorded run, or the path of its folder.
        steps: recorded steps; None for all, or about 100 of them spread evenly.
        (the others as in `filter_bank`)
    """
    run = run_of(run, "filter_bank_history")
    path = kernels_of(run, layer, None, weight).layer
    chosen = np.asarray(_spread(run.weight_steps(path, weight)) if steps is None else steps)
    first = kernels_of(run, path, int(chosen[0]), weight)
    kind = layer_kind(run, first.layer)
    found, _ = templates_for(first.size, families)
    labels, rows = _rows(first.values, channels)
    null = null_of(found, rows.shape[1:], samples, seed, families)
    similarity = []
    for step in chosen:
        values = as_filters(run.kernels(first.layer, int(step), weight), kind)
        similarity.append(best_cosines(_rows(values, channels)[1], found)[0])
    stacked = np.array(similarity)
    return FilterBankHistory(
        first.layer,
        chosen,
        labels,
        tuple(found),
        stacked,
        p_values_of(stacked.reshape(-1, stacked.shape[-1]), null).reshape(stacked.shape),
        np.median(null, axis=0),
    )


def _spread(steps: Any, most: int = 100) -> np.ndarray:
    """All steps, or `most` of them from the first to the last."""
    steps = np.asarray(steps)
    if len(steps) <= most:
        return np.asarray(steps)
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))])


def _rows(values: np.ndarray, channels: str) -> tuple[list[Any], np.ndarray]:
    """(labels, (rows, pixels, channels)) of kernels (*size, channels, filters)."""
    flat = values.reshape(-1, *values.shape[-2:])
    count, filters = flat.shape[1:]
    if channels == "joint":
        return list(range(filters)), np.moveaxis(flat, -1, 0)
    labels = [(f, c) for f in range(filters) for c in range(count)]
    return labels, flat.transpose(2, 1, 0).reshape(filters * count, -1, 1)


def _back(rows: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(rows, pixels, channels) as kernels (*size, channels, rows)."""
    return np.moveaxis(rows, 0, -1).reshape(*size, rows.shape[2], rows.shape[0])


def _as_text(settings: dict[str, Any]) -> str:
    """Settings for a table: angle 45, size 3 x 3."""

    def one(value: Any) -> str:
        if isinstance(value, tuple):
            return " x ".join(map(str, value))
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} {one(value)}" for name, value in settings.items())
