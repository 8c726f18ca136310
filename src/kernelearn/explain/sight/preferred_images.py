"""Activation maximisation: an image that a unit, a channel or a class likes best, by gradient ascent.

The image climbs  score(x) - l2 * mean(x^2) - total_variation * mean(|neighbouring differences|^2)  by steps
of a fixed size along the normalised gradient. Source: Erhan et al. 2009, University of Montreal report 1341;
the penalties as in Mahendran and Vedaldi 2015, arXiv:1412.0035; shifts as in Olah et al. 2017, Distill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.sight.network import ScoreGradient, channel_axis, path_of
from kernelearn.explain.sight.targets import directions


@dataclass(frozen=True, eq=False)
class Preferred:
    """Images that make targets respond.

    Attributes:
        layer: path of the layer, "" for the model's output.
        targets: channels or units, one per image.
        images: (targets, *image) the best that was found for each, penalties counted.
        scores: (targets,) what they reach, before penalties.
        history: (steps + 1, targets) score of the image at each step; row 0 is the start.
    """

    layer: str
    targets: list[Any]
    images: np.ndarray = field(repr=False)
    scores: np.ndarray
    history: np.ndarray = field(repr=False)


def activation_maximization(
    model: Any,
    layer: Any = None,
    targets: Any = 0,
    steps: int = 128,
    learning_rate: float = 0.05,
    l2: float = 0.0,
    total_variation: float = 0.0,
    jitter: int = 0,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    start: Any = None,
    noise: float = 0.02,
    seed: int = 0,
    before_activation: bool = True,
    input_shape: Any = None,
) -> Preferred:
    """Images that make chosen channels, units or classes respond most.

    Args:
        model: built, with one input.
        layer: path of the layer, or the layer; None for the model's output.
        targets: a channel (or class) number, or the index of a unit as a tuple; a list gives one image each.
            A channel's score is its mean over all positions.
        steps: steps of ascent.
        learning_rate: size of a step: root mean square change of a pixel.
        l2: weight of the mean square of the image, which keeps it small.
        total_variation: weight of the mean squared difference of neighbouring pixels, which keeps it smooth.
        jitter: shift the image by up to so many pixels, around the border, before each gradient.
        bounds: smallest and largest pixel, such as those of the training images; None for none.
        start: image, or one for each target, to begin with; None for grey with noise.
        noise: standard deviation of the noise added to the start, in pixel values.
        seed: the same seed gives the same images.
        before_activation: climb what comes before the layer's activation, which has a gradient where a ReLU
            is silent.
        input_shape: of the images to make, (64, 64, 3), for a model that takes any size.
    Raises: ArgumentError, ShapeError, UnknownNameError.
    """
    if steps < 1 or learning_rate <= 0 or noise < 0 or jitter < 0:
        raise ArgumentError(
            "steps must be at least 1, learning_rate above 0, noise and jitter at least 0; got "
            f"{steps}, {learning_rate}, {noise}, {jitter}."
        )
    gradient = ScoreGradient(model, layer, before_activation=before_activation, input_shape=input_shape)
    wanted: list[Any] = list(targets) if isinstance(targets, list | range | np.ndarray) else [targets]
    wanted = [one if isinstance(one, tuple) else int(one) for one in wanted]
    shape = gradient.unit_shape
    towards = directions(wanted, shape, channel_axis(model, layer, len(shape) + 1) - 1)
    rng = np.random.default_rng(seed)
    size = tuple(input_shape or model.inputs[0].shape[1:])
    images = _start(size, start, len(wanted), noise, bounds, rng)
    ascent = _Ascent(model, gradient, towards, l2, total_variation)
    best, best_scores, history = _climb(ascent, images, steps, learning_rate, jitter, bounds, rng)
    name = "" if layer is None else path_of(model, layer)
    return Preferred(name, wanted, best, best_scores, history)


def _climb(
    ascent: _Ascent,
    images: np.ndarray,
    steps: int,
    learning_rate: float,
    jitter: int,
    bounds: tuple[float, float] | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(best images, their scores, scores at every step (steps + 1, targets))."""
    history = [ascent.scores(images)]
    best, best_scores = images.copy(), history[0].copy()
    highest = history[0] - ascent.penalties(images)
    for _ in range(steps):
        slope = _shifted_gradient(ascent, images, jitter, rng)
        images = _within(images + learning_rate * _normalised(slope), bounds)
        history.append(ascent.scores(images))
        value = history[-1] - ascent.penalties(images)
        is_better = value > highest
        highest = np.maximum(value, highest)
        best[is_better], best_scores[is_better] = images[is_better], history[-1][is_better]
    return best, best_scores, np.array(history)


