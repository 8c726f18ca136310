"""Nodes that choose, repeat and surround numbers: slices, entries, borders, blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.constants import slice_of
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.shapes import with_new_axes, without_axes
from kernelearn.conversion.onnx.reading.values import Followed, Images, Known, images_like, plain
from kernelearn.layers import (
    Embedding,
    LearnedArray,
    Permute,
    Reshape,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)


def _cut(
    r: Reader, node: Node, x: Followed, slices: dict[int, slice], index: int = 0, suffix: str = ""
) -> None:
    """Slices along axes of the ONNX value."""
    key: list[Any] = [slice(None)] * x.rank
    for axis, part in slices.items():
        key[x.order[axis]] = part
    if all(part == slice(None) for part in key):
        r.give(node, x, index)
        return
    y = r.operation(node, "get_item", x.tensor, tuple(key), suffix=suffix)
    r.give(node, Followed(y, x.order), index)


def slice_node(r: Reader, node: Node) -> None:
    """Starts, ends and axes are attributes before opset 10, inputs from there on."""
    x = r.unrowed(node, r.followed(node))
    if r.opset < 10:
        a = r.options(node, starts=None, ends=None, axes=None)
        starts, ends = (r.ints(node, a[key], key) for key in ("starts", "ends"))
        axes, steps = a["axes"], None
    else:
        r.options(node)
        starts, ends = r.numbers(node, 1, "starts"), r.numbers(node, 2, "ends")
        axes = r.numbers(node, 3, "axes") if r.has(node, 3) else None
        steps = r.numbers(node, 4, "steps") if r.has(node, 4) else None
    chosen = list(range(len(starts))) if axes is None else [r.axis(node, axis, x.rank) for axis in axes]
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(chosen) == len(steps) or 0 in steps:
        r.refuse(node, f"starts={starts}, ends={ends}, axes={chosen}, steps={steps} do not fit together")
    slices = {}
    for start, end, axis, step in zip(starts, ends, chosen, steps):
        size = x.shape[axis]
        if isinstance(size, Images) or size is None:
            if (start, step) != (0, 1) or end < 1 << 30:
                r.refuse(node, "it takes a part of the images, or of an axis whose size is open")
            continue
        part = slice_of(start, end, step, size)
        if len(range(*part.indices(size))) == 0:
            r.refuse(node, f"a slice from {start} to {end} of {size} entries is empty")
        if len(range(*part.indices(size))) < size or step != 1:
            slices[axis] = part
    _cut(r, node, x, slices)


def split(r: Reader, node: Node) -> None:
    x = r.unrowed(node, r.followed(node))
    a = r.options(node, axis=0, split=None, num_outputs=0)
    axis = r.axis(node, a["axis"], x.rank)
    size = x.shape[axis]
    if isinstance(size, Images) or size is None:
        r.refuse(node, "it splits the images, or an axis whose size is open")
    given = r.numbers(node, 1, "split") if r.opset >= 13 and r.has(node, 1) else a["split"]
    if given is None:
        count = len(node.outputs)
        part = -(-size // count)
        given = [min(part, size - i * part) for i in range(count)]
    sizes = r.ints(node, given, "split", len(node.outputs))
    if sum(sizes) != size or min(sizes) < 1:
        r.refuse(node, f"parts of {sizes} entries do not make up {size}")
    start = 0
    for index, part in enumerate(sizes):
        if node.outputs[index]:
            _cut(r, node, x, {axis: slice(start, start + part)}, index, suffix=str(index))
        start += part


def gather(r: Reader, node: Node) -> None:
    """Known entries along an axis; or rows of a known table, which is an Embedding."""
    axis = r.options(node, axis=0)["axis"]
    data, indices = r.value(node, 0), r.value(node, 1)
    if isinstance(data, Known):
        _embedding(r, node, data, axis)
        return
    if not isinstance(indices, Known) or indices.array.dtype.kind not in "iu":
        r.refuse(node, "its indices depend on the images")
    x = r.unrowed(node, data)
    axis = r.axis(node, axis, x.rank)
    (own,) = r.own_axes(node, x, [axis])
    size = x.shape[axis]
    array = indices.array
    if size is None or np.any(array < -size) or np.any(array >= size):
        r.refuse(node, f"indices leave an axis of {size} entries")
    if array.ndim == 1:
        taken = r.operation(node, "take", x.tensor, (array % size).astype(np.int32), axis=own)
        r.give(node, Followed(taken, x.order))
    elif array.ndim == 0:
        key: list[Any] = [slice(None)] * x.rank
        at = int(array) % size
        key[own] = slice(at, at + 1)
        part = Followed(r.operation(node, "get_item", x.tensor, tuple(key), suffix="entry"), x.order)
        r.give(node, without_axes(r, node, part, [axis]))
    else:
        r.refuse(node, f"indices with {array.ndim} axes are not read")


def _embedding(r: Reader, node: Node, table: Known, axis: int) -> None:
    x = r.followed(node, 1)
    if axis or table.array.ndim != 2 or table.array.dtype.kind != "f" or x.order != plain(x.rank):
        r.refuse(node, f"entries of a constant of shape {table.array.shape} along axis {axis}")
    rows, width = table.array.shape
    y = r.call(node, Embedding, [x.tensor], [table.array], named=table, input_dim=rows, output_dim=width)
    r.give(node, Followed(y, plain(x.rank + 1)))


# --- borders and repeats

_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def pad(r: Reader, node: Node) -> None:
    """Pads are an attribute before opset 11, an input from there on; negative ones cut off."""
    x = r.unrowed(node, r.followed(node))
    if r.opset < 11:
        a = r.options(node, mode="constant", pads=None, value=0.0)
        pads, value = r.ints(node, a["pads"], "pads"), float(a["value"])
    else:
        a = r.options(node, mode="constant")
        pads = r.numbers(node, 1, "pads")
        value = float(r.known(node, 2, "the value").array.item()) if r.has(node, 2) else 0.0
    axes = list(range(x.rank))
    if r.has(node, 3):
        axes = [r.axis(node, axis, x.rank) for axis in r.numbers(node, 3, "axes")]
    if a["mode"] not in _MODES or len(pads) != 2 * len(axes) or max(map(abs, pads), default=0) > 1 << 20:
        r.refuse(node, f"mode={a['mode']!r} with pads={pads} for {x.shape}")
    pairs = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    pairs = {axis: pair for axis, pair in pairs.items() if any(pair)}
    r.own_axes(node, x, list(pairs))
    x = _trimmed(r, node, x, pairs)
    widths = [(0, 0)] * x.rank
    for axis, (lo, hi) in pairs.items():
        widths[x.order[axis]] = (max(lo, 0), max(hi, 0))
    if not any(map(any, widths)):
        r.give(node, x)
        return
    r.give(node, Followed(_bordered(r, node, x, widths, _MODES[a["mode"]], value), x.order))


def _bordered(r: Reader, node: Node, x: Followed, widths: list[Any], mode: str, value: float) -> Any:
    """ZeroPadding where it is zeros around axes of space."""
    space = widths[1:-1]
    if mode == "constant" and value == 0 and 3 <= x.rank <= 5 and widths[-1] == (0, 0):
        cls = (ZeroPadding1D, ZeroPadding2D, ZeroPadding3D)[x.rank - 3]
        return r.call(node, cls, [x.tensor], padding=space[0] if len(space) == 1 else tuple(space))
    extra: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}
    return r.operation(node, "pad", x.tensor, tuple(widths), mode=mode, **extra)


def _trimmed(r: Reader, node: Node, x: Followed, pairs: dict[int, tuple[int, int]]) -> Followed:
    """x without what negative pads cut off."""
    key: list[Any] = [slice(None)] * x.rank
    for axis, (lo, hi) in pairs.items():
        size = x.shape[axis]
        if min(lo, hi) < 0:
            if not isinstance(size, int) or size + min(lo, 0) + min(hi, 0) < 1:
                r.refuse(node, f"pads ({lo}, {hi}) leave nothing of {x.shape}")
            key[x.order[axis]] = slice(max(-lo, 0), size - max(-hi, 0))
    if all(part == slice(None) for part in key):
        return x
    return Followed(r.operation(node, "get_item", x.tensor, tuple(key), suffix="cut"), x.order)


def expand(r: Reader, node: Node) -> None:
    r.options(node)
    target = list(np.ravel(r.known(node, 1, "the shape").array)[:64])
    if len(target) > 8:
        r.refuse(node, f"a shape of {len(target)} sizes")
    given = r.value(node, 0)
    if isinstance(given, Known):
        _spread(r, node, given, target)
        return
    x = r.followed(node)
    if len(target) > x.rank:
        x = with_new_axes(r, node, x, list(range(len(target) - x.rank)))
    target = [1] * (x.rank - len(target)) + target
    repeats = [1] * x.rank
    for axis, (have, want) in enumerate(zip(x.shape, target)):
        if x.order[axis] == 0:
            if not (isinstance(want, Images) or want in (1, r.batch)):
                r.refuse(node, "it repeats images")
        elif isinstance(want, Images) or have is None or (have not in (1, want) and want != 1):
            r.refuse(node, f"{x.shape} to {target}")
        elif have == 1 and want != 1:
            repeats[x.order[axis]] = int(want)
    _repeated(r, node, x, repeats)


def _spread(r: Reader, node: Node, given: Known, target: list[Any]) -> None:
    """The same known numbers for every image: a layer that has them."""
    rest = [int(size) for size in target[1:] if isinstance(size, int | np.integer)]
    if target[0] != Images() or len(rest) < len(target) - 1 or given.array.ndim > len(target):
        r.refuse(node, f"{given.array.shape} to {target}")
    array = given.array[0] if given.array.ndim == len(target) else given.array
    if array.size == 0 or math.prod(rest) > 1 << 24:
        r.refuse(node, f"{given.array.shape} to {target}")
    try:
        values = np.broadcast_to(array, rest)
    except ValueError:
        r.refuse(node, f"{given.array.shape} to {target}")
    named = given if given.is_weight else None
    made = r.call(node, LearnedArray, [r.any_tensor()], [values], named, shape=values.shape)
    r.give(node, Followed(made, plain(1 + values.ndim)))


def tile(r: Reader, node: Node) -> None:
    r.options(node)
    x = r.followed(node)
    repeats, own = r.numbers(node, 1, "repeats"), [1] * x.rank
    if len(repeats) != x.rank or min(repeats) < 1:
        r.refuse(node, f"repeats={repeats} for {x.shape}")
    for axis, count in enumerate(repeats):
        own[x.order[axis]] = count
    _repeated(r, node, x, own)


def _repeated(r: Reader, node: Node, x: Followed, repeats: list[int]) -> None:
    if repeats[0] != 1:
        r.refuse(node, "it repeats images")
    if max(repeats) == 1:
        r.give(node, x)
        return
    if math.prod(repeats) > 1 << 24:
        r.refuse(node, f"{math.prod(repeats):,} repeats are too many")
    x = r.unrowed(node, x)
    r.give(node, Followed(r.operation(node, "tile", x.tensor, tuple(repeats)), x.order))


def depth_to_space(r: Reader, node: Node) -> None:
    """(n, c b b, h, w) to (n, c, h b, w b); DCR has the block in front of the channels, CRD behind."""
    a = r.options(node, blocksize=0, mode="DCR")
    b, mode = int(a["blocksize"]), a["mode"]
    x = r.followed(node)
    if x.rank != 4 or b < 1 or mode not in ("DCR", "CRD") or r.sizes(node, x)[-1] is None:
        r.refuse(node, f"blocksize={b}, mode={mode!r} for {x.shape}")
    tensor = r.ordered(node, x, images_like(4))
    _, h, w, c = tensor.shape
    if c % (b * b):
        r.refuse(node, f"blocksize={b} does not divide the channels of {x.shape}")
    parts = (h, w, b, b, c // (b * b)) if mode == "DCR" else (h, w, c // (b * b), b, b)
    moves = [1, 3, 2, 4, 5] if mode == "DCR" else [1, 4, 2, 5, 3]
    y = _reordered(r, node, tensor, parts, moves, (h * b, w * b, c // (b * b)))
    r.give(node, Followed(y, images_like(4)))


def space_to_depth(r: Reader, node: Node) -> None:
    b = int(r.options(node, blocksize=0)["blocksize"])
    x = r.followed(node)
    if x.rank != 4 or b < 1:
        r.refuse(node, f"blocksize={b} for {x.shape}")
    tensor = r.ordered(node, x, images_like(4))
    h, w, c = r.sizes(node, Followed(tensor, images_like(4)))
    if h % b or w % b:
        r.refuse(node, f"blocksize={b} does not divide {x.shape}")
    y = _reordered(r, node, tensor, (h // b, b, w // b, b, c), [1, 3, 2, 4, 5], (h // b, w // b, c * b * b))
    r.give(node, Followed(y, images_like(4)))


def _reordered(r: Reader, node: Node, x: Any, parts: Any, moves: list[int], sizes: Any) -> Any:
    y = r.call(node, Reshape, [x], suffix="parts", target_shape=parts)
    y = r.call(node, Permute, [y], suffix="moved", dims=moves)
    return r.call(node, Reshape, [y], target_shape=sizes)


RULES = {
    "Slice": slice_node,
    "Split": split,
    "Gather": gather,
    "Pad": pad,
    "Expand": expand,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
