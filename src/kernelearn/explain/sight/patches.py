"""The parts of images that make a kernel respond most, over a whole data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, NonFiniteError
from kernelearn.explain.sight.fields import UnitWindows
from kernelearn.explain.sight.network import (
    BATCH_SIZE,
    Network,
    Probe,
    batches_of,
    channel_axis,
    open_network,
    path_of,
    shape_for,
    sizes_of,
)
from kernelearn.explain.table import Table


@dataclass(frozen=True, eq=False)
class Patch:
    """One part of one image.

    Attributes:
        filter: number of the channel that responds.
        value: its response.
        image: number of the image in the data, or its id.
        label: its target, None without.
        position: of the response in the layer's map; () for layers without positions.
        start, stop: first pixel of the receptive field and first one after it, per spatial axis; what lies
            outside of the image is padding.
        crop: (*window, channels) the image there, zeros outside of it.
    """

    filter: int
    value: float
    image: int
    label: Any
    position: tuple[int, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    crop: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class TopPatches:
    """The strongest responses of the filters of a layer.

    Attributes:
        layer: its path.
        patches: filter -> its patches, strongest first.
        images_seen: number of images that were looked at.
    """

    layer: str
    patches: dict[int, list[Patch]]
    images_seen: int

    def __getitem__(self, filter: int) -> list[Patch]:
        return self.patches[filter]

    def crops(self, filter: int) -> np.ndarray:
        """(k, *window, channels) crops of one filter; smaller ones are filled with zeros at the end."""
        found = [patch.crop for patch in self.patches[filter]]
        sizes = np.max([crop.shape for crop in found], axis=0)
        return np.stack([np.pad(c, [(0, int(n - s)) for n, s in zip(sizes, c.shape)]) for c in found])

    def table(self) -> Table:
        """One row per patch."""
        columns = ("filter", "rank", "value", "image", "label", "position", "start", "stop")
        rows = tuple(
            (p.filter, rank, p.value, p.image, _label(p.label), p.position, p.start, p.stop)
            for patches in self.patches.values()
            for rank, p in enumerate(patches)
        )
        return Table(columns, rows, title=f"Strongest responses of {self.layer}")

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON values, one dict a patch."""
        return {"layer": self.layer, "images": self.images_seen, "patches": list(self.table())}


@dataclass
class _Best:
    """The k strongest responses of one filter so far, strongest first; the first found of equals stays."""

    values: np.ndarray
    images: np.ndarray
    places: np.ndarray

    def merge(self, values: np.ndarray, images: np.ndarray, places: np.ndarray, k: int) -> None:
        values = np.concatenate([self.values, values])
        order = np.argsort(-values, kind="stable")[:k]
        self.values = values[order]
        self.images = np.concatenate([self.images, images])[order]
        self.places = np.concatenate([self.places, places])[order]


def top_patches(
    model: Any,
    layer: Any,
    data: Any,
    filters: Sequence[int] | None = None,
    k: int = 9,
    per_image: bool = True,
    ids: Sequence[int] | None = None,
    before_activation: bool = False,
    batch_size: int = BATCH_SIZE,
) -> TopPatches:
    """The patches of a data set to which the filters of a layer respond most.

    Args:
        model: built, with one input.
        layer: path of the layer, or the layer.
        data: images (n, ...), a Dataset or a stream. At most len(filters) * k images are kept in memory.
        filters: channels of the layer; None for all.
        k: patches per filter; fewer if there are not so many.
        per_image: take only the strongest response of every image, for k different images.
        ids: (n,) numbers to call the images by, such as their rows in a larger data set.
        before_activation: rank what comes before the activation, so that a silent filter shows what would
            come nearest to waking it.
    Raises: NonFiniteError if the layer gives NaN; ArgumentError, ShapeError, UnknownNameError.
    """
    if k < 1:
        raise ArgumentError(f"k must be at least 1, got {k!r}.")
    network = open_network(model, shape_for(model, data))
    buffer = network.buffer(layer)
    path = path_of(model, layer)
    channel = channel_axis(model, layer, len(buffer.shape))
    buffer = network.before_activation(buffer) if before_activation else buffer
    sizes = sizes_of(buffer)
    chosen = list(range(sizes[channel - 1])) if filters is None else [int(f) for f in filters]
    if not all(0 <= f < sizes[channel - 1] for f in chosen):
        raise ArgumentError(f"Layer {path!r} has filters 0..{sizes[channel - 1] - 1}; got {chosen}.")
    best, kept, count = _search(network, buffer, channel, data, chosen, k, per_image, batch_size)
    if ids is not None and len(ids) != count:
        raise ArgumentError(f"ids must have one number per image; got {len(ids)} for {count} images.")
    cut = _Cutter(
        model,
        layer,
        shape_for(model, data),
        tuple(s for i, s in enumerate(sizes) if i != channel - 1),
        channel - 1,
    )
    made = {f: cut.patches(f, best[f], kept, ids) for f in chosen}
    return TopPatches(path, made, count)


