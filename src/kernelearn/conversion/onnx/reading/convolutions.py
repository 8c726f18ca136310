"""Convolutions, plain and transposed: a layer where one says the same, else pads and crops of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Learned, Reader
from kernelearn.conversion.onnx.reading.values import Followed, Known
from kernelearn.conversion.onnx.reading.windows import WINDOW, Pair, Window, image, padded
from kernelearn.engine.geometry import (
    effective_size,
    transpose_padding,
)


def _kernel(r: Reader, node: Node, a: dict[str, Any], rank: int) -> Known:
    kernel = r.known(node, 1, "the kernel")
    array = kernel.array
    if array.ndim != rank or array.dtype.kind != "f" or 0 in array.shape:
        r.refuse(node, f"a kernel of shape {array.shape} does not fit an input with {rank} axes")
    if a["kernel_shape"] is not None and tuple(a["kernel_shape"]) != array.shape[2:]:
        r.refuse(node, f"kernel_shape={a['kernel_shape']} is not that of the kernel, {array.shape}")
    return kernel


def _bias(r: Reader, node: Node, filters: int) -> list[np.ndarray]:
    if not r.has(node, 2):
        return []
    bias = r.known(node, 2, "the bias").array
    if bias.shape != (filters,):
        r.refuse(node, f"a bias of shape {bias.shape} does not fit {filters} filters")
    return [bias]


def conv(r: Reader, node: Node) -> None:
    a = r.options(node, **WINDOW, group=1)
    x, tensor = image(r, node)
    kernel = _kernel(r, node, a, x.rank)
    array, groups = kernel.array, a["group"]
    window = Window(r, node, a, x, array.shape[2:])
    channels = tensor.shape[-1]
    if groups < 1 or channels != array.shape[1] * groups or array.shape[0] % groups:
        r.refuse(node, f"group={groups} and a kernel of shape {array.shape} do not fit {channels} channels")
    pairs, turned = window.pairs(), np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))
    window.check_outputs(pairs)
    bias = _bias(r, node, array.shape[0])
    if max(window.strides) > 1 and max(window.dilations) > 1:
        y = _by_function(r, node, window, tensor, turned, bias, groups, pairs)
    else:
        y = _by_layer(r, node, window, tensor, kernel, turned, bias, groups, pairs)
    r.give(node, Followed(y, x.order))


def _by_layer(
    r: Reader,
    node: Node,
    window: Window,
    x: Any,
    kernel: Known,
    turned: Any,
    bias: Any,
    groups: int,
    pairs: Any,
) -> Any:
    """A Conv or, with a group for every channel, a DepthwiseConv; pads without a word go before it."""
    word = window.word(pairs)
    if word is None and tuple(pairs) == ((effective_size(window.size[0], window.dilations[0]) - 1, 0),):
        word = "causal"
    if word is None:
        x, word = padded(r, node, x, pairs), "valid"
    arguments: dict[str, Any] = {
        "kernel_size": window.size,
        "strides": window.strides,
        "dilation_rate": window.dilations,
        "padding": word,
        "use_bias": bool(bias),
    }
    channels, filters = x.shape[-1], turned.shape[-1]
    if groups == channels > 1 and window.rank < 3:
        cls: Any = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)[window.rank - 1]
        arguments["depth_multiplier"] = filters // channels
        turned = turned.reshape(*turned.shape[:-2], channels, filters // channels)
    else:
        cls = (layers.Conv1D, layers.Conv2D, layers.Conv3D)[window.rank - 1]
        arguments.update(filters=filters, groups=groups)
    return r.call(node, cls, [x], [turned, *bias], named=kernel, **arguments)


def _by_function(
    r: Reader, node: Node, window: Window, x: Any, turned: Any, bias: Any, groups: int, pairs: Any
) -> Any:
    """Strides and dilations together, which layers do not take."""
    y = r.operation(
        node,
        "conv",
        x,
        Learned(turned),
        strides=window.strides,
        padding=tuple(map(tuple, pairs)),
        dilation_rate=window.dilations,
        groups=groups,
    )
    return r.operation(node, "add", y, Learned(bias[0]), suffix="bias") if bias else y


def conv_transpose(r: Reader, node: Node) -> None:
    """The full output, cropped at both ends, or with zeros behind: one rule for all spellings of its size."""
    a = r.options(node, **WINDOW, group=1, output_padding=None, output_shape=None)
    x, tensor = image(r, node)
    kernel = _kernel(r, node, a, x.rank)
    array, groups = kernel.array, a["group"]
    window = Window(r, node, a, x, array.shape[2:])
    if groups < 1 or tensor.shape[-1] != array.shape[0] or array.shape[0] % groups:
        r.refuse(node, f"group={groups} and a kernel of shape {array.shape} do not fit {x.shape}")
    crops = _crops(r, node, a, window)
    bias = _bias(r, node, array.shape[1] * groups)
    turned = np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))
    word, extra = _transposed_word(window, crops)
    if word is None:
        extra = tuple(max(-after, 0) for _, after in crops)
        if any(more >= step for more, step in zip(extra, window.strides) if more):
            r.refuse(node, f"its output ends {extra} pixels behind its last input, beyond strides")
        word = "valid"
        crops = tuple((before, max(after, 0)) for before, after in crops)
    else:
        crops = ((0, 0),) * window.rank
    shared: dict[str, Any] = {
        "strides": window.strides,
        "padding": word,
        "output_padding": extra,
        "dilation_rate": window.dilations,
    }
    if max(window.strides) > 1 and max(window.dilations) > 1:
        y = r.operation(node, "conv_transpose", tensor, Learned(turned), groups=groups, **shared)
        y = r.operation(node, "add", y, Learned(bias[0]), suffix="bias") if bias else y
    else:
        cls = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)[window.rank - 1]
        more: dict[str, Any] = {
            "filters": array.shape[1] * groups,
            "groups": groups,
            "kernel_size": window.size,
            "use_bias": bool(bias),
        }
        y = r.call(node, cls, [tensor], [turned, *bias], named=kernel, **shared, **more)
    r.give(node, Followed(_cropped(r, node, y, crops), x.order))


def _crops(r: Reader, node: Node, a: dict[str, Any], window: Window) -> tuple[Pair, ...]:
    """(before, after) pixels cut off the full output; a negative number extends it."""
    extra = [0] * window.rank
    if a["output_padding"] is not None:
        extra = r.ints(node, a["output_padding"], "output_padding", window.rank)
    if min(extra) < 0:
        r.refuse(node, f"output_padding={extra} is negative")
    wanted = a["output_shape"]
    if wanted is not None:
        wanted = r.ints(node, wanted, "output_shape")[-window.rank :]
    elif window.auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(window.known(), window.strides)]
    if wanted is None:
        return tuple((lo, hi - more) for (lo, hi), more in zip(window.pads, extra))
    found = []
    for n, (k, s, d), more, size in zip(window.known(), window.axes, extra, wanted):
        total = (n - 1) * s + effective_size(k, d) + more - size
        half = total // 2 if window.auto == "SAME_UPPER" else total - total // 2
        if total < 0:  # nothing to cut: what is missing goes behind
            half = 0
        found.append((half, total - half - more))
    return tuple(found)


def _transposed_word(window: Window, crops: Sequence[Pair]) -> tuple[str | None, tuple[int, ...] | None]:
    """padding and output_padding of a layer with these crops."""
    for word in ("valid", "same"):
        if all(transpose_padding(word, *axis, None) == crop for axis, crop in zip(window.axes, crops)):
            return word, None
        extra = []
        for axis, crop in zip(window.axes, crops):
            more = sum(transpose_padding(word, *axis, 0)) - sum(crop)  # a pixel more is a pixel less cut off
            if 0 <= more < axis[1] and transpose_padding(word, *axis, more) == crop:
                extra.append(more)
        if len(extra) == window.rank:
            return word, tuple(extra)
    return None, None


def _cropped(r: Reader, node: Node, y: Any, crops: Sequence[Pair]) -> Any:
    if not any(map(any, crops)):
        return y
    if any(before < 0 for before, _ in crops):
        r.refuse(node, "its output begins before its first input")
    cls = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)[len(crops) - 1]
    cropping = tuple(map(tuple, crops))
    return r.call(node, cls, [y], suffix="crop", cropping=cropping[0] if len(crops) == 1 else cropping)


RULES = {"Conv": conv, "ConvTranspose": conv_transpose}
