"""Pooling: windows with PyTorch's rule for sizes and divisors, whole maps, and sizes that are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kernelearn import layers
from kernelearn.conversion.torch.placed import Placed, channels_last
from kernelearn.conversion.torch.reading.convolution import ZEROS
from kernelearn.conversion.torch.reading.network import Network
from kernelearn.conversion.torch.reading.table import Call, Missing, pair, reads
from kernelearn.engine.geometry import resolve_padding

MAX = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
AVERAGE = {1: layers.AveragePooling1D, 2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
GLOBAL_MAX = {1: layers.GlobalMaxPooling1D, 2: layers.GlobalMaxPooling2D, 3: layers.GlobalMaxPooling3D}
GLOBAL_AVERAGE = {
    1: layers.GlobalAveragePooling1D,
    2: layers.GlobalAveragePooling2D,
    3: layers.GlobalAveragePooling3D,
}
ADAPTIVE_MAX = {
    1: layers.AdaptiveMaxPooling1D,
    2: layers.AdaptiveMaxPooling2D,
    3: layers.AdaptiveMaxPooling3D,
}
ADAPTIVE_AVERAGE = {
    1: layers.AdaptiveAveragePooling1D,
    2: layers.AdaptiveAveragePooling2D,
    3: layers.AdaptiveAveragePooling3D,
}
_LOWEST = -3.4028234663852886e38  # of float32: what is padded never wins
_INDICES = Missing("the places of the largest values", "Pool without return_indices.")

Pairs = tuple[tuple[int, int], ...]


def _windows(call: Call, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Size, stride and padding of the windows."""
    size = pair(call["kernel_size"], rank)
    return size, pair(call["stride"] or size, rank), pair(call["padding"], rank)


def _borders(
    sizes: Sequence[int], outputs: Sequence[int], size: Any, stride: Any, pads: Any, span: Any
) -> Pairs:
    """Pixels (before, behind) that the windows reach over the image: behind, what PyTorch's rule asks for."""
    axes = zip(sizes, outputs, stride, pads, span)
    return tuple((p, (m - 1) * s + k - n - p) for n, m, s, p, k in axes)


def _clipped(net: Network, call: Call, x: Placed, borders: Pairs) -> tuple[Any, Pairs]:
    """The input without the pixels behind that no window sees."""
    if all(behind >= 0 for _, behind in borders):
        return x.tensor, borders
    ends = [slice(0, n + min(behind, 0)) for n, (_, behind) in zip(x.shape[2:], borders)]
    tensor = net.op(call, "get_item", x.tensor, (slice(None), *ends, slice(None)), suffix=".seen")
    return tensor, tuple((before, max(behind, 0)) for before, behind in borders)


@reads("max_pool1d.default", "max_pool2d.default", "max_pool3d.default")
def max_pool(net: Network, call: Call) -> Placed:
    x = net.images(call, call.placed("self"))
    rank = x.rank - 2
    size, stride, pads = _windows(call, rank)
    dilation = pair(call["dilation"], rank)
    sizes, outputs = x.shape[2:], call.shapes[0][2:]
    span = [(k - 1) * d + 1 for k, d in zip(size, dilation)]
    borders = _borders(sizes, outputs, size, stride, pads, span)
    if max(dilation) > 1:
        y = _dilated(net, call, x, borders, size, stride, dilation)
    else:
        y = _pooled(net, call, x, borders, size, stride, MAX[rank], "max_pool")
    return Placed(y, call.shapes[0], x.order)


@reads(
    "max_pool1d_with_indices.default", "max_pool2d_with_indices.default", "max_pool3d_with_indices.default"
)
def max_pool_with_indices(net: Network, call: Call) -> tuple[Any, ...]:
    return max_pool(net, call), _INDICES


def _pooled(
    net: Network, call: Call, x: Placed, borders: Pairs, size: Any, stride: Any, kind: Any, function: str
) -> Any:
    """A pooling layer where it can say this, else the operation with its borders."""
    sizes = x.shape[2:]
    if all(before == 0 and -s < behind <= 0 for (before, behind), s in zip(borders, stride)):
        return net.layer(call, kind, x.tensor, pool_size=size, strides=stride)
    if borders == tuple(resolve_padding("same", n, k, s, 1) for n, k, s in zip(sizes, size, stride)):
        return net.layer(call, kind, x.tensor, pool_size=size, strides=stride, padding="same")
    tensor, pairs = _clipped(net, call, x, borders)
    return net.op(call, function, tensor, size, strides=stride, padding=pairs)


