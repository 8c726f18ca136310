"""Which number of a network is explained: from a class, a channel or a unit to a direction in its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn._notebook import shortened
from kernelearn._notebook import table as html_table
from kernelearn.errors import ArgumentError
from kernelearn.explain.table import Table


class Targeted:
    """What explains a target for each image by a number for each pixel.

    Attributes:
        method, targets, scores: which way; what is explained, and its score, image by image.
        heatmaps: (n, *spatial) one number a pixel.
    """

    method: str
    targets: list[Any]
    scores: np.ndarray
    heatmaps: Any

    def table(self, labels: Any = None) -> Table:
        """One row per image; `labels` are what is right, for a column beside what is explained."""
        rows = []
        for i, shown in enumerate(self.heatmaps):
            strongest = np.unravel_index(int(np.abs(shown).argmax()), shown.shape)
            label = None if labels is None else np.asarray(labels[i]).tolist()
            place = tuple(int(p) for p in strongest)
            values = (float(self.scores[i]), place, float(shown[strongest]))
            rows.append((i, label, self.targets[i], *values))
        columns = ("image", "label", "explained class", "score", "strongest pixel", "value there")
        return Table(columns, tuple(rows), self.method.replace("_", " "))

    def to_dict(self, labels: Any = None) -> dict[str, Any]:
        """Everything; maps as nested lists."""
        images = self.table(labels).to_dict()
        return {"method": self.method, "images": images, "maps": self.heatmaps.tolist()}

    def _repr_html_(self) -> str:
        found = self.table()
        return html_table(found.title, found.columns, shortened(found.cells()))


def resolve_targets(target: Any, scores: np.ndarray | None, shape: tuple[int, ...], count: int) -> list[Any]:
    """One target per image.

    Args:
        target: a class (or channel) number for all images, one per image, a tuple that is the index of one
            unit, or None for the class with the highest score.
        scores: (n, units), needed where target is None.
        shape: of the outputs that are chosen from, without the batch.
        count: number of images.
    Raises: ArgumentError for None where the outputs are maps, and for a wrong number of targets.
    """
    if target is None:
        if len(shape) != 1 or scores is None:
            raise ArgumentError(
                f"The layer gives maps of shape {shape}, which have no highest class: say which channel or "
                "unit is meant with target=."
            )
        return [int(best) for best in scores.argmax(axis=1)]
    if isinstance(target, tuple):
        return [target] * count
    numbers = np.asarray(target)
    if numbers.ndim == 0:
        return [int(numbers)] * count
    if len(numbers) != count:
        raise ArgumentError(f"{count} images need one target, or one for each; got {len(numbers)}.")
    return [int(n) if np.ndim(n) == 0 else tuple(int(i) for i in n) for n in numbers]


def directions(targets: list[Any], shape: tuple[int, ...], channel: int) -> np.ndarray:
    """(n, units) directions: 1 at a unit, or the mean over the positions of a channel.

    Args:
        targets: a channel number or the index of a unit for every image.
        shape: of the layer's output, without the batch.
        channel: its channel axis.
    Raises: ArgumentError for an index outside of the layer.
    """
    made = np.zeros((len(targets), *shape))
    for row, target in zip(made, targets):
        if isinstance(target, tuple):
            _check(len(target) == len(shape), target, shape)
            _check(all(-s <= i < s for i, s in zip(target, shape)), target, shape)
            row[target] = 1.0
        else:
            _check(-shape[channel] <= target < shape[channel], target, shape)
            np.moveaxis(row, channel, 0)[target] = shape[channel] / row.size
    return made.reshape(len(targets), -1)


def _check(is_right: bool, target: Any, shape: tuple[int, ...]) -> None:
    if not is_right:
        raise ArgumentError(
            f"target must be a channel number or the index of a unit in an output of shape {shape}; "
            f"got {target!r}."
        )
