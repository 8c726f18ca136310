"""Pools over windows and over whole maps; what ceil_mode adds behind never counts in a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import LARGEST, Reader
from kernelearn.conversion.onnx.reading.values import Followed
from kernelearn.conversion.onnx.reading.windows import WINDOW, Pair, Window, image, padded
from kernelearn.engine.geometry import (
    effective_size,
    output_size,
)


def _ceiled(window: Window, pairs: Sequence[Pair], is_ceil: bool) -> tuple[Pair, ...]:
    """Pads behind, wide enough for the last window of ceil_mode; one that would begin in them is left out."""
    if not is_ceil:
        return tuple(pairs)
    found = []
    for n, (k, s, d), (lo, hi) in zip(window.known(), window.axes, pairs):
        span = effective_size(k, d)
        count = -((n + lo + hi - span) // -s) + 1
        if (count - 1) * s >= n + lo:
            count -= 1
        found.append((lo, max(hi, (count - 1) * s + span - n - lo)))
    return tuple(found)


def max_pool(r: Reader, node: Node) -> None:
    a = r.options(node, **WINDOW, ceil_mode=0, storage_order=0)
    if r.is_used(node, 1):
        r.refuse(node, "its second output, the indices, is used")
    x, tensor = image(r, node)
    window = Window(r, node, a, x, r.ints(node, a["kernel_shape"], "kernel_shape", x.rank - 2))
    pairs = _ceiled(window, window.pairs(), bool(a["ceil_mode"]))
    window.check_outputs(pairs)
    if max(window.dilations) > 1:
        y = _dilated_max(r, node, window, tensor, pairs)
    else:
        y = _pool(r, node, window, tensor, pairs, "max")
    r.give(node, Followed(y, x.order))


def _pool(r: Reader, node: Node, window: Window, x: Any, pairs: Sequence[Pair], kind: str) -> Any:
    word = window.word(pairs)
    if word is not None:
        families = {
            "max": (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
            "average": (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
        }
        cls = families[kind][window.rank - 1]
        return r.call(node, cls, [x], pool_size=window.size, strides=window.strides, padding=word)
    fits = all(max(pair) < size for pair, size in zip(pairs, window.size))
    if not fits:
        r.refuse(node, f"pads {tuple(pairs)} as wide as the window {window.size} are not read")
    padding = tuple(map(tuple, pairs))
    return r.operation(
        node, f"{kind}_pool", x, pool_size=window.size, strides=window.strides, padding=padding
    )


def _joined_taps(
    r: Reader, node: Node, window: Window, x: Any, pairs: Sequence[Pair], join: str, border: float
) -> Any:
    """The taps of a dilated window, each a slice of the padded input, joined by a function of two."""
    if any(map(any, pairs)):
        width = ((0, 0), *map(tuple, pairs), (0, 0))
        x = r.operation(node, "pad", x, width, constant_values=border, suffix="pad")
    if math.prod(window.size) > 256:
        r.refuse(node, f"a window of {window.size} with dilations is not read")
    counts = _counts(window, pairs)
    y = None
    for tap in np.ndindex(*window.size):
        key = (slice(None), *_places(window, tap, counts), slice(None))
        part = r.operation(node, "get_item", x, key, suffix="tap")
        y = part if y is None else r.operation(node, join, y, part)
    return y


def _counts(window: Window, pairs: Sequence[Pair]) -> list[int]:
    """How many windows lie on each axis."""
    axes = zip(window.known(), window.axes, pairs)
    return [output_size(n, k, s, d, pair) for n, (k, s, d), pair in axes]


def _places(window: Window, tap: Sequence[int], counts: Sequence[int]) -> tuple[slice, ...]:
    """The pixels of a padded input under one tap of all windows."""
    axes = zip(tap, counts, window.axes)
    return tuple(slice(at * d, at * d + (count - 1) * s + 1, s) for at, count, (_, s, d) in axes)


def _dilated_max(r: Reader, node: Node, window: Window, x: Any, pairs: Sequence[Pair]) -> Any:
    return _joined_taps(r, node, window, x, pairs, "maximum", -math.inf)


def _dilated_mean(r: Reader, node: Node, window: Window, x: Any, pairs: Sequence[Pair]) -> Any:
    """The sum of the taps over the number of those that lie on the input."""
    total = _joined_taps(r, node, window, x, pairs, "add", 0.0)
    if math.prod(n + sum(pair) for n, pair in zip(window.known(), pairs)) > LARGEST:
        r.refuse(node, f"pads {tuple(pairs)} are too wide")
    is_real = np.pad(np.ones(window.known()), pairs)
    counts = _counts(window, pairs)
    number = sum(is_real[_places(window, tap, counts)] for tap in np.ndindex(*window.size))
    return r.operation(node, "divide", total, np.asarray(number)[..., None].astype(r.dtype), suffix="mean")


def average_pool(r: Reader, node: Node) -> None:
    """Pads count if count_include_pad says so; what ceil_mode adds behind never does."""
    a = r.options(node, **WINDOW, ceil_mode=0, count_include_pad=0)
    x, tensor = image(r, node)
    window = Window(r, node, a, x, r.ints(node, a["kernel_shape"], "kernel_shape", x.rank - 2))
    pairs = window.pairs()
    ceiled = _ceiled(window, pairs, bool(a["ceil_mode"]))
    window.check_outputs(ceiled)
    if a["count_include_pad"] and any(map(any, pairs)):
        tensor = padded(r, node, tensor, pairs)
        window.sizes = tuple(None if n is None else n + sum(p) for n, p in zip(window.sizes, pairs))
        ceiled = tuple((0, wide[1] - pair[1]) for wide, pair in zip(ceiled, pairs))
    kind = _dilated_mean if max(window.dilations) > 1 else _mean
    r.give(node, Followed(kind(r, node, window, tensor, ceiled), x.order))


def _mean(r: Reader, node: Node, window: Window, x: Any, pairs: Sequence[Pair]) -> Any:
    return _pool(r, node, window, x, pairs, "average")


def global_pool(kind: str) -> Any:
    """The whole map, with axes of size 1 in its place."""

    def rule(r: Reader, node: Node) -> None:
        r.options(node)
        x, tensor = image(r, node)
        cls = getattr(layers, f"Global{kind}Pooling{x.rank - 2}D")
        r.give(node, Followed(r.call(node, cls, [tensor], keepdims=True), x.order))

    return rule


RULES = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("Average"),
    "GlobalMaxPool": global_pool("Max"),
}
