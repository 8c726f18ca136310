"""Shapes: axes merged, split and permuted (mostly book-keeping), parts taken and joined, borders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.torch.placed import IMAGES, Placed
from kernelearn.conversion.torch.reading.convolution import ZEROS
from kernelearn.conversion.torch.reading.network import Network, shown
from kernelearn.conversion.torch.reading.pointwise import learned_array
from kernelearn.conversion.torch.reading.table import Call, reads
from kernelearn.conversion.torch.shapes import reshaped_by


@reads("view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int")
@reads(
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
    "squeeze_.dim",
    "unsqueeze_.default",
)
@reads("view_as.default", "reshape_as.default", "ravel.default")
def reshape(net: Network, call: Call) -> Placed:
    return with_shape(net, call, call.placed("self" if "self" in call.arguments else "input"), call.shapes[0])


def with_shape(net: Network, call: Call, x: Placed, shape: Sequence[int]) -> Placed:
    """A value in another shape of the module; numbers stay where they are if they can."""

    def reshape(tensor: Any, sizes: tuple[int, ...]) -> Any:
        if len(sizes) == 1:
            y = net.layer(call, layers.Flatten, tensor)
            net.flattened[y.node.layer.name] = list(x.order)
            return y
        return net.layer(call, layers.Reshape, tensor, target_shape=list(sizes))

    return reshaped_by(
        x,
        tuple(shape),
        lambda value: net.in_order(call, value),
        lambda value, order: net.ordered(call, value, order),
        reshape,
    ) or call.refuse(
        f"brings {shown(x.shape)} to {shown(shape)}, which mixes images with each other",
        _TAKEN_APART
        if "Attention" in call.kind
        else "Keep the first axis for the images, as x.shape[0] or -1.",
    )


_TAKEN_APART = "torch.export has taken the attention apart; convert the module itself, with from_torch."


@reads("permute.default", "transpose.int", "t.default", "movedim.int", "movedim.intlist", "swapaxes.default")
@reads("numpy_T.default", "mT.default")
def permute(net: Network, call: Call) -> Placed:
    """Book-keeping: axis i of the result is axis dims[i] of the input."""
    x = net.in_order(call, call.placed("self"))
    dims = _dims(call, x.rank)
    order = tuple(dims.index(axis) for axis in x.order)
    return Placed(x.tensor, call.shapes[0], order)


def _dims(call: Call, rank: int) -> list[int]:
    if "dims" in call.arguments:
        return [int(d) % rank for d in call["dims"]]
    dims = list(range(rank))
    if "source" in call.arguments:
        sources = np.atleast_1d(call["source"]).tolist()
        targets = np.atleast_1d(call["destination"]).tolist()
        return _moved(rank, sources, targets)
    first = call.get("dim0", call.get("axis0", -2)) % rank
    second = call.get("dim1", call.get("axis1", -1)) % rank
    dims[first], dims[second] = dims[second], dims[first]
    return dims


def _moved(rank: int, sources: list[int], targets: list[int]) -> list[int]:
    places = dict(zip([t % rank for t in targets], [s % rank for s in sources]))
    rest = iter(axis for axis in range(rank) if axis not in places.values())
    return [places[i] if i in places else next(rest) for i in range(rank)]


# --- parts


def part(net: Network, call: Call, x: Placed, axis: int, key: Any, suffix: str = "") -> Any:
    """x with a slice or a number along one axis of the module."""
    place = x.axis(axis)
    whole: list[Any] = [slice(None)] * place
    return net.op(call, "get_item", x.tensor, (*whole, key), suffix=suffix)


def _part_of_images(net: Network, call: Call, axis: int) -> Placed:
    x = net.in_order(call, call.placed("self"))
    if axis % x.rank == x.images_axis:
        call.refuse("takes a part of the images", "A model computes every image of a batch.")
    return x


@reads("slice.Tensor")
def slice_(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    axis, step = call["dim"] % x.rank, int(call["step"])
    if call.shapes[0] == x.shape and step == 1:
        return x
    x = _part_of_images(net, call, axis)
    size = x.shape[axis]
    start, stop, _ = slice(call["start"], call["end"], step).indices(size)
    y = part(net, call, x, axis, slice(start, stop, step))
    return Placed(y, call.shapes[0], x.order)


@reads("select.int")
def select(net: Network, call: Call) -> Placed:
    x = _part_of_images(net, call, call["dim"])
    axis, size = call["dim"] % x.rank, x.shape[call["dim"]]
    y = part(net, call, x, axis, int(call["index"]) % size)
    return Placed(y, call.shapes[0], _without(x, axis))


def _without(x: Placed, axis: int) -> tuple[int, ...]:
    return tuple(a - (a > axis) for a in x.order if a != axis)


@reads("chunk.default", "split.Tensor", "split_with_sizes.default", "tensor_split.sections", "split.sizes")
@reads("unsafe_chunk.default", "unsafe_split.Tensor")
def split(net: Network, call: Call) -> tuple[Placed, ...]:
    x = _part_of_images(net, call, call["dim"])
    axis, found, start = call["dim"] % x.rank, [], 0
    for i, shape in enumerate(call.shapes):
        y = part(net, call, x, axis, slice(start, start + shape[axis]), suffix=f".part{i}")
        found.append(Placed(y, shape, x.order))
        start += shape[axis]
    return tuple(found)


@reads("unbind.int")
def unbind(net: Network, call: Call) -> tuple[Placed, ...]:
    x = _part_of_images(net, call, call["dim"])
    axis = call["dim"] % x.rank
    return tuple(
        Placed(part(net, call, x, axis, i, suffix=f".part{i}"), shape, _without(x, axis))
        for i, shape in enumerate(call.shapes)
    )


@reads("index_select.default")
def index_select(net: Network, call: Call) -> Placed:
    x = _part_of_images(net, call, call["dim"])
    places = net.array(call["index"])
    y = net.op(call, "take", x.tensor, places, axis=x.axis(call["dim"]))
    return Placed(y, call.shapes[0], x.order)


@reads("index.Tensor")
def index(net: Network, call: Call) -> Placed:
    given = list(call["indices"])
    used = [axis for axis, one in enumerate(given) if one is not None]
    if len(used) != 1 or isinstance(given[used[0]], Placed) or given[used[0]].ndim != 1:
        call.refuse(
            "indexes with several arrays, or with values that follow from the input", "Use one fixed list."
        )
    if str(given[used[0]].dtype) == "torch.bool":
        call.refuse("indexes with booleans", "Use a list of places.")
    x = _part_of_images(net, call, used[0])
    places = net.array(given[used[0]]) % x.shape[used[0]]
    y = net.op(call, "take", x.tensor, places, axis=x.axis(used[0]))
    return Placed(y, call.shapes[0], x.order)


@reads("flip.default")
def flip(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    axes = tuple(x.axis(axis) for axis in call["dims"])
    if 0 in axes:
        call.refuse("turns the images of a batch round", "Every image has to be computed for itself.")
    return Placed(net.op(call, "flip", x.tensor, axis=axes), call.shapes[0], x.order)


@reads("roll.default")
def roll(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    axes = tuple(x.axis(axis) for axis in call["dims"])
    if 0 in axes or not axes:
        call.refuse("rolls the images of a batch", "Give it dims= without that axis.")
    return Placed(net.op(call, "roll", x.tensor, tuple(call["shifts"]), axis=axes), call.shapes[0], x.order)


# --- joined


@reads("cat.default", "concat.default", "concatenate.default", "stack.default")
def cat(net: Network, call: Call) -> Placed:
    parts = [_whole(net, call, value) for value in call["tensors"]]
    axis = int(call["dim"]) % len(call.shapes[0])
    if call.operator.startswith("aten.stack"):
        parts = [with_shape(net, call, p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    parts = [p for p in parts if p.shape[axis] != 0] or parts
    lead = max(parts, key=lambda p: math.prod(size for size in p.shape if size != IMAGES))
    if axis == lead.images_axis:
        call.refuse("joins batches of images", "A model computes the images that it is given.")
    if lead.rank == 2 and any(p.places is not None for p in parts):
        return _joined_features(net, call, parts)
    parts = [net.ordered(call, p, lead.order) for p in parts]
    if len(parts) == 1:
        return parts[0]
    place = lead.axis(axis)
    y = net.layer(
        call,
        layers.Concatenate,
        [p.tensor for p in parts],
        axis=-1 if place == lead.rank - 1 else place,
    )
    return Placed(y, call.shapes[0], parts[0].order)


def _joined_features(net: Network, call: Call, parts: list[Placed]) -> Placed:
    """Flattened features side by side, each in its own order."""
    places, start = [], 0
    for p in parts:
        own = np.arange(p.shape[1]) if p.places is None else p.places
        places.append(own + start)
        start += p.shape[1]
    y = net.layer(call, layers.Concatenate, [p.tensor for p in parts])
    return Placed(y, call.shapes[0], (0, 1), np.concatenate(places))


def _whole(net: Network, call: Call, value: Any) -> Placed:
    if not isinstance(value, Placed):
        call.refuse(
            f"joins a fixed tensor of shape {tuple(value.shape)} to values of the network",
            "Expand it to the number of images first: tensor.expand(x.shape[0], -1, -1).",
        )
    return value


def for_every_image(net: Network, call: Call, tensor: Any, shape: Sequence[int]) -> Placed:
    """A tensor of the module repeated for every image, and along other axes where the shape asks for it."""
    x = learned_array(net, call, tensor, len(shape))
    if x.shape == tuple(shape):
        return x
    factors = [size // old for size, old in zip(shape[1:], x.sizes)]
    return Placed(net.op(call, "tile", x.tensor, [1, *factors]), tuple(shape), x.order)


@reads("expand.default", "expand_as.default", "broadcast_to.default")
def expand(net: Network, call: Call) -> Placed:
    x, shape = net.in_order(call, call.placed("self")), call.shapes[0]
    if shape == x.shape:
        return x
    if len(shape) != x.rank or shape[x.images_axis] != IMAGES:
        call.refuse(f"expands {shown(x.shape)} to {shown(shape)}", "Only axes of size 1 can be expanded.")
    factors = [shape[axis] // old for axis, old in zip(x.order[1:], x.sizes)]
    return Placed(net.op(call, "tile", x.tensor, [1, *factors]), shape, x.order)


@reads("repeat.default", "tile.default")
def repeat(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    counts = list(call.get("repeats") or call["dims"])
    if len(counts) != x.rank or counts[x.images_axis] != 1:
        call.refuse(f"repeats {shown(x.shape)} by {counts}", "Repeat other axes than that of the images.")
    return Placed(net.op(call, "tile", x.tensor, [counts[axis] for axis in x.order]), call.shapes[0], x.order)


@reads("repeat_interleave.self_int")
def repeat_interleave(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    if call["dim"] is None or call["dim"] % x.rank == x.images_axis:
        call.refuse("repeats the images of a batch", "Give it dim= of another axis.")
    y = net.op(call, "repeat", x.tensor, int(call["repeats"]), axis=x.axis(call["dim"]))
    return Placed(y, call.shapes[0], x.order)


# --- borders

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@reads("pad.default", "constant_pad_nd.default", "reflection_pad1d.default", "reflection_pad2d.default")
@reads(
    "reflection_pad3d.default",
    "replication_pad1d.default",
    "replication_pad2d.default",
    "replication_pad3d.default",
)
def pad(net: Network, call: Call) -> Placed:
    """Borders, given by PyTorch from the last axis to the first; negative ones cut."""
    x = net.in_order(call, call.placed("self"))
    flat = [int(v) for v in (call.get("pad") or call.get("padding"))]
    widths = dict.fromkeys(range(x.rank), (0, 0))
    for i in range(len(flat) // 2):
        widths[x.rank - 1 - i] = (flat[2 * i], flat[2 * i + 1])
    ordered = [widths[axis] for axis in x.order]
    if ordered[0] != (0, 0):
        call.refuse("adds images to a batch", "Pad other axes than that of the images.")
    tensor = _cut(net, call, x, ordered)
    ordered = [(max(lo, 0), max(hi, 0)) for lo, hi in ordered]
    if any(map(any, ordered)):
        tensor = _bordered(net, call, tensor, ordered)
    return Placed(tensor, call.shapes[0], x.order)


def _cut(net: Network, call: Call, x: Placed, widths: list[tuple[int, int]]) -> Any:
    if all(min(pair) >= 0 for pair in widths):
        return x.tensor
    ends = [slice(max(-lo, 0), size + min(hi, 0)) for size, (lo, hi) in zip(x.sizes, widths[1:])]
    return net.op(call, "get_item", x.tensor, (slice(None), *ends), suffix=".cut")


def _bordered(net: Network, call: Call, tensor: Any, widths: list[tuple[int, int]]) -> Any:
    mode = call.get("mode", "constant")
    if "flection" in call.operator or "plication" in call.operator:
        mode = "reflect" if "flection" in call.operator else "replicate"
    if mode != "constant":
        return net.op(call, "pad", tensor, tuple(widths), mode=_MODES[mode])
    value = call.get("value")
    rank = len(widths) - 2
    if not value and rank in ZEROS and widths[-1] == (0, 0):
        return net.layer(call, ZEROS[rank], tensor, padding=tuple(widths[1:-1]))
    return net.op(call, "pad", tensor, tuple(widths), constant_values=float(value or 0.0))


@reads("pixel_shuffle.default", "pixel_unshuffle.default")
def pixel_shuffle(net: Network, call: Call) -> Placed:
    """PyTorch's block is the last part of the channels."""
    x = net.plain(call, call.placed("self"))
    if "unshuffle" in call.operator:
        y = net.op(
            call, "space_to_depth", x.tensor, int(call["downscale_factor"]), data_format="channels_first"
        )
    else:
        y = net.op(
            call, "depth_to_space", x.tensor, int(call["upscale_factor"]), data_format="channels_first"
        )
    return Placed(y, call.shapes[0], x.order)


