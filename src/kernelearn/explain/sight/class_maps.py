"""Grad-CAM: where in the image the maps of a layer speak for a class.

alpha[k] = mean over positions of dS/dA[p, q, k];  map[p, q] = ReLU(sum over k of alpha[k] * A[p, q, k])
Source: Selvaraju et al., ICCV 2017, equations 1 and 2, https://arxiv.org/abs/1610.02391.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.reference.images.resizing import resize
from kernelearn.errors import ArgumentError
from kernelearn.explain.sight.maps import map_layers
from kernelearn.explain.sight.network import (
    BATCH_SIZE,
    Network,
    ScoreGradient,
    channel_axis,
    images_for,
    open_network,
    path_of,
    shape_for,
    sizes_of,
)
from kernelearn.explain.sight.targets import Targeted, directions, resolve_targets


@dataclass(frozen=True, eq=False)
class GradCAM(Targeted):
    """Class activation maps of a batch.

    Attributes:
        layer: whose maps were weighed.
        maps: (n, *positions) at the layer's resolution, >= 0 unless `signed` was asked for.
        heatmaps: (n, *image size) the same, enlarged bilinearly.
        weights: (n, channels) alpha: how much each channel speaks for the target.
        targets: class explained, per image.
        scores: (n,) its score before the activation.
    """

    layer: str
    maps: np.ndarray = field(repr=False)
    heatmaps: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    targets: list[Any]
    scores: np.ndarray
    method: str = "grad_cam"


def grad_cam(model: Any, x: Any, layer: Any = None, target: Any = None, signed: bool = False) -> GradCAM:
    """Where the maps of a layer speak for a class.

    Args:
        model: built, with one input and one output.
        x: images (n, ...).
        layer: path of a layer that gives maps, or the layer; None for the last one that has the map size of
            the last convolution.
        target: a class for all images, or one per image; None for the class with the highest score.
        signed: keep what speaks against the class, below zero, instead of cutting it off.
    Raises: ArgumentError for a layer without positions, UnknownNameError, ShapeError.
    """
    images = images_for(model, x)
    network = open_network(model, shape_for(model, images))
    path = last_map_layer(network) if layer is None else path_of(model, layer)
    buffer = network.buffer(path)
    if len(buffer.shape) < 3:
        raise ArgumentError(f"Grad-CAM needs a layer with positions; {path!r} gives {sizes_of(buffer)}.")
    gradient = ScoreGradient(model, by=(path,), input_shape=shape_for(model, images))
    scores = np.concatenate([gradient.values(part) for part in _parts(images)])
    targets = resolve_targets(target, scores, gradient.unit_shape, len(images))
    towards = directions(targets, gradient.unit_shape, len(gradient.unit_shape) - 1)
    channel = channel_axis(model, path, len(buffer.shape))
    found = [_weigh(gradient, *pair, channel) for pair in zip(_parts(images), _parts(towards))]
    weights = np.concatenate([weights for weights, _ in found])
    maps = np.concatenate([maps for _, maps in found])
    maps = maps if signed else np.maximum(maps, 0)
    size = tuple(np.delete(images.shape, channel_axis(model, None, images.ndim))[1:].tolist())
    heatmaps = resize(maps[..., None], size=size, method="bilinear", antialias=False)[..., 0]
    return GradCAM(path, maps, heatmaps, weights, targets, (scores * towards).sum(axis=1))


def _parts(array: np.ndarray) -> list[np.ndarray]:
    return [array[i : i + BATCH_SIZE] for i in range(0, len(array), BATCH_SIZE)]


def _weigh(
    gradient: ScoreGradient, images: np.ndarray, towards: np.ndarray, channel: int
) -> tuple[np.ndarray, np.ndarray]:
    """(alpha (n, channels), weighed sum of the maps (n, *positions)) of one batch."""
    _, (derivative,), (maps,) = gradient.with_sources(images, towards)
    derivative, maps = np.moveaxis(derivative, channel, -1), np.moveaxis(maps, channel, -1)
    alpha = derivative.mean(axis=tuple(range(1, maps.ndim - 1)))
    return alpha, np.einsum("n...k,nk->n...", maps, alpha)


def last_map_layer(network: Network) -> str:
    """The last layer whose map has the size of the last convolution's.

    Raises: ArgumentError for a network without convolutions.
    """
    scopes = [op.layer for op in network.graph.operations if op.operator in ("conv", "conv_transpose")]
    paths = [path for path in map_layers(network) if path in scopes]
    if not paths:
        raise ArgumentError(f"Model {network.model.name!r} has no convolution; say which layer is meant.")

    def positions(path: str) -> tuple[int, ...]:
        sizes = list(sizes_of(network.layers[path]))
        del sizes[channel_axis(network.model, path, len(sizes) + 1) - 1]
        return tuple(sizes)

    return [p for p in map_layers(network) if positions(p) == positions(paths[-1])][-1]
