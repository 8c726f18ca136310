"""What fine-tuning made of a network: which layers it took over, which are new, and how far each has moved.

distance   |W_after - W_before|, the Euclidean length over all weights of a layer
relative   that by |W_before|
share      of all squared distances of the layers that were taken over
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.explain.table import Table
from kernelearn.formats.json_shape import check_json

NEW, KEPT, MOVED = "new", "as it was", "taken over, moved"
_SHAPE = {
    "layers": [
        {
            "layer": str,
            "state": str,
            "is_frozen": bool,
            "weights": int,
            "distance": (float, None),
            "relative": (float, None),
        }
    ]
}


@dataclass(frozen=True)
class LayerMovement:
    """One layer before and after.

    Attributes:
        layer: its path.
        state: "new", "as it was" or "taken over, moved".
        is_frozen: whether it cannot be trained (any more).
        weights: how many numbers it has.
        distance, relative: see above; None for a new layer, `relative` also where all weights were 0.
    """

    layer: str
    state: str
    is_frozen: bool
    weights: int
    distance: float | None
    relative: float | None


@dataclass(frozen=True)
class Movement:
    """All layers with weights, in order.

    Attributes:
        layers: of the network after.
    """

    layers: tuple[LayerMovement, ...]

    @property
    def taken_over(self) -> int:
        """How many weights were taken over."""
        return sum(row.weights for row in self.layers if row.state != NEW)

    @property
    def total(self) -> int:
        """How many weights there are."""
        return sum(row.weights for row in self.layers)

    def shares(self) -> dict[str, float]:
        """Layer -> its share of how far everything has moved that was taken over; all 0 where nothing did."""
        squares = {row.layer: (row.distance or 0.0) ** 2 for row in self.layers}
        total = sum(squares.values())
        return {layer: square / total if total else 0.0 for layer, square in squares.items()}

    def in_words(self) -> str:
        """One sentence: what was taken over, what is new, what moved."""
        new = [row for row in self.layers if row.state == NEW]
        moved = [row for row in self.layers if row.state == MOVED]
        kept = [row for row in self.layers if row.state == KEPT]
        share = 100 * self.taken_over / max(self.total, 1)
        words = f"{self.taken_over:,} of {self.total:,} weights ({share:.1f} %) were taken over"
        words += f"; layers that moved: {len(moved)}, as they were: {len(kept)}"
        return f"{words}; new: {', '.join(row.layer for row in new)}." if new else f"{words}; none is new."

    def table(self) -> Table:
        """One row a layer."""
        shares = self.shares()
        rows = [
            (
                row.layer,
                f"{row.state}, frozen" if row.is_frozen else row.state,
                row.weights,
                row.distance,
                None if row.relative is None else f"{100 * row.relative:.2f} %",
                None if row.distance is None else f"{100 * shares[row.layer]:.1f} %",
            )
            for row in self.layers
        ]
        columns = ("layer", "what became of it", "weights", "distance", "relative", "share of movement")
        return Table(columns, tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "taken_over": self.taken_over,
            "total": self.total,
            "shares": self.shares(),
            "layers": [asdict(row) for row in self.layers],
        }

    @classmethod
    def from_dict(cls, values: Any, where: str = "the report") -> Movement:
        """What `to_dict` gave.

        Raises: FormatError for anything else.
        """
        check_json(values, _SHAPE, where, FormatError)
        names = LayerMovement.__dataclass_fields__
        return cls(tuple(LayerMovement(**{n: row[n] for n in names}) for row in values["layers"]))

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def movement(before: Any, after: Any, new: Collection[str] = ()) -> Movement:
    """How far each layer of a network has moved from another state of it.

    Args:
        before: the network as it was (a clone, or read from its file: what shares layers with `after` moves
            along), or path of a weight -> array as `weight_paths` names them.
        after: the network as it is.
        new: paths of layers that began anew, whatever `before` has under their names.
    Raises: ArgumentError where the two have no weight in common.

    >>> from kernelearn import Sequential, layers
    >>> model = Sequential([layers.Dense(2, input_shape=(3,), use_bias=False, name="dense")])
    >>> earlier = model.clone()
    >>> model.set_weights([model.get_weights()[0] + 1])
    >>> round(movement(earlier, model).layers[0].distance, 4)
    2.4495
    """
    then = before if isinstance(before, Mapping) else _arrays(before)
    now = _arrays(after)
    if not any(name in then and then[name].shape == array.shape for name, array in now.items()):
        raise ArgumentError(
            f"The two networks have no weight in common: {list(then)[:4]} and {list(now)[:4]}, ... "
            "Compare a network with an earlier state of itself."
        )
    groups: dict[str, list[str]] = {}
    for name in now:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    frozen = _frozen(after)
    return Movement(
        tuple(_row(layer, names, then, now, layer in new, frozen) for layer, names in groups.items())
    )


def _arrays(model: Any) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.weight_paths().items()}


def _frozen(model: Any) -> set[str]:
    """Names of the weights that training leaves alone because their layer is frozen."""
    trained = {id(weight) for weight in model.trainable_weights}
    return {
        name
        for name, weight in model.weight_paths().items()
        if id(weight) not in trained and (weight.role == "parameter" or not weight.owner.trainable)
    }


def _row(
    layer: str,
    names: list[str],
    then: Mapping[str, np.ndarray],
    now: Mapping[str, np.ndarray],
    is_new: bool,
    frozen: Collection[str],
) -> LayerMovement:
    count = sum(now[name].size for name in names)
    is_frozen = all(name in frozen for name in names)
    if is_new or any(name not in then or then[name].shape != now[name].shape for name in names):
        return LayerMovement(layer, NEW, is_frozen, count, None, None)
    pairs = [(then[name].astype(np.float64), now[name].astype(np.float64)) for name in names]
    distance = float(np.sqrt(sum(np.sum((b - a) ** 2) for a, b in pairs)))
    length = float(np.sqrt(sum(np.sum(a**2) for a, _ in pairs)))
    relative = distance / length if length else None
    return LayerMovement(layer, MOVED if distance else KEPT, is_frozen, count, distance, relative)
