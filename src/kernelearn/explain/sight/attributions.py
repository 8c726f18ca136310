"""Saliency: which pixels a score depends on, by derivatives of the score with respect to the image.

gradient              dS/dx                                           Simonyan 2013, arXiv:1312.6034
gradient_times_input  x * dS/dx                                       Shrikumar 2016, arXiv:1605.01713
smooth_grad           mean of dS/dx over noisy copies of x            Smilkov 2017, arXiv:1706.03825
integrated_gradients  (x - b) * mean of dS/dx on the way from b to x  Sundararajan 2017, arXiv:1703.01365
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError, unknown_name
from kernelearn.explain.sight.network import BATCH_SIZE, ScoreGradient, channel_axis, images_for, shape_for
from kernelearn.explain.sight.targets import Targeted, directions, resolve_targets

METHODS = ("gradient", "gradient_times_input")
_MOST_STEPS = 2048
_PANEL_POINTS = 16
# Scores that differ by less than so many units of their last place hardly differ.
_ROUNDING = 64


@dataclass(frozen=True, eq=False)
class Attribution(Targeted):
    """A number for every pixel and channel of every image.

    Attributes:
        method: which.
        values: of the images' shape, signed.
        targets: class, channel or unit explained, per image.
        scores: (n,) score of the target for each image.
        baseline_scores: of integrated gradients: (n,) score for the baseline; None for other methods.
        steps: of integrated gradients: points on the way; 0 for other methods.
    """

    method: str
    values: np.ndarray = field(repr=False)
    targets: list[Any]
    scores: np.ndarray
    baseline_scores: np.ndarray | None = None
    steps: int = 0
    channel: int = field(default=-1, repr=False)

    def maps(self, reduction: str = "max") -> np.ndarray:
        """(n, *spatial): the largest magnitude over the channels ("max"), or their signed "sum"."""
        if reduction not in ("max", "sum"):
            raise unknown_name("reduction", reduction, ("max", "sum"))
        if self.values.ndim <= 2:
            return np.abs(self.values) if reduction == "max" else self.values
        if reduction == "sum":
            return np.asarray(self.values.sum(axis=self.channel))
        return np.asarray(np.abs(self.values).max(axis=self.channel))

    @property
    def heatmaps(self) -> np.ndarray:
        """(n, *spatial) one number a pixel: of a plain gradient its size, else what speaks for or against."""
        return self.maps("max" if self.method == "gradient" else "sum")

    @property
    def gaps(self) -> np.ndarray:
        """(n,) completeness: sum of the values minus (score - baseline score); 0 for an exact integral.

        Raises: ArgumentError for methods that promise no such sum.
        """
        if self.baseline_scores is None:
            raise ArgumentError(f"Only integrated gradients add up to a score; this is {self.method!r}.")
        sums = self.values.reshape(len(self.values), -1).sum(axis=1, dtype=np.float64)
        return np.asarray(sums - (self.scores - self.baseline_scores))


class _Score:
    """A chosen score of every image, and its derivative by the image."""

    def __init__(self, model: Any, x: Any, target: Any, layer: Any, before_activation: bool) -> None:
        self.model = model
        self.images = images_for(model, x)
        shape = shape_for(model, self.images)
        self._gradient = ScoreGradient(model, layer, before_activation=before_activation, input_shape=shape)
        shape = self._gradient.unit_shape
        known = np.concatenate([self._gradient.values(part) for part in _parts(self.images)])
        self.targets = resolve_targets(target, known, shape, len(self.images))
        self.directions = directions(self.targets, shape, channel_axis(model, layer, len(shape) + 1) - 1)
        self.scores = (known * self.directions).sum(axis=1, dtype=np.float64)
        self.channel = channel_axis(model, None, self.images.ndim)

    def gradient(self, images: np.ndarray) -> np.ndarray:
        """dS/dx at `images`, image by image."""
        return self.with_scores(images)[1]

    def with_scores(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) scores and their derivatives."""
        scores, gradients = [], []
        for part, towards in zip(_parts(images), _parts(self.directions)):
            y, (gradient,) = self._gradient(part, towards)
            scores.append((y * towards).sum(axis=1, dtype=np.float64))
            gradients.append(gradient)
        return np.concatenate(scores), np.concatenate(gradients)


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return [images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)]


def saliency(
    model: Any,
    x: Any,
    target: Any = None,
    layer: Any = None,
    method: str = "gradient",
    before_activation: bool = True,
) -> Attribution:
    """The derivative of a score by the pixels, or (method="gradient_times_input") that times the pixel.

    Args:
        model: built, with one input.
        x: images (n, ...).
        target: a class for all images, or one per image; None for the class with the highest score. Of a
            layer that gives maps: a channel (its mean) or the index of a unit.
        layer: whose output is explained; None for the model's.
        before_activation: explain the score before the activation. After a softmax the derivative mixes the
            classes and vanishes where the network is sure.
    Raises: ArgumentError, ShapeError, UnknownNameError.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Dense, Input
    >>> model = Sequential([Input((2,)), Dense(1, kernel_initializer=np.array([[3.0], [-1.0]]))])
    >>> saliency(model, np.array([[5.0, 7.0]])).values.tolist()
    [[3.0, -1.0]]
    """
    if method not in METHODS:
        raise unknown_name("saliency method", method, METHODS)
    score = _Score(model, x, target, layer, before_activation)
    values = score.gradient(score.images)
    if method == "gradient_times_input":
        values = values * score.images
    return Attribution(method, values, score.targets, score.scores, channel=score.channel)