class _Ascent:
    """The objective and its gradient, image by image."""

    def __init__(
        self, model: Any, gradient: ScoreGradient, towards: np.ndarray, l2: float, variation: float
    ) -> None:
        self._gradient, self._towards = gradient, towards
        self._l2, self._variation = l2, variation
        tensor = model.inputs[0]
        self.dtype = tensor.dtype
        rank = len(tensor.shape)
        axis = channel_axis(model, None, rank)
        self.spatial = [i for i in range(1, rank) if i != axis or rank == 2]

    def scores(self, images: np.ndarray) -> np.ndarray:
        y = self._gradient.values(images.astype(self.dtype))
        return np.asarray((y * self._towards).sum(axis=1, dtype=np.float64))

    def penalties(self, images: np.ndarray) -> np.ndarray:
        """(targets,) what is taken off the scores."""
        axes = tuple(range(1, images.ndim))
        differences = [np.square(np.diff(images, axis=axis)).sum(axis=axes) for axis in self.spatial]
        roughness = np.sum(differences, axis=0) / images[0].size
        return np.asarray(self._l2 * np.square(images).mean(axis=axes) + self._variation * roughness)

    def slope(self, images: np.ndarray) -> np.ndarray:
        """Gradient of score minus penalties."""
        _, (found,) = self._gradient(images.astype(self.dtype), self._towards)
        pixels = images[0].size
        slope = found.astype(np.float64) - self._l2 * 2.0 * images / pixels
        return np.asarray(slope - self._variation * _variation_gradient(images, self.spatial) / pixels)


def _variation_gradient(images: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Gradient of the sum of squared differences between neighbours along the axes."""
    total = np.zeros_like(images)
    for axis in axes:
        difference = 2.0 * np.diff(images, axis=axis)
        lead = [(0, 0)] * images.ndim
        lead[axis] = (1, 0)
        total += np.pad(difference, lead)
        lead[axis] = (0, 1)
        total -= np.pad(difference, lead)
    return total


def _shifted_gradient(
    ascent: _Ascent, images: np.ndarray, jitter: int, rng: np.random.Generator
) -> np.ndarray:
    """The gradient at images shifted at random, shifted back."""
    if not jitter:
        return ascent.slope(images)
    shift = tuple(int(s) for s in rng.integers(-jitter, jitter + 1, len(ascent.spatial)))
    back = tuple(-s for s in shift)
    axes = tuple(ascent.spatial)
    return np.roll(ascent.slope(np.roll(images, shift, axes)), back, axes)


def _normalised(slope: np.ndarray) -> np.ndarray:
    """Every image's gradient divided by its root mean square; zero where it is flat."""
    axes = tuple(range(1, slope.ndim))
    size = np.sqrt(np.mean(np.square(slope), axis=axes, keepdims=True))
    return np.asarray(np.divide(slope, size, out=np.zeros_like(slope), where=size > 0))


def _within(images: np.ndarray, bounds: tuple[float, float] | None) -> np.ndarray:
    return images if bounds is None else np.clip(images, *bounds)


def _start(
    shape: tuple[int, ...],
    start: Any,
    count: int,
    noise: float,
    bounds: tuple[float, float] | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """(count, *image) first images, float64."""
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ArgumentError(f"bounds must be (smallest, largest), got {bounds!r}.")
    middle = 0.0 if bounds is None else (bounds[0] + bounds[1]) / 2
    first = np.asarray(middle if start is None else start, np.float64)
    if first.shape not in ((), shape, (count, *shape)):
        raise ShapeError(f"start must have the shape {shape} or {(count, *shape)}; got {first.shape}.")
    images = np.broadcast_to(first, (count, *shape)) + noise * rng.standard_normal((count, *shape))
    return _within(images, bounds)
