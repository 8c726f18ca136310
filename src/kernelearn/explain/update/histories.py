"""What made one weight what it is: its change over a run, shared out to steps, epochs, images and classes.

A gradient moves the weight in its own step and, through momentum, in all later ones. `influence` is the sum
of both, from a walk back through the recorded updates: what one unit of the gradient of step j changed in the
weight at the end. With it

    W_end - W_start = sum_j influence_j * gradient_j + penalties + weight decay + constraints + rounding

and each gradient is the sum of its ledger, so the change is shared out to images and positions. Denominators
are held at the values that they had (see `linear_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.gradient.ledger_text import NOTE
from kernelearn.explain.gradient.ledgers import Ledger, Sums, kernel_of_bias, ledger, weight_and_index
from kernelearn.explain.gradient.pairs import Index, operator_index
from kernelearn.explain.runs import run_of
from kernelearn.explain.table import Table
from kernelearn.explain.update.run_updates import RunUpdates
from kernelearn.explain.update.weight_updates import WeightUpdates, walk_back


@dataclass(frozen=True, eq=False)
class History:
    """Where the change of one weight came from.

    Attributes:
        layer, weight, index: which number of which weight.
        first, last: updates of the span; the weight was `before` the first and `after` the last.
        steps: (s,) updates that are explained: weights before and after, gradient and state are recorded.
        epochs: (s,) the epoch of each, from 0.
        gradients: (s,) gradient of each from the data, before clipping.
        influence: (s,) what one unit of that gradient changed in the weight up to `last`, momentum of later
            steps included (up to the next gap of the recording).
        totals: name -> what the change is made of: "by_hand" (see `Run.interventions`), "gradient", "penalty"
            (influence times gradient, summed),
            "earlier_momentum" (from before the span), "weight_decay" (with what momentum carried of it),
            "constraint", "unexplained" (steps that are not recorded).
        rounding: largest residual that rounding explains: what it did in every step is known, as far as the
            bound of that step allows it, and added up. It does not grow with the number of steps.
        explained: share of the way that the weight went, sum of |W_k - W_(k-1)|, in steps that are explained:
            1 for a layer that is recorded in full.
        ledger_steps: those of `steps` with a ledger; only they can be shared out to images.
        frozen: updates of the span in which the weight was frozen: they have nothing to explain.
    """

    layer: str
    weight: str
    index: Index
    first: int
    last: int
    before: float
    after: float
    steps: NDArray[Any]
    epochs: NDArray[Any]
    gradients: NDArray[Any]
    influence: NDArray[Any]
    totals: dict[str, float]
    rounding: float
    explained: float
    ledger_steps: NDArray[Any]
    frozen: int = 0
    run: Any = field(default=None, repr=False)

    @property
    def change(self) -> float:
        """W_end - W_start."""
        return self.after - self.before

    @property
    def residual(self) -> float:
        """The change minus the sum of `totals`: rounding, or else a mistake."""
        return self.change - sum(self.totals.values())

    @property
    def is_exact(self) -> bool:
        """Whether rounding explains the residual."""
        return abs(self.residual) <= self.rounding

    @property
    def moved(self) -> NDArray[Any]:
        """(s,) what the gradient of each step changed in the weight up to the end."""
        return np.asarray(self.influence * self.gradients)

    @property
    def covered(self) -> float:
        """Share of the movement in steps that are explained and have a ledger: what images account for."""
        size = float(np.abs(self.moved).sum())
        with_ledger = float(np.abs(self.moved[self._has_ledger]).sum()) / size if size else 0.0
        return with_ledger * self.explained

    @property
    def covered_change(self) -> float:
        """What the steps with a ledger changed; `by_image` and `by_class` add up to it."""
        return float(self.moved[self._has_ledger].sum())

    def by_epoch(self) -> Sums:
        """`moved`, summed over each epoch."""
        keys, place, counts = np.unique(self.epochs, return_inverse=True, return_counts=True)
        return Sums(keys, np.bincount(place, self.moved, len(keys)), counts)

    def by_image(self) -> Sums:
        """What every image changed, in the steps that have a ledger; counts are the steps it took part in."""
        return _merged([book.by_image() for book in self._books], self._weights)

    def by_class(self) -> Sums:
        """What every class changed, in the steps that have a ledger; counts are steps.

        Raises: ArgumentError if the classes are not known.
        """
        return _merged([book.by_class() for book in self._books], self._weights)

    def by_position(self) -> NDArray[Any]:
        """(*positions) what every position changed, in the steps that have a ledger."""
        maps = [w * book.by_position() for w, book in zip(self._weights, self._books)]
        return np.sum(maps, axis=0) if maps else np.zeros(())

    @property
    def _has_ledger(self) -> NDArray[Any]:
        return np.isin(self.steps, self.ledger_steps)

    @property
    def _weights(self) -> NDArray[Any]:
        return np.asarray(self.influence[self._has_ledger])

    @cached_property
    def _books(self) -> list[Ledger]:
        at = (self.weight, *self.index)
        return [ledger(self.run, self.layer, int(k), weight=at) for k in self.steps[self._has_ledger]]

    def table(self, k: int = 5) -> Table:
        """One row per part of the change, then the k images that changed most."""
        size = self.change or 1.0
        rows = [(name, value, f"{100 * value / size:.1f} %") for name, value in self.totals.items()]
        rows += [("residual", self.residual, "-"), ("change", self.change, "100.0 %")]
        images = self.by_image()
        order = np.argsort(-np.abs(images.sums), kind="stable")[:k]
        for i in order:
            share = f"{100 * images.sums[i] / size:.1f} %"
            count = images.counts[i]
            steps = "1 step" if count == 1 else f"{count} steps"
            rows.append((f"image {images.keys[i]} ({steps})", float(images.sums[i]), share))
        return Table(("part", "value", "share"), tuple(rows), self._title())

    def _title(self) -> str:
        return (
            f"History of {self.layer}/{self.weight}{list(self.index)}, steps {self.first} to {self.last}: "
            f"{self.before:.6g} -> {self.after:.6g}"
        )

    def note(self) -> str:
        """What the shares of images and classes cover."""
        count, ledgers = self.last - self.first + 1, int(self._has_ledger.sum())
        more = "" if self.explained == 1 else f" ({self.run.about.to_record_all(self.layer)} records all)"
        frozen = f" In {self.frozen} it was frozen." if self.frozen else ""
        return (
            f"{len(self.steps)} of {count} updates, {100 * self.explained:.1f} % of the weight's way, are "
            f"explained{more}.{frozen} {ledgers} have a ledger: images and classes "
            f"cover {100 * self.covered:.1f} % of the movement. {NOTE}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        images = self.by_image()
        epochs = self.by_epoch()
        return {
            **{
                n: getattr(self, n) for n in ("layer", "weight", "first", "last", "before", "after", "change")
            },
            "index": list(self.index),
            "steps": self.steps.tolist(),
            "gradients": self.gradients.tolist(),
            "influence": self.influence.tolist(),
            "totals": self.totals,
            "residual": self.residual,
            "explained": self.explained,
            "covered": self.covered,
            "by_image": {str(i): float(v) for i, v in zip(images.keys, images.sums)},
            "by_epoch": {str(i): float(v) for i, v in zip(epochs.keys, epochs.sums)},
            "note": self.note(),
        }

    def __str__(self) -> str:
        return f"{self.table()}\n{self.note()}"

    def _repr_html_(self) -> str:
        return f"{self.table()._repr_html_()}<p>{self.note()}</p>"


def history(
    run: Any,
    layer: str,
    weight: Sequence[Any],
    first: int | None = None,
    last: int | None = None,
) -> History:
    """Share the change of one weight out to the steps, epochs, images and classes that made it.

    Args:
        run: `recording.Run`, or the path of its folder.
        weight: index (i, j, c, f) of the number in the kernel, or name and index such as ("bias", f).
        first, last: updates of the span; all recorded ones by default.
    Raises: ArgumentError for an index outside of the weight, or if nothing is recorded in the span.
    """
    run = run_of(run, "history")
    name, index = weight_and_index(weight)
    name = run.weight_name(layer, name)
    shape = run.shape_of(layer, name)
    index = operator_index(index, shape, shape)
    recorded = run.weight_steps(layer, name)
    start = int(recorded[0]) if first is None else int(first) - 1
    end = int(recorded[-1]) if last is None else int(last)
    if start not in recorded or end not in recorded or start >= end:
        raise ArgumentError(
            f"A history needs the weights of the steps {start} and {end}, the first before the second; "
            f"{layer}/{name} is known at {len(recorded)} steps, from {recorded[0]} to {recorded[-1]}."
        )
    return _assembled(WeightUpdates(RunUpdates(run, layer, name), index), start, end)


def _assembled(updates: WeightUpdates, start: int, end: int) -> History:
    known = [k for k in updates.steps() if start < k <= end]
    numbers = [updates.numbers(k) for k in known]
    walk = walk_back(numbers, updates.eps, updates.follows)
    influence = walk.influence
    frozen = (
        0
        if len(known) == end - start
        else updates.of.run.frozen_updates(updates.of.layer, start + 1, end, updates.of.weight)
    )
    before, after = updates.weight(start), updates.weight(end)
    explained = sum(updates.weight(k) - updates.weight(k - 1) for k in known)
    is_whole = len(known) + frozen == end - start
    totals = {
        "by_hand": updates.by_hand_in(start, end) if is_whole else sum(n.by_hand for n in numbers),
        "gradient": sum(i * n.gradient for i, n in zip(influence, numbers)),
        "penalty": sum(i * n.penalty for i, n in zip(influence, numbers)),
        "earlier_momentum": walk.carried,
        "weight_decay": sum(n.decay for n in numbers) + walk.decayed,
        "constraint": sum(n.constraint for n in numbers),
        "unexplained": 0.0 if is_whole else after - before - explained,
    }
    return History(
        layer=updates.of.layer,
        weight=updates.of.weight,
        index=updates.index,
        first=start + 1,
        last=end,
        before=before,
        after=after,
        steps=np.array(known, np.int64),
        epochs=updates.epochs(known),
        gradients=np.array([n.gradient for n in numbers]),
        influence=np.array(influence),
        totals={name: float(value) for name, value in totals.items() if value or name == "gradient"},
        rounding=abs(walk.rounded) + 4 * (len(known) + 1) * float(np.finfo(np.float64).eps) * walk.size,
        explained=updates.share_of_way(known, start, end),
        ledger_steps=np.intersect1d(known, _ledger_steps(updates)),
        frozen=frozen,
        run=updates.of.run,
    )


def _ledger_steps(updates: WeightUpdates) -> NDArray[Any]:
    """Steps that have a ledger of this weight; that of a bias is among the kernel's."""
    of = updates.of
    name = of.weight if of.weight != "bias" else kernel_of_bias(of.run, of.layer)
    try:
        return of.run.ledger_steps_of(of.layer, name)
    except KernelearnError:
        return np.zeros(0, np.int64)


def _merged(parts: list[Sums], weights: NDArray[Any]) -> Sums:
    """Sums of several ledgers times the influence of their steps; counts are ledgers."""
    if not parts:
        return Sums(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    keys = np.concatenate([p.keys for p in parts])
    values = np.concatenate([w * p.sums for w, p in zip(weights, parts)])
    found, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return Sums(found, np.bincount(place, values, len(found)), counts)