def _dilated(
    net: Network, call: Call, x: Placed, borders: Pairs, size: Any, stride: Any, dilation: Any
) -> Any:
    """The largest of shifted views, axis after axis."""
    tensor, pairs = _clipped(net, call, x, borders)
    if any(map(any, pairs)):
        width = ((0, 0), *pairs, (0, 0))
        tensor = net.op(call, "pad", tensor, width, constant_values=_LOWEST, suffix=".pad")
    for axis, (k, s, d, m) in enumerate(zip(size, stride, dilation, call.shapes[0][2:]), start=1):
        views = []
        for tap in range(k):
            part = slice(tap * d, tap * d + (m - 1) * s + 1, s)
            key = tuple(part if a == axis else slice(None) for a in range(x.rank))
            views.append(net.op(call, "get_item", tensor, key, suffix=f".tap{axis}_{tap}"))
        tensor = views[0] if k == 1 else net.layer(call, layers.Maximum, views, suffix=f".axis{axis}")
    return tensor


@reads("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default")
def average_pool(net: Network, call: Call) -> Placed:
    """PyTorch counts padded pixels unless told otherwise, and never those behind that ceil_mode adds."""
    x = net.images(call, call.placed("self"))
    rank = x.rank - 2
    size, stride, pads = _windows(call, rank)
    divisor = call.get("divisor_override")
    borders = _borders(x.shape[2:], call.shapes[0][2:], size, stride, pads, size)
    if divisor:
        counted: Pairs = tuple((before, max(behind, 0)) for before, behind in borders)
    else:
        counted = tuple((before, max(min(before, behind), 0)) for before, behind in borders)
    if any(map(any, counted)) and (divisor or call["count_include_pad"]):
        tensor = net.layer(call, ZEROS[rank], x.tensor, padding=counted, suffix=".pad")
        sizes = [n + sum(c) for n, c in zip(x.shape[2:], counted)]
        borders = tuple((0, behind - c[1]) for (_, behind), c in zip(borders, counted))
        x = Placed(tensor, (*x.shape[:2], *sizes), x.order)
    y = _pooled(net, call, x, borders, size, stride, AVERAGE[rank], "average_pool")
    if divisor:
        y = net.layer(call, layers.Rescaling, y, scale=math.prod(size) / divisor, suffix=".divisor")
    return Placed(y, call.shapes[0], x.order)


