"""Feature maps: what the kernels of chosen layers give for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.runs import opened
from kernelearn.explain.sight.network import (
    BATCH_SIZE,
    Network,
    Probe,
    batches_of,
    open_network,
    path_of,
    shape_for,
)
from kernelearn.explain.table import Table


class FeatureMaps(dict[str, np.ndarray]):
    """Path of a layer -> its output (n, ...); a dict that a notebook shows as a table."""

    def table(self) -> Table:
        """One row per layer."""
        rows = tuple((path, found.shape[1:], *_spread(found)) for path, found in self.items())
        columns = ("layer", "shape", "smallest", "mean", "largest", "share above 0")
        return Table(columns, rows, "Feature maps")

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _spread(maps: np.ndarray) -> tuple[float, ...]:
    return float(maps.min()), float(maps.mean()), float(maps.max()), float((maps > 0).mean())


def feature_maps(
    source: Any,
    x: Any = None,
    layers: Sequence[Any] | Any = None,
    step: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> FeatureMaps:
    """What layers give for images, in inference mode.

    Args:
        source: a built model with one input, a recorded run, or the path of its folder.
        x: images (n, ...), or a Dataset; for a run None takes the probe images that were recorded with it.
        layers: one layer or several, by path or as layers; None for all whose outputs are maps.
        step: of a run: the weights of this step; None for the last one.
        batch_size: images at a time. All maps are held in memory.
    Returns: path of the layer -> its output (n, ...), after its activation.
    Raises: UnknownNameError, ShapeError; ArgumentError for a model without images.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D
    >>> model = Sequential([Conv2D(4, 3, input_shape=(8, 8, 1), name="conv")])
    >>> feature_maps(model, np.zeros((2, 8, 8, 1)))["conv"].shape
    (2, 6, 6, 4)
    """
    source = opened(source)
    if hasattr(source, "map_steps"):
        if x is None:
            return _recorded(source, layers, step)
        source = source.model() if step is None else source.model(step=step)
    if x is None:
        raise ArgumentError("Feature maps of a model need images: feature_maps(model, x).")
    network = open_network(source, shape_for(source, x))
    chosen = _chosen(network, layers)
    probe = Probe(network, {path: network.buffer(path) for path in chosen})
    parts = [probe(images) for images, _ in batches_of(source, x, batch_size)]
    return FeatureMaps({path: np.concatenate([part[path] for part in parts]) for path in chosen})


def map_layers(network: Network) -> list[str]:
    """Paths of the layers whose outputs have positions: maps, not rows of features."""
    return [
        path
        for path, buffer in network.layers.items()
        if len(buffer.shape) > 2 and buffer not in network.inputs
    ]


def _chosen(network: Network, layers: Any) -> list[str]:
    """The paths asked for, checked."""
    if layers is None:
        return map_layers(network)
    several = layers if isinstance(layers, list | tuple) else [layers]
    paths = [path_of(network.model, layer) for layer in several]
    for path in paths:
        network.buffer(path)
    return paths


def _names(layers: Any) -> list[str]:
    """Paths of one layer or several."""
    several = layers if isinstance(layers, list | tuple) else [layers]
    return [str(getattr(layer, "name", layer)) for layer in several]


def _recorded(run: Any, layers: Any, step: int | None) -> FeatureMaps:
    """Maps that were recorded with a run."""
    steps = list(run.map_steps)
    if not steps:
        raise ArgumentError("This run holds no feature maps: record it with maps_every and probe_images.")
    chosen = run.map_layers if layers is None else _names(layers)
    return FeatureMaps({layer: run.maps(layer, steps[-1] if step is None else step) for layer in chosen})
