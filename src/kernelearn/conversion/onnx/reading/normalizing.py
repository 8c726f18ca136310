"""Normalisations: by the statistics of the file, by groups of channels, by the last axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.products import rows_of
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.values import Followed, Known, images_like, plain
from kernelearn.layers import BatchNormalization, GroupNormalization, LayerNormalization


def _channel_weights(r: Reader, node: Node, first: int, names: Any, channels: Any) -> list[np.ndarray]:
    found = []
    for index, name in enumerate(names, start=first):
        array = r.known(node, index, name).array
        if array.shape != (channels,):
            r.refuse(node, f"{name} of shape {array.shape} does not fit {channels} channels")
        found.append(array)
    return found


def batch_normalization(r: Reader, node: Node) -> None:
    """With the statistics of the file; momentum counts as in Keras: of the old value."""
    a = r.options(node, epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0, is_test=int(r.opset >= 7))
    if a["training_mode"] or not a["is_test"] or any(r.is_used(node, index) for index in range(1, 5)):
        r.refuse(node, "it normalises by the batch, as in training; export the network for inference")
    if not a["spatial"]:
        r.refuse(node, "spatial=0 has statistics for every pixel")
    x = r.followed(node)
    order = images_like(x.rank)
    tensor = x.tensor if x.row is not None else r.ordered(node, x, order)
    names = ("scale", "B", "input_mean", "input_var")
    weights = _channel_weights(r, node, 1, names, tensor.shape[-1])
    if x.row is not None:
        weights = [rows_of(x, array) for array in weights]
    named = r.known(node, 1, "scale")
    y = r.call(
        node,
        BatchNormalization,
        [tensor],
        weights,
        named=named,
        epsilon=float(a["epsilon"]),
        momentum=float(str(np.float32(a["momentum"]))),  # 0.99, and not the double nearest to its float32
    )
    r.give(node, Followed(y, x.order if x.row is not None else order, x.row))


def _group_layer(
    r: Reader, node: Node, x: Followed, groups: int, epsilon: float, weights: Any, named: Any
) -> None:
    order = images_like(x.rank)
    y = r.call(
        node,
        GroupNormalization,
        [r.ordered(node, x, order)],
        weights,
        named=named,
        groups=groups,
        epsilon=float(epsilon),
    )
    r.give(node, Followed(y, order))


def instance_normalization(r: Reader, node: Node) -> None:
    """A group for each channel; between two Reshapes the normalisation of groups, as exporters write it."""
    a = r.options(node, epsilon=1e-5)
    x = r.followed(node)
    if x.rank < 3:
        r.refuse(node, f"an input of shape {x.shape} has no axes of space")
    channels = x.shape[1]
    weights = _channel_weights(r, node, 1, ("scale", "B"), channels)
    _group_layer(r, node, x, -1, a["epsilon"], weights, r.known(node, 1, "scale"))


def groups_in_reshapes(r: Reader, node: Node) -> bool:
    """Reshape to groups, InstanceNormalization, Reshape back, Mul, Add: one GroupNormalization."""
    x = r.values[node.inputs[0]]
    inner = r.only_reader(node.outputs[0])
    target = r.values.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if inner is None or inner.op_type != "InstanceNormalization" or not isinstance(target, Known):
        return False
    if not isinstance(x, Followed) or x.rank < 3 or x.order.index(0) or target.array.shape != (3,):
        return False
    back = r.only_reader(inner.outputs[0])
    scale, shift = r.values.get(inner.inputs[1]), r.values.get(inner.inputs[2])
    groups, channels = target.array[1], x.shape[1]
    if back is None or back.op_type != "Reshape" or not isinstance(groups, int | np.integer) or groups < 1:
        return False
    if not isinstance(channels, int) or channels % groups or not _same_shape(r, back, x):
        return False
    if not isinstance(scale, Known) or not isinstance(shift, Known):
        return False
    if scale.array.shape != (groups,) or np.any(scale.array != 1) or np.any(shift.array != 0):
        return False
    epsilon = r.options(inner, epsilon=1e-5)["epsilon"]
    last, gamma, beta, named = _scale_behind(r, back, x, channels)
    for op in (inner, back):
        r.skip(op)
    _group_layer(r, last, x, int(groups), epsilon, [gamma, beta], named)
    return True


def _same_shape(r: Reader, back: Node, x: Followed) -> bool:
    """Whether a Reshape goes back to the shape of x; its shape may be computed by nodes that come later."""
    name = back.inputs[1]
    if name not in r.values:
        maker = next((n for n in r.nodes if name in n.outputs), None)
        if maker is None or not all(n in r.values for n in maker.inputs):
            return False
        r.read_node(maker)
        r.skip(maker)
    value = r.values[name]
    if not isinstance(value, Known) or value.array.shape != (x.rank,):
        return False
    return all(
        (axis == 0 and (size in (0, -1) or not isinstance(size, int | np.integer) or size == r.batch))
        or size == own
        or (size == -1 and axis > 0)
        or size == 0
        for axis, (size, own) in enumerate(zip(value.array, x.shape))
    )


def _scale_behind(r: Reader, back: Node, x: Followed, channels: int) -> Any:
    """The last node, and scale and shift of each channel, that follow as Mul and Add."""
    dtype = r.dtype
    last, named = back, None
    found = [np.ones(channels, dtype), np.zeros(channels, dtype)]
    for place, op_type in enumerate(("Mul", "Add")):
        reader = r.only_reader(last.outputs[0])
        if reader is None or reader.op_type != op_type:
            continue
        value = r.values.get(next((n for n in reader.inputs if n != last.outputs[0]), ""))
        wanted = (channels, *(1,) * (x.rank - 2))
        fits = isinstance(value, Known) and value.array.ndim <= x.rank and value.array.size == channels
        if not fits or not isinstance(value, Known) or value.array.shape[-len(wanted) :] != wanted:
            break
        found[place] = value.array.reshape(channels)
        named = named or value
        r.skip(reader)
        last = reader
    return last, found[0], found[1], named


def group_normalization(r: Reader, node: Node) -> None:
    """Scale and shift of every group (opset 18), or of every channel (from 21 on)."""
    a = r.options(node, epsilon=1e-5, num_groups=0, stash_type=1)
    x, groups = r.followed(node), int(a["num_groups"])
    channels = x.shape[1]
    if x.rank < 3 or groups < 1 or not isinstance(channels, int) or channels % groups:
        r.refuse(node, f"num_groups={groups} does not divide the channels of {x.shape}")
    size = groups if r.opset < 21 else channels
    weights = _channel_weights(r, node, 1, ("scale", "bias"), size)
    weights = [np.repeat(array, channels // size) for array in weights]
    _group_layer(r, node, x, groups, a["epsilon"], weights, r.known(node, 1, "scale"))


def layer_normalization(r: Reader, node: Node) -> None:
    a = r.options(node, axis=-1, epsilon=1e-5, stash_type=1)
    x = r.followed(node)
    first = r.axis(node, a["axis"], x.rank)
    tensor = r.ordered(node, x)
    if first == 0:
        r.refuse(node, "it works along the axis of the images")
    sizes = tensor.shape[first:]
    arrays = [r.known(node, 1, "scale").array]
    if r.has(node, 2):
        arrays.append(r.known(node, 2, "B").array)
    if None in sizes or any(len(array.shape) > len(sizes) for array in arrays):
        r.refuse(node, f"scales of shapes {[array.shape for array in arrays]} do not fit {x.shape}")
    weights = [np.broadcast_to(array, sizes).copy() for array in arrays]
    y = r.call(
        node,
        LayerNormalization,
        [tensor],
        weights,
        named=r.known(node, 1, "scale"),
        axis=list(range(first - x.rank, 0)),
        epsilon=float(a["epsilon"]),
        center=len(weights) > 1,
    )
    r.give(node, Followed(y, plain(x.rank)))
    _give_moments(r, node, tensor, tuple(range(first, x.rank)), float(a["epsilon"]))


def _give_moments(r: Reader, node: Node, x: Any, axes: tuple[int, ...], epsilon: float) -> None:
    """The second and third output, where they are used: the mean, and 1 / sqrt(variance + epsilon)."""
    order = plain(len(x.shape))
    if r.is_used(node, 1):
        r.give(
            node, Followed(r.operation(node, "mean", x, axis=axes, keepdims=True, suffix="mean"), order), 1
        )
    if r.is_used(node, 2):
        y = r.operation(node, "var", x, axis=axes, keepdims=True, suffix="variance")
        y = r.operation(node, "add", y, epsilon, suffix="shifted")
        r.give(node, Followed(r.operation(node, "rsqrt", y, suffix="deviation"), order), 2)


def lrn(r: Reader, node: Node) -> None:
    """x / (bias + alpha / size * sum of x^2 over neighbouring channels)^beta."""
    a = r.options(node, alpha=1e-4, beta=0.75, bias=1.0, size=0)
    x, size = r.followed(node), int(a["size"])
    if x.rank < 3 or not 1 <= size <= 1024:
        r.refuse(node, f"size={size} for an input of shape {x.shape}")
    order = images_like(x.rank)
    tensor = r.ordered(node, x, order)
    channels, before = tensor.shape[-1], (size - 1) // 2
    squares = r.operation(node, "square", tensor, suffix="squares")
    width = (*((0, 0),) * (x.rank - 1), (before, size - 1 - before))
    padded = r.operation(node, "pad", squares, width, suffix="pad")
    total = None
    for start in range(size):
        part = r.operation(node, "get_item", padded, (..., slice(start, start + channels)), suffix="shifted")
        total = part if total is None else r.operation(node, "add", total, part, suffix="sum")
    scaled = r.operation(node, "multiply", total, float(a["alpha"]) / size, suffix="scaled")
    scaled = r.operation(node, "add", scaled, float(a["bias"]), suffix="biased")
    scaled = r.operation(node, "power", scaled, float(a["beta"]), suffix="power")
    r.give(node, Followed(r.operation(node, "divide", tensor, scaled), order))


RULES = {
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "LRN": lrn,
}