@reads("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "adaptive_avg_pool3d.default")
def adaptive_average(net: Network, call: Call) -> Placed:
    return _adaptive(net, call, GLOBAL_AVERAGE, ADAPTIVE_AVERAGE)


@reads("adaptive_max_pool1d.default", "adaptive_max_pool2d.default", "adaptive_max_pool3d.default")
def adaptive_max(net: Network, call: Call) -> tuple[Any, ...]:
    return _adaptive(net, call, GLOBAL_MAX, ADAPTIVE_MAX), _INDICES


def _adaptive(net: Network, call: Call, whole: Any, asked: Any) -> Placed:
    x = net.images(call, call.placed("self"))
    outputs = call.shapes[0][2:]
    if set(outputs) == {1}:
        y = net.layer(call, whole[len(outputs)], x.tensor, keepdims=True)
    else:
        y = net.layer(call, asked[len(outputs)], x.tensor, output_size=tuple(outputs))
    return Placed(y, call.shapes[0], x.order)


_REDUCTIONS = {
    "mean.dim": "mean",
    "mean.default": "mean",
    "sum.dim_IntList": "sum",
    "sum.default": "sum",
    "amax.default": "max",
    "amin.default": "min",
    "prod.dim_int": "prod",
    "logsumexp.default": "logsumexp",
}


@reads(*_REDUCTIONS)
def reduction(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    function = _REDUCTIONS[call.operator.removeprefix("aten.")]
    if call.get("dtype") is not None:
        call.refuse(f"has dtype={call['dtype']}", "Reduce in the type of the values.")
    axes, keeps = reduced_axes(call, x), bool(call.get("keepdim", False))
    space = tuple(range(2, x.rank))
    if (
        function in ("mean", "max")
        and axes == space
        and 3 <= x.rank <= 5
        and x.order == channels_last(x.rank)
    ):
        kinds = GLOBAL_AVERAGE if function == "mean" else GLOBAL_MAX
        y = net.layer(call, kinds[len(space)], x.tensor, keepdims=keeps)
    else:
        places = tuple(sorted(x.axis(axis) for axis in axes))
        y = net.op(call, function, x.tensor, axis=places, keepdims=keeps)
    return without_axes(y, call.shapes[0], x, axes, keeps)


def reduced_axes(call: Call, x: Placed, argument: str = "dim") -> tuple[int, ...]:
    """Which axes of the module go; the images stay."""
    given = call.get(argument)
    listed = [given] if isinstance(given, int) else list(given or [])
    axes = tuple(sorted({axis % x.rank for axis in listed})) or tuple(range(x.rank))
    if x.images_axis in axes:
        call.refuse("goes over the images of a batch", "Every image has to be computed for itself.")
    return axes


def without_axes(tensor: Any, shape: tuple[int, ...], x: Placed, axes: Sequence[int], keeps: bool) -> Placed:
    """A value whose axes are gone, or have size 1."""
    if keeps:
        return Placed(tensor, shape, x.order)
    left = [axis for axis in range(x.rank) if axis not in axes]
    order = tuple(left.index(axis) for axis in x.order if axis in left)
    return Placed(tensor, shape, order)


@reads("max.dim", "min.dim")
def largest(net: Network, call: Call) -> tuple[Any, ...]:
    x = net.in_order(call, call.placed("self"))
    axes, keeps = reduced_axes(call, x), bool(call["keepdim"])
    function = "max" if call.operator.startswith("aten.max") else "min"
    y = net.op(call, function, x.tensor, axis=x.axis(axes[0]), keepdims=keeps)
    return without_axes(y, call.shapes[0], x, axes, keeps), _INDICES


@reads("argmax.default", "argmin.default")
def place_of_largest(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    if call["dim"] is None:
        call.refuse("goes over the images of a batch", "Give it dim=.")
    axes, keeps = reduced_axes(call, x), bool(call["keepdim"])
    function = call.operator.removeprefix("aten.").removesuffix(".default")
    y = net.op(call, function, x.tensor, axis=x.axis(axes[0]), keepdims=keeps)
    return without_axes(y, call.shapes[0], x, axes, keeps)


@reads("var.dim", "std.dim", "var.default", "std.default")
@reads("var.correction", "std.correction")
def variance(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    axes, keeps = reduced_axes(call, x), bool(call.get("keepdim", False))
    count = math.prod(x.shape[axis] for axis in axes)
    correction = int(call.get("unbiased", True))
    if call.get("correction") is not None:
        correction = call["correction"]
    if count <= correction:
        call.refuse(f"has correction={correction} for {count} numbers", "It divides by zero.")
    places = tuple(sorted(x.axis(axis) for axis in axes))
    y = net.op(call, "var", x.tensor, axis=places, keepdims=keeps)
    if correction:
        y = net.op(call, "multiply", y, count / (count - correction), suffix=".correction")
    if call.operator.startswith("aten.std"):
        y = net.op(call, "sqrt", y, suffix=".root")
    return without_axes(y, call.shapes[0], x, axes, keeps)


@reads("linalg_vector_norm.default", "norm.ScalarOpt_dim")
def length(net: Network, call: Call) -> Placed:
    """The Euclidean length along axes."""
    order = call.get("ord", call.get("p"))
    if order not in (None, 2) or call.get("dtype") is not None:
        call.refuse(f"has ord={order}", "The Euclidean length, ord=2, can be taken over.")
    x = net.in_order(call, call.placed("self"))
    axes, keeps = reduced_axes(call, x), bool(call["keepdim"])
    squares = net.op(call, "square", x.tensor, suffix=".square")
    places = tuple(sorted(x.axis(axis) for axis in axes))
    total = net.op(call, "sum", squares, axis=places, keepdims=keeps, suffix=".sum")
    return without_axes(net.op(call, "sqrt", total), call.shapes[0], x, axes, keeps)


@reads("cumsum.default", "cumprod.default")
def running(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    axes = reduced_axes(call, x)
    function = call.operator.split(".")[1]
    return Placed(net.op(call, function, x.tensor, axis=x.axis(axes[0])), x.shape, x.order)