def smooth_grad(
    model: Any,
    x: Any,
    target: Any = None,
    layer: Any = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    before_activation: bool = True,
) -> Attribution:
    """The mean derivative over copies of each image with Gaussian noise.

    Args:
        samples: number of copies.
        noise: standard deviation, as a fraction of the range (largest minus smallest value) of the image.
        seed: the same seed gives the same result.
        (the others as in `saliency`; the target is that of the image without noise)
    """
    if samples < 1 or noise < 0:
        raise ArgumentError(f"samples must be at least 1 and noise at least 0; got {samples}, {noise}.")
    score = _Score(model, x, target, layer, before_activation)
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, score.images.ndim))
    deviation = noise * np.ptp(score.images, axis=axes, keepdims=True)
    total = np.zeros(score.images.shape)
    for _ in range(samples):
        noisy = score.images + deviation * rng.standard_normal(score.images.shape)
        total += score.gradient(noisy.astype(score.images.dtype))
    return Attribution("smooth_grad", total / samples, score.targets, score.scores, channel=score.channel)


def integrated_gradients(
    model: Any,
    x: Any,
    target: Any = None,
    layer: Any = None,
    baseline: Any = 0.0,
    steps: int = 64,
    tolerance: float | None = None,
    before_activation: bool = True,
) -> Attribution:
    """How much every pixel adds to the score on the straight way from a baseline to the image.

    The values of an image sum to its score minus that of the baseline, up to the error of the integral,
    which `.gaps` tells. The integral is Gauss-Legendre quadrature in panels of at most 16 points; a network
    of ReLUs is piecewise linear, and its kinks decide how many steps are needed.

    Args:
        baseline: a number, one image, or one for each image: what stands for "nothing there".
        steps: points on the way.
        tolerance: double the steps of an image until its gap is at most this fraction of |score - baseline
            score|; where the score hardly differs from the baseline's, until it is as small as rounding.
        (the others as in `saliency`)
    Raises: KernelearnError if no image reaches the tolerance in 2048 steps. Where some do, a warning names
        the others.
    """
    if steps < 1:
        raise ArgumentError(f"steps must be at least 1, got {steps!r}.")
    score = _Score(model, x, target, layer, before_activation)
    start = np.broadcast_to(np.asarray(baseline, score.images.dtype), score.images.shape)
    baseline_scores, _ = score.with_scores(start)
    values, is_open = np.zeros(score.images.shape), np.ones(len(score.images), bool)
    while True:
        values[is_open] = _path_integral(score, start, steps)[is_open]
        found = Attribution(
            "integrated_gradients",
            values,
            score.targets,
            score.scores,
            baseline_scores,
            steps,
            score.channel,
        )
        is_open = np.zeros_like(is_open) if tolerance is None else ~_are_complete(found, tolerance)
        if not is_open.any():
            return found
        if steps >= _MOST_STEPS:
            return _incomplete(found, is_open, tolerance)
        steps = min(2 * steps, _MOST_STEPS)


def _incomplete(found: Attribution, is_open: np.ndarray, tolerance: float | None) -> Attribution:
    """The result with a warning about the images that miss the tolerance; an error if all do."""
    missed = np.flatnonzero(is_open).tolist()
    said = (
        f"Integrated gradients miss the tolerance {tolerance} after {found.steps} steps: the largest gap "
        f"is {np.abs(found.gaps).max():.3g}. Allow a larger tolerance, or use float64."
    )
    if len(missed) == len(is_open):
        raise KernelearnError(said)
    warnings.warn(f"{said} It concerns the images {missed}; the others reach it.", UserWarning, stacklevel=3)
    return found


def _path_integral(score: _Score, start: np.ndarray, steps: int) -> np.ndarray:
    """(x - start) times the mean derivative between them, float64."""
    way = score.images.astype(np.float64) - start
    total = np.zeros(score.images.shape)
    for node, weight in zip(*_quadrature(steps)):
        point = (start + node * way).astype(score.images.dtype)
        total += weight * score.gradient(point)
    return np.asarray(way * total)


def _quadrature(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights on [0, 1]: Gauss-Legendre in equal panels, which confine what a kink spoils."""
    panels = -(-steps // _PANEL_POINTS)
    counts = [len(part) for part in np.array_split(np.arange(steps), panels)]
    points, weights = [], []
    for panel, count in enumerate(counts):
        nodes, shares = np.polynomial.legendre.leggauss(count)
        points.append((panel + (nodes + 1) / 2) / panels)
        weights.append(shares / 2 / panels)
    return np.concatenate(points), np.concatenate(weights)


def _are_complete(found: Attribution, tolerance: float) -> np.ndarray:
    """(n,) whether the gap of an image is small beside the change of its score, or no more than rounding."""
    assert found.baseline_scores is not None
    change = np.abs(found.scores - found.baseline_scores)
    terms = np.abs(found.values).reshape(len(found.values), -1).sum(axis=1)
    sizes = terms + np.abs(found.scores) + np.abs(found.baseline_scores)
    rounding = _ROUNDING * np.finfo(np.float32).eps * sizes
    return np.asarray(np.abs(found.gaps) <= np.where(rounding < change, tolerance * change, rounding))
