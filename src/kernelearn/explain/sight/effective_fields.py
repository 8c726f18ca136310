"""The effective receptive field: how strongly a unit depends on each pixel that it can see.

The theoretical field says what can matter; of it, units in the middle of a deep stack use a Gaussian blob.
Source: Luo et al., NeurIPS 2016, https://arxiv.org/abs/1701.04128.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.explain.sight.fields import ReceptiveField, receptive_field
from kernelearn.explain.sight.network import BATCH_SIZE, ScoreGradient, channel_axis, images_for, shape_for

# A pixel belongs to the effective field above this share of the strongest: 1 - 95.45 %, two deviations.
_SHARE_OF_PEAK = 1 - 0.9545


@dataclass(frozen=True, eq=False)
class EffectiveReceptiveField:
    """What a unit uses of what it can see. Tuples have one entry per spatial axis.

    Attributes:
        theoretical: the receptive field from geometry.
        influence: (*image size) mean over images of |d unit / d pixel|, summed over the image's channels.
        centre: mean position of the influence, in pixels.
        deviation: its standard deviation, in pixels.
    """

    theoretical: ReceptiveField
    influence: np.ndarray = field(repr=False)
    centre: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def pixels(self) -> int:
        """Pixels with more than 4.55 % of the strongest influence."""
        return int((self.influence > _SHARE_OF_PEAK * self.influence.max()).sum())

    @property
    def size(self) -> float:
        """Edge of a square (or cube) of so many pixels, to compare with the theoretical size."""
        return float(self.pixels ** (1 / self.influence.ndim))

    @property
    def share(self) -> float:
        """Pixels used, as a fraction of those that can be seen; 0 for a unit without any influence."""
        return self.pixels / max(self.theoretical.pixels, 1)


def effective_receptive_field(
    model: Any,
    layer: Any = None,
    images: Any = None,
    unit: Sequence[int] | int | None = None,
    samples: int = 32,
    seed: int = 0,
    input_shape: Any = None,
) -> EffectiveReceptiveField:
    """How strongly a unit depends on each pixel, with the weights that the model has now.

    Args:
        model: built, with one input.
        layer: path of the layer, or the layer; None for the output.
        images: (n, ...) to average over; None for `samples` images of Gaussian noise.
        unit: as in `receptive_field`, None for the middle; of a position all channels are added up.
        samples, seed: number and seed of the noise images.
        input_shape: of one image, for a model that takes any size and no `images`.
    """
    if images is not None:
        input_shape = shape_for(model, images)
    seen = receptive_field(model, layer, unit, input_shape=input_shape)
    gradient = ScoreGradient(model, layer, before_activation=False, input_shape=input_shape)
    if images is None:
        shape = (samples, *(input_shape or model.inputs[0].shape[1:]))
        images = np.random.default_rng(seed).standard_normal(shape)
    batch = images_for(model, images)
    towards = _towards(model, layer, gradient.unit_shape, seen.unit)
    total = np.zeros(batch.shape[1:])
    for start in range(0, len(batch), BATCH_SIZE):
        part = batch[start : start + BATCH_SIZE]
        _, (found,) = gradient(part, np.repeat(towards, len(part), axis=0))
        total += np.abs(found).sum(axis=0, dtype=np.float64)
    influence = total / len(batch)
    if influence.ndim > 1:
        influence = influence.sum(axis=channel_axis(model, None, batch.ndim) - 1)
    centre, deviation = _moments(influence)
    return EffectiveReceptiveField(seen, influence, centre, deviation)


def _towards(model: Any, layer: Any, shape: tuple[int, ...], unit: tuple[int, ...]) -> np.ndarray:
    """(1, units): 1 at a unit, or at all channels of a position."""
    row = np.zeros(shape)
    if len(unit) == len(shape):
        row[unit] = 1.0
    else:
        channel = channel_axis(model, layer, len(shape) + 1) - 1
        np.moveaxis(row, channel, -1)[unit] = 1.0
    return row.reshape(1, -1)


def _moments(influence: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the positions, weighted by influence; NaN without any."""
    total = influence.sum()
    if total == 0:
        return (float("nan"),) * influence.ndim, (float("nan"),) * influence.ndim
    centre, deviation = [], []
    for axis, size in enumerate(influence.shape):
        others = tuple(a for a in range(influence.ndim) if a != axis)
        weights = influence.sum(axis=others) / total
        mean = float(weights @ np.arange(size))
        centre.append(mean)
        deviation.append(float(np.sqrt(weights @ np.square(np.arange(size) - mean))))
    return tuple(centre), tuple(deviation)