class _Cutter:
    """Makes patches of responses: finds their windows and cuts them out."""

    def __init__(self, model: Any, layer: Any, shape: Any, positions: tuple[int, ...], channel: int) -> None:
        self._windows = UnitWindows(model, layer, shape)
        self._positions, self._channel = positions, channel
        self._pixel_axis = channel_axis(model, None, len(model.inputs[0].shape)) - 1

    def patches(
        self,
        filter: int,
        best: _Best,
        images: Mapping[int, tuple[np.ndarray, Any]],
        ids: Sequence[int] | None,
    ) -> list[Patch]:
        """The patches of one filter, strongest first."""
        return [
            self._patch(filter, float(value), int(place), int(image), images[int(image)], ids)
            for value, image, place in zip(best.values, best.images, best.places)
        ]

    def _patch(
        self, filter: int, value: float, place: int, number: int, image: tuple[Any, ...], ids: Any
    ) -> Patch:
        position = tuple(int(i) for i in np.unravel_index(place, self._positions)) if self._positions else ()
        start, stop = self._windows((*position[: self._channel], filter, *position[self._channel :]))
        pixels, label = image
        name = number if ids is None else int(ids[number])
        crop = _crop(pixels, start, stop, self._pixel_axis)
        return Patch(filter, value, name, label, position, start, stop, crop)


def _search(
    network: Network,
    buffer: Any,
    channel: int,
    data: Any,
    chosen: list[int],
    k: int,
    per_image: bool,
    size: int,
) -> tuple[dict[int, _Best], dict[int, tuple[np.ndarray, Any]], int]:
    """The best responses, the images (with labels) that they lie in, and how many images there were."""
    probe = Probe(network, {"map": buffer})
    nothing = np.zeros(0, np.int64)
    best = {f: _Best(np.zeros(0), nothing, nothing) for f in chosen}
    kept: dict[int, tuple[np.ndarray, Any]] = {}
    count = 0
    for images, labels in batches_of(network.model, data, size):
        maps = np.moveaxis(probe(images)["map"], channel, -1)
        maps = maps.reshape(len(images), -1, maps.shape[-1])
        if np.isnan(maps).any():
            raise NonFiniteError("The layer gives NaN: its weights are not finite, or its input is not.")
        numbers = np.arange(count, count + len(images))
        for f in chosen:
            best[f].merge(*_strongest(maps[..., f], numbers, k, per_image), k)
        wanted = {int(i) for one in best.values() for i in one.images}
        kept = {i: pair for i, pair in kept.items() if i in wanted}
        for i in wanted.difference(kept):
            label = labels[i - count] if isinstance(labels, np.ndarray) else None
            kept[i] = (images[i - count].copy(), label)
        count += len(images)
    return best, kept, count


def _strongest(
    responses: np.ndarray, numbers: np.ndarray, k: int, per_image: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, images, places) of the strongest responses (n, positions) of one batch, in their order."""
    if per_image:
        places = responses.argmax(axis=1)
        return responses[np.arange(len(responses)), places].astype(float), numbers, places
    flat = responses.ravel()
    limit = np.partition(flat, -k)[-k] if flat.size > k else -np.inf
    found = np.flatnonzero(flat >= limit)
    found = found[np.argsort(-flat[found], kind="stable")[:k]]
    return flat[found].astype(float), numbers[found // responses.shape[1]], found % responses.shape[1]


def _crop(image: np.ndarray, start: tuple[int, ...], stop: tuple[int, ...], channel: int) -> np.ndarray:
    """The window of one image, channels last, zeros outside of it; a row of features is one axis."""
    pixels = np.moveaxis(image, channel, -1) if image.ndim > 1 else image[:, None]
    out = np.zeros((*(b - a for a, b in zip(start, stop)), pixels.shape[-1]), pixels.dtype)
    inside = [(max(a, 0), min(b, n)) for a, b, n in zip(start, stop, pixels.shape)]
    if all(a < b for a, b in inside):
        there = tuple(slice(a - s, b - s) for (a, b), s in zip(inside, start))
        out[there] = pixels[tuple(slice(a, b) for a, b in inside)]
    return out


def _label(label: Any) -> Any:
    """A label as it stands in a table."""
    if label is None:
        return None
    return label.item() if np.ndim(label) == 0 else tuple(np.asarray(label).tolist())