@reads("channel_shuffle.default")
def channel_shuffle(net: Network, call: Call) -> Placed:
    x, groups = net.in_order(call, call.placed("self")), int(call["groups"])
    places = np.arange(x.shape[1]).reshape(groups, -1).T.ravel()
    return Placed(net.op(call, "take", x.tensor, places, axis=x.axis(1)), call.shapes[0], x.order)


@reads("slice_scatter.default", "select_scatter.default")
def scatter(net: Network, call: Call) -> Placed:
    """A value with a part replaced: what lies before, the new part, what lies behind."""
    x = net.in_order(call, call.placed("self"))
    axis, new = call["dim"] % x.rank, _whole(net, call, call["src"])
    if "select" in call.operator:
        start = int(call["index"]) % x.shape[axis]
        stop, new = start + 1, with_shape(net, call, new, (*new.shape[:axis], 1, *new.shape[axis:]))
    else:
        start, stop, step = slice(call["start"], call["end"], call["step"]).indices(x.shape[axis])
        if step != 1:
            call.refuse(f"replaces every {step}th entry", "Write whole runs of entries.")
    if (start, stop) == (0, x.shape[axis]):
        return new
    if axis == x.images_axis:
        call.refuse("replaces a part of the images", "A model computes every image of a batch.")
    new = net.ordered(call, new, x.order)
    parts = [new.tensor]
    if start > 0:
        parts.insert(0, part(net, call, x, axis, slice(0, start), ".before"))
    if stop < x.shape[axis]:
        parts.append(part(net, call, x, axis, slice(stop, None), ".behind"))
    return Placed(net.layer(call, layers.Concatenate, parts, axis=x.axis(axis)), x.shape, x.order)
