"""Learning curves of kernels: how far each one moved, how fast, by which way, and when it had settled.

Every measure is for one filter (all weights that make one output channel) and uses the Euclidean norm.
A filter is *settled* at the first recorded step from which on it stays within `tolerance` (10 %) of its
largest distance from the final kernel. One that moves evenly to the end settles at 90 % of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.kernel.source import as_filters, layer_kind
from kernelearn.explain.runs import is_run, opened, run_of
from kernelearn.explain.table import Table


@dataclass(frozen=True, eq=False)
class LearningCurves:
    """How the filters of one weight moved. S recorded steps, F filters.

    Attributes:
        layer: path, "" for arrays.
        steps: (S,) step numbers; 0 is the initial state.
        weights_per_filter: numbers in each filter.
        norm: (S, F) length of the filter.
        from_start: (S, F) distance from the first recorded filter.
        to_end: (S, F) distance from the last one.
        cosine_to_start, cosine_to_end: (S, F) cosine with the first and the last one; NaN for zeros.
        speed: (S - 1, F) distance to the next recorded filter, per step.
        sign_changes: (S - 1, F) weights whose sign changed since the last step that had one.
        flipped: (F,) share of the weights that ended with another sign than they began with.
        settled: (F,) step at which the filter had settled, see the top of this file.
        tolerance: used for that.
    """

    layer: str
    steps: np.ndarray
    weights_per_filter: int
    norm: np.ndarray = field(repr=False)
    from_start: np.ndarray = field(repr=False)
    to_end: np.ndarray = field(repr=False)
    cosine_to_start: np.ndarray = field(repr=False)
    cosine_to_end: np.ndarray = field(repr=False)
    speed: np.ndarray = field(repr=False)
    sign_changes: np.ndarray = field(repr=False)
    flipped: np.ndarray = field(repr=False)
    settled: np.ndarray = field(repr=False)
    tolerance: float = 0.1

    @property
    def displacement(self) -> np.ndarray:
        """(F,) distance from the first to the last filter."""
        return np.asarray(self.from_start[-1])

    @property
    def path(self) -> np.ndarray:
        """(F,) length of the way, straight between recorded steps."""
        return np.asarray((self.speed * np.diff(self.steps)[:, None]).sum(axis=0))

    @property
    def directness(self) -> np.ndarray:
        """(F,) displacement / path: 1 for a straight way, near 0 for wandering; NaN without a way."""
        return _ratio(self.displacement, self.path)

    @property
    def relative_change(self) -> np.ndarray:
        """(F,) displacement / first length; NaN for a filter that began at zero."""
        return _ratio(self.displacement, self.norm[0])

    def table(self) -> Table:
        """One row per filter."""
        columns = ("filter", "relative_change", "cosine", "directness", "sign_changes", "flipped", "settled")
        rows = zip(
            range(len(self.settled)),
            _plain(self.relative_change),
            _plain(self.cosine_to_start[-1]),
            _plain(self.directness),
            (int(count) for count in self.sign_changes.sum(axis=0)),
            _plain(self.flipped),
            (int(step) for step in self.settled),
        )
        return Table(columns, tuple(rows), title=f"How the filters of {self.layer or 'the kernel'} moved")

    def to_dict(self) -> dict[str, Any]:
        """The table and the curves as JSON values."""
        curves = {name: getattr(self, name).tolist() for name in ("norm", "from_start", "to_end", "speed")}
        return {
            "layer": self.layer,
            "steps": self.steps.tolist(),
            "filters": self.table().to_dict(),
            **curves,
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def learning_curves(
    source: Any,
    layer: Any = None,
    weight: str = "kernel",
    steps: Sequence[int] | None = None,
    tolerance: float = 0.1,
) -> LearningCurves:
    """How the filters of a weight moved in training.

    Args:
        source: a recorded run, or a pair (steps (S,), weights (S, *shape)) with the filters on the last axis.
        layer, weight: of a run.
        steps: recorded steps to use; None for all.
        tolerance: for `settled`, see the top of this file.
    Raises: ArgumentError for fewer than two steps, steps out of order, or a tolerance outside (0, 1).

    >>> path = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # three steps of two filters of one weight
    >>> curves = learning_curves(([0, 1, 2], path))
    >>> curves.displacement.tolist(), curves.directness.tolist()
    ([2.0, 0.0], [1.0, nan])
    """
    source = opened(source)
    if not 0 < tolerance < 1:
        raise ArgumentError(f"tolerance must lie between 0 and 1, got {tolerance!r}.")
    if not is_run(source):
        known, weights = source
        known = np.asarray(known)
        if len(known) != len(weights):
            raise ShapeError(f"{len(known)} steps need as many weights; got {len(weights)}.")
        places = np.arange(len(known)) if steps is None else _places(known, steps)
        return _curves("", known[places], lambda i: _by_filter(weights[places[i]], ""), tolerance)
    if layer is None:
        raise ArgumentError(f"Say which layer of the run: one of {list(source.layers)}.")
    path = str(getattr(layer, "name", layer))
    chosen = np.asarray(source.weight_steps(path, weight) if steps is None else steps)
    kind = layer_kind(source, path)

    def read(number: int) -> np.ndarray:
        return _by_filter(source.kernels(path, int(chosen[number]), weight), kind)

    return _curves(path, chosen, read, tolerance)


def compare_layers(
    run: Any,
    layers: Sequence[str] | None = None,
    weight: str = "kernel",
    steps: Sequence[int] | None = None,
    tolerance: float = 0.1,
) -> Table:
    """One row per layer of a run that has the weight.

    relative_change, cosine (of the last with the first filter) and directness are means over filters;
    sign_changes is per weight; flipped is the share of weights that ended with another sign; settled is the
    median over filters, settled_last the step of the last; fastest is the step with the highest mean speed.
    """
    run = run_of(run, "compare_layers")
    names = [n for n in run.layers if weight in run.weights(n)] if layers is None else list(layers)
    columns = ("layer", "filters", "weights", "relative_change", "cosine", "directness", "sign_changes")
    rows = [_layer_row(learning_curves(run, name, weight, steps, tolerance)) for name in names]
    return Table(
        (*columns, "flipped", "settled", "settled_last", "fastest"), tuple(rows), title="Layers compared"
    )


def _layer_row(curves: LearningCurves) -> tuple[Any, ...]:
    filters = len(curves.settled)
    total = filters * curves.weights_per_filter
    return (
        curves.layer,
        filters,
        total,
        _mean(curves.relative_change),
        _mean(curves.cosine_to_start[-1]),
        _mean(curves.directness),
        float(curves.sign_changes.sum() / total),
        float(curves.flipped.mean()),
        float(np.median(curves.settled)),
        int(curves.settled.max()),
        int(curves.steps[1 + curves.speed.mean(axis=1).argmax()]),
    )


def _curves(
    layer: str, steps: np.ndarray, read: Callable[[int], np.ndarray], tolerance: float
) -> LearningCurves:
    """Walk once through the steps; three kernels are in memory at a time.

    Args:
        read: number of a step -> (weights, filters) float64.
    """
    if len(steps) < 2 or np.any(np.diff(steps) <= 0):
        raise ArgumentError(f"Learning curves need two steps or more, in order; got {steps.tolist()}.")
    first, last = read(0), read(len(steps) - 1)
    signs = np.sign(first)
    before = first
    points, moves = [], []
    for number in range(len(steps)):
        now = read(number)
        points.append(_point(now, first, last))
        if number:
            signs, changes = _changed_signs(signs, now)
            moves.append((_length(now - before) / (steps[number] - steps[number - 1]), changes))
        before = now
    norm, from_start, to_end, to_first, to_last = (np.array(part) for part in zip(*points))
    speed, changes = (np.array(part) for part in zip(*moves))
    return LearningCurves(
        layer,
        steps,
        len(first),
        norm,
        from_start,
        to_end,
        to_first,
        to_last,
        speed,
        changes,
        (np.sign(first) * np.sign(last) < 0).mean(axis=0),
        _settled(steps, to_end, tolerance),
        tolerance,
    )


def _point(now: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, ...]:
    """(length, distance from the first, from the last, cosine with the first, with the last)."""
    return (
        _length(now),
        _length(now - first),
        _length(now - last),
        _cosine(now, first),
        _cosine(now, last),
    )


def _length(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(values).sum(axis=0)))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(_ratio((a * b).sum(axis=0), _length(a) * _length(b)), -1, 1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def _changed_signs(signs: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(signs now, weights per filter that changed theirs); a weight at exactly 0 keeps its last sign."""
    new = np.where(now == 0, signs, np.sign(now))
    return new, (new * signs < 0).sum(axis=0)


def _settled(steps: np.ndarray, to_end: np.ndarray, tolerance: float) -> np.ndarray:
    """(F,) first step from which on the distance stays within tolerance * its largest value."""
    is_far = to_end > tolerance * to_end.max(axis=0)
    last_far = np.where(is_far.any(axis=0), len(steps) - 1 - is_far[::-1].argmax(axis=0), -1)
    return np.asarray(steps[last_far + 1])


def _places(known: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Where the wanted steps stand among the known ones."""
    missing = sorted(set(steps) - set(known.tolist()))
    if missing:
        raise ArgumentError(f"Steps {missing} are not among those given.")
    return np.searchsorted(known, steps)


def _by_filter(weight: np.ndarray, kind: str) -> np.ndarray:
    """(weights, filters) float64 of a kernel, a dense matrix or a bias."""
    values = np.asarray(weight, np.float64)
    values = as_filters(values, kind) if values.ndim > 2 else values
    return values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is not NaN; None if there is nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
