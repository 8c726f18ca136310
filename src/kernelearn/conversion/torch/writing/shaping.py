"""Shapes, borders, merging, and what is computed without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.torch.placed import Placed, aligned_array
from kernelearn.conversion.torch.writing.activations import like
from kernelearn.conversion.torch.writing.convolution import bordered
from kernelearn.conversion.torch.writing.plan import Plan, Ref, Site, State
from kernelearn.conversion.torch.writing.table import by_rank, writes
from kernelearn.engine.arrays import inverse_order


@writes("Flatten")
def flatten(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    """In channels-last order whatever the data format: with channels first, axes change places before."""
    x = values[0]
    if at.layer.data_format == "channels_first" and x.rank > 2:
        turned = (0, *range(2, x.rank), 1)
        shape = tuple(x.shape[axis] for axis in turned)
        x = Placed(x.tensor, shape, tuple(turned.index(axis) for axis in x.order))
    order = plan.flattened.get(at.name)
    if order is not None and len(order) == x.rank:
        x = plan.ordered(at, x, inverse_order(order))
    return plan.with_shape(at, x, at.shapes[0])


@writes("Reshape")
def reshape(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return plan.with_shape(at, values[0], at.shapes[0])


@writes("Permute")
def permute(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return turned(plan, at, values[0], (0, *at.layer.dims))


def turned(plan: Plan, at: Site, x: Placed, axes: Sequence[int]) -> Placed:
    """Book-keeping: axis i of the result is axis axes[i] of the value."""
    x = plan.in_order(at, x)
    return Placed(x.tensor, at.shapes[0], tuple(list(axes).index(axis) for axis in x.order))


@writes("RepeatVector")
def repeat_vector(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    x = plan.in_order(at, values[0])
    wide = plan.call(at, "torch.unsqueeze", x.tensor, 1)
    return Placed(plan.call(at, "torch.tile", wide, (1, at.layer.n, 1)), at.shapes[0], (0, 1, 2))


@writes(*by_rank("ZeroPadding*D"))
def zero_padding(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    x = plan.images(at, values[0], at.layer.data_format)
    y = bordered(plan, at, x.tensor, at.layer.pairs, suffix="")
    return Placed(y, at.shapes[0], x.order)


@writes(*by_rank("Cropping*D"))
def cropping(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    x = plan.images(at, values[0], at.layer.data_format)
    parts = [slice(lo, -hi or None) for lo, hi in at.layer.pairs]
    y = plan.call(at, "operator.getitem", x.tensor, (slice(None), slice(None), *parts))
    return Placed(y, at.shapes[0], x.order)


@writes(*by_rank("UpSampling*D"))
def upsampling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    factors = tuple(float(f) for f in layer.size)
    if layer.interpolation == "nearest":
        y = plan.module(at, "Upsample", x.tensor, scale_factor=factors, mode="nearest")
    elif layer.interpolation == "bilinear":
        y = plan.module(at, "Upsample", x.tensor, scale_factor=factors, mode="bilinear", align_corners=False)
    else:
        at.refuse(
            f"has interpolation={layer.interpolation!r}, which PyTorch computes with another window",
            'Use "nearest" or "bilinear".',
        )
    return Placed(y, at.shapes[0], x.order)


@writes("Resizing")
def resizing(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    odd = [
        n for n in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias") if getattr(layer, n, False)
    ]
    if odd or layer.interpolation != "bilinear":
        given = [*odd, f"interpolation={layer.interpolation!r}"]
        at.refuse(f"has {', '.join(given)}", 'PyTorch\'s rule agrees for "bilinear" without more.')
    x = plan.images(at, values[0], layer.data_format)
    size = (layer.height, layer.width)
    y = plan.module(at, "Upsample", x.tensor, size=size, mode="bilinear", align_corners=False)
    return Placed(y, at.shapes[0], x.order)


@writes("Rescaling")
def rescaling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    x = values[0]
    y = combined_with(plan, at, x, at.layer.scale, "torch.mul", "_scale")
    offset = np.asarray(at.layer.offset)
    return y if not offset.any() else combined_with(plan, at, y, at.layer.offset, "torch.add", "_offset")


def combined_with(plan: Plan, at: Site, x: Placed, value: Any, function: str, suffix: str) -> Placed:
    """A value and a number or array, broadcast as NumPy does."""
    array = np.asarray(value)
    if array.size == 1 and array.ndim <= x.rank:
        return like(x, plan.call(at, function, x.tensor, array.item()))
    return like(x, plan.call(at, function, x.tensor, constant(plan, at, array, x, suffix)))


def constant(plan: Plan, at: Site, array: Any, x: Placed, suffix: str = "_constant") -> Ref:
    """A fixed array as a buffer, with its axes where those of a value stand."""
    kind = plan.dtype if np.issubdtype(array.dtype, np.floating) else array.dtype
    if at.name in plan.buffers:
        return _buffer(plan, at, array.astype(kind), x)
    return plan.constant(at, aligned_array(array, x).astype(kind), suffix)


def _buffer(plan: Plan, at: Site, array: Any, x: Placed) -> Ref:
    """The constant of a layer that came from PyTorch: the buffer, its axes moved to those of the value."""
    name, order = plan.buffers[at.name]
    whole = array.reshape((1,) * (x.rank - array.ndim) + array.shape)
    there = whole.transpose(inverse_order(order))
    y = plan.buffer(name, there.reshape(plan.shapes[name]))
    if tuple(plan.shapes[name]) != there.shape:
        y = plan.call(at, "torch.reshape", y, there.shape)
    moved = tuple(order[axis] for axis in x.order)
    return y if moved == tuple(range(x.rank)) else plan.call(at, "torch.permute", y, moved)


# --- several values

_MERGES = {
    "Add": "torch.add",
    "Subtract": "torch.sub",
    "Multiply": "torch.mul",
    "Maximum": "torch.maximum",
    "Minimum": "torch.minimum",
}


@writes(*_MERGES, "Average")
def merge(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    function = _MERGES.get(type(at.layer).__name__, "torch.add")
    lead, parts = alike(plan, at, values)
    y = parts[0]
    for part in parts[1:]:
        y = plan.call(at, function, y, part)
    if type(at.layer).__name__ == "Average":
        y = plan.call(at, "torch.mul", y, 1 / len(parts))
    return Placed(y, at.shapes[0], lead.order, lead.places)


def alike(plan: Plan, at: Site, values: Sequence[Placed]) -> tuple[Placed, list[Ref]]:
    """Values with their axes at the same places, and the one that says which."""
    rank = max(x.rank for x in values)
    if any(x.rank != rank for x in values):
        at.refuse(
            f"combines values of {sorted({x.rank for x in values})} axes",
            "Reshape them to the same number of axes.",
        )
    lead = max(values, key=lambda x: int(np.prod(x.shape[1:], dtype=np.int64)))
    if any(not _same(x.places, lead.places) for x in values):
        values = [plan.in_order(at, x) for x in values]
        lead = max(values, key=lambda x: int(np.prod(x.shape[1:], dtype=np.int64)))
    return lead, [
        x.tensor if x.order == lead.order else plan.ordered(at, x, lead.order).tensor for x in values
    ]


def _same(a: Any, b: Any) -> bool:
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))


@writes("Concatenate")
def concatenate(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return joined(plan, at, values, at.layer.axis)


def joined(plan: Plan, at: Site, values: Sequence[Placed], axis: int) -> Placed:
    """Values one after the other along an axis."""
    lead = values[0]
    if lead.rank == 2 and any(x.places is not None for x in values):
        starts = np.cumsum([0, *(x.shape[1] for x in values[:-1])])
        own = [np.arange(x.shape[1]) if x.places is None else x.places for x in values]
        y = plan.call(at, "torch.cat", [x.tensor for x in values], dim=1)
        return Placed(y, at.shapes[0], (0, 1), np.concatenate([p + s for p, s in zip(own, starts)]))
    parts = [plan.ordered(at, x, lead.order).tensor for x in values]
    y = plan.call(at, "torch.cat", parts, dim=lead.axis(axis))
    return Placed(y, at.shapes[0], lead.order)


@writes("LearnedArray")
def learned_array(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    """A parameter, repeated for every image."""
    shape = at.shapes[0]
    own, there = shape[1:], tuple(plan.shapes.get(at.name, (1, *shape[1:])))
    array = plan.state(at, at.weight("array", lambda a: a.reshape(there), lambda a: a.reshape(own)))
    if there != (1, *own):
        array = plan.call(at, "torch.reshape", array, (1, *own))
    count = plan.call(at, "torch.Tensor.size", values[0].tensor, 0)
    y = plan.call(at, "torch.Tensor.expand", array, count, *([-1] * (len(shape) - 1)))
    return Placed(y, shape, tuple(range(len(shape))))


@writes("MultiHeadAttention")
def multi_head_attention(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    """nn.MultiheadAttention, where its widths agree."""
    layer = at.layer
    query, value = (plan.plain(at, x) for x in values[:2])
    key = plan.plain(at, values[2]) if len(values) > 2 else value
    width, e = layer.num_heads * layer.key_dim, query.shape[-1]
    odd = [
        name
        for name, is_odd in {
            "num_heads * key_dim other than the channels": width != e or layer.value_dim != layer.key_dim,
            "output_shape": layer.output_shape is not None,
            "attention_axes": layer.attention_axes is not None,
            "sliding_window": layer.sliding_window is not None,
            "use_gate": layer.use_gate,
            "keys or values of other channels": {key.shape[-1], value.shape[-1]} != {e},
            "arguments of its call": bool(at.node.given and at.node.given.keywords),
        }.items()
        if is_odd
    ]
    if odd or query.rank != 3:
        at.refuse(
            f"has {', '.join(odd) or 'more than one axis of positions'}", "nn.MultiheadAttention does not."
        )
    y = plan.call(
        at,
        "operator.getitem",
        plan.module(
            at,
            "MultiheadAttention",
            (query.tensor, key.tensor, value.tensor),
            e,
            layer.num_heads,
            dropout=layer.dropout,
            bias=layer.use_bias,
            batch_first=True,
            states=_projections(at, e),
        ),
        0,
    )
    return Placed(y, at.shapes[0], (0, 1, 2))


def _projections(at: Site, e: int) -> dict[str, State]:
    """in_proj is query, key and value under each other."""
    layer, names = at.layer, ("query", "key", "value")
    paths, heads = layer.weight_paths(), layer.num_heads

    def stacked(part: str) -> State:
        weights = [paths[f"{name}/{part}"] for name in names]

        def read() -> Any:
            return np.concatenate(
                [w.numpy().reshape(-1, e).T if part == "kernel" else w.numpy().reshape(e) for w in weights]
            )

        def write(array: Any) -> None:
            for w, piece in zip(weights, np.split(np.asarray(array), 3)):
                w.assign((piece.T if part == "kernel" else piece).reshape(w.shape))

        trained = all(w.trainable for w in weights) and layer.trainable
        return State(read, write, trained, False, tuple(f"{at.name}/{name}/{part}" for name in names))

    width = e // heads
    found = {
        "in_proj_weight": stacked("kernel"),
        "out_proj.weight": at.weight(
            "attention_output/kernel", lambda k: k.reshape(e, -1).T, lambda w: w.T.reshape(heads, width, -1)
        ),
    }
    if layer.use_bias:
        found["in_proj_bias"] = stacked("bias")
        found["out_proj.bias"] = at.weight("attention_output/bias")
    return found
