"""The largest terms of a ledger, with what was read there: of the layer's input, and of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.pairs import Index, channels_of, operator_index, window_at

if TYPE_CHECKING:
    from kernelearn.explain.gradient.ledgers import Ledger


@dataclass(frozen=True, eq=False)
class Contribution:
    """One term with where it is from.

    Attributes:
        image, row, label: number of the image in the data, its row in the batch, its class or None.
        position: position of the window.
        pixel: where this weight read (of the input; of the output for a transposed convolution).
        input, delta, term: the two factors and their product.
        share: of the sum of all absolute terms, between -1 and 1.
        window: what the whole kernel read of the layer's input there, see `pairs.window_at`.
        crop: the part of the image that the position sees, or None if no images were given.
        crop_window: slices of that part, per spatial axis of the image, or None.
    """

    image: int
    row: int
    label: int | None
    position: Index
    pixel: Index
    input: float
    delta: float
    term: float
    share: float
    window: np.ndarray = field(repr=False)
    crop: np.ndarray | None = field(default=None, repr=False)
    crop_window: tuple[slice, ...] | None = None


def top_terms(
    book: Ledger, k: int, images: Any = None, model: Any = None, sign: int | None = None
) -> list[Contribution]:
    """See `Ledger.top`."""
    order = np.argsort(-np.abs(book.terms), kind="stable")
    if sign is not None:
        order = order[np.sign(book.terms[order]) == sign]
    if images is not None and model is None and book.run is not None:
        model = book.run.model()
    look = None if images is None else _crops(images, model, book.layer)
    size = float(np.abs(book.terms).sum()) or 1.0
    return [_contribution(book, int(t), size, look) for t in order[:k]]


def _contribution(book: Ledger, t: int, size: float, look: Callable[..., Any] | None) -> Contribution:
    position = tuple(int(p) for p in book.positions[t])
    pixel = tuple(int(p) for p in book.pixels[t])
    crop, crop_window = None, None
    if look is not None:
        # The unit of the layer that the error belongs to: a transposed convolution's window lies there.
        crop, crop_window = look(int(book.images[t]), pixel if book.kind == "conv_transpose" else position)
    return Contribution(
        image=int(book.images[t]),
        row=int(book.rows[t]),
        label=None if book.labels is None else int(book.labels[t]),
        position=position,
        pixel=pixel,
        input=float(book.inputs[t]),
        delta=float(book.deltas[t]),
        term=float(book.terms[t]),
        share=float(book.terms[t]) / size,
        window=_window(book, t, position),
        crop=crop,
        crop_window=crop_window,
    )


def _window(book: Ledger, t: int, position: Index) -> np.ndarray:
    """What the whole kernel read there."""
    if book.kind == "bias" or book.factors is None:
        return np.ones(1)
    part, kernel_shape = book.factors.parts[int(book.uses[t])], book.factors.kernel_shape
    index = operator_index(book.index, book.factors.gradient.shape, kernel_shape)
    channel = 0 if part.kind == "dense" else channels_of(part, index, kernel_shape)[0]
    return window_at(part, int(book.rows[t]), position, kernel_shape, channel)


def _crops(images: Any, model: Any, layer: str) -> Callable[[int, Index], tuple[Any, ...]]:
    """A function (image, position) -> (crop, slices): what a unit of the layer sees of the image."""
    if model is None:
        raise ArgumentError("Crops of images need model=, for the receptive field of the layer.")
    from kernelearn.explain.sight.fields import seen_windows

    seen = seen_windows(model, layer)

    def look(image: int, position: Index) -> tuple[np.ndarray, tuple[slice, ...]]:
        whole = np.asarray(images(image) if callable(images) else images[image])
        window = seen(position or None, whole.shape)
        return whole[window], window

    return look
