"""What the channels of a layer do on data: range, activity, and how alike two of them are; batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.program import Buffer
from kernelearn.errors import ArgumentError
from kernelearn.explain.sight.network import (
    BATCH_SIZE,
    Network,
    Probe,
    batches_of,
    channel_axis,
    open_network,
    shape_for,
)

# Operators between a convolution and its activation that treat every channel by itself.
_CHANNEL_BY_CHANNEL = ("standardize", "affine", "multiply", "add", "bias_add", "scale", "prelu", "activation")


@dataclass(frozen=True, eq=False)
class ChannelActivity:
    """Statistics over all images and positions.

    Attributes:
        images: number of images.
        smallest, largest, mean: (channels,) of the outputs.
        active: (channels,) share of the outputs above 0.
        active_images: (channels,) share of the images with an output above 0 anywhere.
        correlation: (channels, channels) Pearson correlation of the maps; 0 with a channel that never varies.
    """

    images: int
    smallest: np.ndarray
    largest: np.ndarray
    mean: np.ndarray
    active: np.ndarray
    active_images: np.ndarray
    correlation: np.ndarray = field(repr=False)


def channel_activity(
    model: Any, layer: Any, x: Any, follow: bool = True, batch_size: int = BATCH_SIZE
) -> ChannelActivity:
    """What the channels of a layer do on images.

    Args:
        model: built, with one input.
        layer: path of the layer, or the layer.
        x: images (n, ...), a Dataset or a stream.
        follow: for a layer without an activation of its own, look behind the normalisation and activation
            that follow it alone.
    """
    network = open_network(model, shape_for(model, x))
    buffer = network.buffer(layer)
    channel = channel_axis(model, layer, len(buffer.shape))
    if follow:
        buffer = _behind_activation(network, buffer)
    probe = Probe(network, {"map": buffer})
    sums = _Sums()
    for images, _ in batches_of(model, x, batch_size):
        maps = np.moveaxis(probe(images)["map"], channel, -1).astype(np.float64)
        sums.add(maps.reshape(len(maps), -1, maps.shape[-1]))
    return sums.result()


def _behind_activation(network: Network, buffer: Buffer) -> Buffer:
    """The activated output of a layer, if only channel-by-channel operations stand between."""
    made = network.producer(buffer)
    if made is not None and made.operator in ("activation", "prelu"):
        return buffer
    current = buffer
    while True:
        readers = [op for op in network.graph.operations if current.name in op.inputs]
        if len(readers) != 1 or readers[0].operator not in _CHANNEL_BY_CHANNEL:
            return buffer
        op = readers[0]
        others = [network.graph.buffers[n] for n in op.inputs if n != current.name]
        if any(other.role == "value" for other in others):
            return buffer
        current = network.graph.buffers[op.outputs[0]]
        if op.operator in ("activation", "prelu"):
            return current


class _Sums:
    """Running sums of (images, positions, channels) maps.

    Products are of deviations from the first batch's mean, so that large means cancel no digits.
    """

    def __init__(self) -> None:
        self._images = self._count = 0

    def add(self, maps: np.ndarray) -> None:
        """Take in one batch."""
        flat = maps.reshape(-1, maps.shape[-1])
        if not self._images:
            self._shift = flat.mean(axis=0)
            self._smallest = np.full(flat.shape[1], np.inf)
            self._largest = np.full(flat.shape[1], -np.inf)
            self._total = np.zeros(flat.shape[1])
            self._active, self._awake = np.zeros((2, flat.shape[1]))
            self._products = np.zeros((flat.shape[1], flat.shape[1]))
        self._images += len(maps)
        self._count += len(flat)
        self._smallest = np.minimum(self._smallest, flat.min(axis=0))
        self._largest = np.maximum(self._largest, flat.max(axis=0))
        self._active += (flat > 0).sum(axis=0)
        self._awake += (maps > 0).any(axis=1).sum(axis=0)
        deviations = flat - self._shift
        self._total += deviations.sum(axis=0)
        self._products += deviations.T @ deviations

    def result(self) -> ChannelActivity:
        """The statistics.

        Raises: ArgumentError if there was no image.
        """
        if not self._images:
            raise ArgumentError("There is no image to look at.")
        mean = self._total / self._count
        covariance = self._products / self._count - np.outer(mean, mean)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        varies = self._largest > self._smallest
        scale = np.outer(deviation, deviation)
        known = (scale > 0) & np.outer(varies, varies)
        correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=known)
        return ChannelActivity(
            self._images,
            self._smallest,
            self._largest,
            mean + self._shift,
            self._active / self._count,
            self._awake / self._images,
            np.clip(correlation, -1, 1),
        )
