"""Images of several sizes brought to one: zeros below and to the right of each, without weight in the loss.

What a batch is padded to follows from its images alone. Targets that are maps of the same size (masks,
images) are padded along, and their new positions get the weight 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn._configurable import is_whole
from kernelearn.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Padding:
    """How far the images of a batch are padded.

    Attributes:
        multiple_of: sizes are rounded up to multiples of this.
        by_size: batch together what is padded to one size; False batches any images, padded to the largest.
    """

    multiple_of: int = 1
    by_size: bool = False

    def __post_init__(self) -> None:
        if not is_whole(self.multiple_of) or self.multiple_of < 1:
            raise ArgumentError(f"multiple_of must be a positive int, got {self.multiple_of!r}.")

    def rounded(self, shapes: np.ndarray) -> np.ndarray:
        """Shapes (..., axes) of images with all sizes but the channels rounded up."""
        multiple = np.ones(shapes.shape[-1], np.int64)
        multiple[:-1] = self.multiple_of
        up: np.ndarray = -(-shapes // multiple) * multiple
        return up

    def of(self, shapes: np.ndarray) -> tuple[int, ...]:
        """The one shape that images of these shapes (k, axes) are padded to."""
        return tuple(self.rounded(shapes.max(axis=0)).tolist())


def stacked(items: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(k, *shape) of arrays that are at most as large, zeros around."""
    out = np.zeros((len(items), *shape), items.dtype)
    for place, item in zip(out, items):
        place[tuple(map(slice, item.shape))] = item
    return out


def follow(items: Any, shapes: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Targets or weights padded as their images were, and whether they are maps of the images' sizes.

    Args:
        items: an array or `Ragged` of k rows.
        shapes: (k, axes) of the images before, and `shape` after.
    Raises: ShapeError for targets of several sizes that are not those of their images.
    """
    axes = shapes.shape[1] - 1
    is_map = 0 < axes < items.ndim and all(
        item.shape[:axes] == tuple(s[:axes]) for item, s in zip(items, shapes)
    )
    if is_map:
        return stacked(items, (*shape[:axes], *(items.shape[axes + 1 :]))), True
    if None in items.shape[1:]:
        raise ShapeError(
            "Targets and weights of several sizes can only be padded where they are maps with the sizes of "
            "their images. Leave .padded() out: images are then batched by their size."
        )
    return items, False


def padded_batch(x: np.ndarray, y: Any, weights: Any, shapes: np.ndarray) -> tuple[Any, Any, Any]:
    """A batch of padded images with targets padded along, and the weight 0 where there is nothing.

    Args:
        x: (k, ...) padded images, of the shapes (k, axes) before.
        y, weights: as they belong to the images before; of several outputs a list, tuple or dict.
    """
    if y is None:
        return x, None, weights
    if not isinstance(y, dict | list | tuple):
        target, weight = _padded_output(y, weights, shapes, x.shape[1:])
        return x, target, weight
    keys = list(y) if isinstance(y, dict) else list(range(len(y)))
    given = weights if isinstance(weights, dict | list | tuple) else dict.fromkeys(keys, weights)
    own = given.get if isinstance(given, dict) else given.__getitem__
    pairs = [_padded_output(y[key], own(key), shapes, x.shape[1:]) for key in keys]
    targets, made = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if isinstance(y, dict):
        return x, dict(zip(keys, targets)), dict(zip(keys, made))
    return x, targets, made


def _padded_output(y: Any, weight: Any, shapes: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Targets and weights of one output."""
    target, is_map = follow(y, shapes, shape)
    if weight is not None:
        weight = follow(weight, shapes, shape)[0]
    if not is_map:
        return target, weight
    ones = [np.ones(tuple(sizes[:-1]), config.floatx()) for sizes in shapes]
    inside = np.zeros((len(ones), *shape[:-1]), config.floatx())
    for place, one in zip(inside, ones):
        place[tuple(map(slice, one.shape))] = one
    if weight is not None:
        inside *= weight.reshape(*weight.shape, *[1] * (inside.ndim - weight.ndim))
    return target, inside
