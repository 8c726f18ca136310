"""Convolutions, pooling, dense layers. PyTorch pads both sides alike: other borders are modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.torch.layouts import (
    conv_kernel,
    conv_weight,
    dense_kernel,
    dense_weight,
    depthwise_kernel,
    depthwise_weight,
    inverse,
)
from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.writing.activations import activated
from kernelearn.conversion.torch.writing.plan import Plan, Ref, Site, State
from kernelearn.conversion.torch.writing.table import by_rank, writes
from kernelearn.engine.geometry import resolve_padding, transpose_padding, window_counts

Pairs = tuple[tuple[int, int], ...]


def bordered(plan: Plan, at: Site, x: Ref, pads: Pairs, value: float = 0.0, suffix: str = "_pad") -> Ref:
    """A border of one number around the maps of (n, c, *space); PyTorch lists the last axis first."""
    if not any(map(any, pads)):
        return x
    flat = tuple(p for pair in reversed(pads) for p in pair)
    rank = len(pads)
    if value == 0.0:
        return plan.module(at, f"ZeroPad{rank}d", x, flat, suffix=suffix)
    return plan.module(at, f"ConstantPad{rank}d", x, flat, value, suffix=suffix)


def spatial(x: Placed, data_format: str) -> tuple[int, ...]:
    """Sizes of the spatial axes of a value of the model."""
    return x.shape[1:-1] if data_format == "channels_last" else x.shape[2:]


def pads_of(layer: Any, sizes: Sequence[int], window: Sequence[int]) -> Pairs:
    """Pixels (before, behind) of a layer's windows on every axis."""
    dilation = getattr(layer, "dilation_rate", (1,) * len(sizes))
    axes = zip(sizes, window, layer.strides, dilation)
    return tuple(resolve_padding(layer.padding, *axis) for axis in axes)


def finished(plan: Plan, at: Site, y: Ref, x: Placed) -> Placed:
    """The result of a layer with an activation at its end."""
    return activated(plan, at, Placed(y, at.shapes[0], x.order), at.layer.activation)


@writes(*by_rank("Conv*D"), "DepthwiseConv1D", "DepthwiseConv2D")
def conv(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    channels = x.shape[-1] if layer.data_format == "channels_last" else x.shape[1]
    if hasattr(layer, "depth_multiplier"):
        states = {"weight": at.weight("kernel", depthwise_weight, lambda w: depthwise_kernel(w, channels))}
        filters, groups = channels * layer.depth_multiplier, channels
    else:
        states = {"weight": at.weight("kernel", conv_weight, conv_kernel)}
        filters, groups = layer.filters, layer.groups
    if layer.use_bias:
        states["bias"] = at.weight("bias")
    y = _conv(plan, at, x, channels, filters, groups, states)
    return finished(plan, at, y, x)


def _conv(
    plan: Plan,
    at: Site,
    x: Placed,
    channels: int,
    filters: int,
    groups: int,
    states: dict[str, State],
    suffix: str = "",
) -> Ref:
    layer = at.layer
    pads = pads_of(layer, spatial(x, layer.data_format), layer.kernel_size)
    is_even = all(before == behind for before, behind in pads)
    tensor = x.tensor if is_even else bordered(plan, at, x.tensor, pads)
    return plan.module(
        at,
        f"Conv{len(pads)}d",
        tensor,
        channels,
        filters,
        layer.kernel_size,
        stride=layer.strides,
        padding=tuple(before for before, _ in pads) if is_even else (0,) * len(pads),
        dilation=layer.dilation_rate,
        groups=groups,
        bias="bias" in states,
        states=states,
        suffix=suffix,
    )


@writes("SeparableConv1D", "SeparableConv2D")
def separable(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    channels = x.shape[-1] if layer.data_format == "channels_last" else x.shape[1]
    middle, rank = channels * layer.depth_multiplier, len(layer.kernel_size)
    states = {
        "weight": at.weight("depthwise_kernel", depthwise_weight, lambda w: depthwise_kernel(w, channels))
    }
    deep = _conv(plan, at, x, channels, middle, channels, states, ".depthwise")
    mixed = {"weight": at.weight("pointwise_kernel", conv_weight, conv_kernel)}
    if layer.use_bias:
        mixed["bias"] = at.weight("bias")
    y = plan.module(
        at,
        f"Conv{rank}d",
        deep,
        middle,
        layer.filters,
        (1,) * rank,
        stride=(1,) * rank,
        padding=(0,) * rank,
        dilation=(1,) * rank,
        groups=1,
        bias=layer.use_bias,
        states=mixed,
        suffix=".pointwise",
    )
    return finished(plan, at, y, x)


@writes(*by_rank("Conv*DTranspose"))
def transposed(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    """padding and output_padding where they say it, else the full output and a slice."""
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    rank = len(layer.kernel_size)
    channels = x.shape[-1] if layer.data_format == "channels_last" else x.shape[1]
    extra = layer.output_padding or (None,) * rank
    axes = zip(layer.kernel_size, layer.strides, layer.dilation_rate, extra)
    crops = [transpose_padding(layer.padding, k, s, d, e) for k, s, d, e in axes]
    steps = [max(s, d) for s, d in zip(layer.strides, layer.dilation_rate)]
    said = [0 <= before - behind < step and before >= 0 for (before, behind), step in zip(crops, steps)]
    states = {"weight": at.weight("kernel", conv_weight, conv_kernel)}
    if layer.use_bias:
        states["bias"] = at.weight("bias")
    y = plan.module(
        at,
        f"ConvTranspose{rank}d",
        x.tensor,
        channels,
        layer.filters,
        layer.kernel_size,
        stride=layer.strides,
        padding=tuple(b if ok else 0 for (b, _), ok in zip(crops, said)),
        output_padding=tuple(b - a if ok else 0 for (b, a), ok in zip(crops, said)),
        groups=layer.groups,
        bias=layer.use_bias,
        dilation=layer.dilation_rate,
        states=states,
    )
    if not all(said):
        parts = [slice(None) if ok else slice(b, -a or None) for (b, a), ok in zip(crops, said)]
        y = plan.call(at, "operator.getitem", y, (slice(None), slice(None), *parts))
    return finished(plan, at, y, x)


@writes("Dense")
def dense(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer, x = at.layer, values[0]
    last = x.rank - 1
    if x.order[-1] != last:
        x = plan.ordered(at, x, (*(axis for axis in x.order if axis != last), last))
    places, back = x.places, None if x.places is None else inverse(x.places)
    states = {
        "weight": at.weight("kernel", lambda k: dense_weight(k, places), lambda w: dense_kernel(w, back))
    }
    if layer.use_bias:
        states["bias"] = at.weight("bias")
    y = plan.module(at, "Linear", x.tensor, x.shape[-1], layer.units, bias=layer.use_bias, states=states)
    return activated(plan, at, Placed(y, at.shapes[0], x.order), layer.activation)


@writes("Embedding")
def embedding(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    if layer.mask_zero:
        at.refuse("has mask_zero=True, and PyTorch has no masks", "Make it with mask_zero=False.")
    x = plan.plain(at, values[0])
    y = plan.module(
        at,
        "Embedding",
        x.tensor,
        layer.input_dim,
        layer.output_dim,
        states={"weight": at.weight("embeddings")},
    )
    return Placed(y, at.shapes[0], tuple(range(len(at.shapes[0]))))


# --- pooling


@writes(*by_rank("MaxPooling*D"))
def max_pooling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    pads = pads_of(layer, spatial(x, layer.data_format), layer.pool_size)
    return Placed(pooled_max(plan, at, x.tensor, pads, layer.pool_size, layer.strides), at.shapes[0], x.order)


def pooled_max(plan: Plan, at: Site, x: Ref, pads: Pairs, size: Sequence[int], strides: Sequence[int]) -> Ref:
    """The largest number of every window; padded pixels never win."""
    rank = len(pads)
    is_even = all(before == behind and 2 * before <= k for (before, behind), k in zip(pads, size))
    if not is_even:
        x = bordered(plan, at, x, pads, -math.inf)
    padding = tuple(before for before, _ in pads) if is_even else (0,) * rank
    return plan.module(
        at,
        f"MaxPool{rank}d",
        x,
        tuple(size),
        stride=tuple(strides),
        padding=padding,
        dilation=1,
        ceil_mode=False,
    )


@writes(*by_rank("AveragePooling*D"))
def average_pooling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    sizes = spatial(x, layer.data_format)
    pads = pads_of(layer, sizes, layer.pool_size)
    y = pooled_average(plan, at, x.tensor, sizes, pads, layer.pool_size, layer.strides)
    return Placed(y, at.shapes[0], x.order)


def pooled_average(
    plan: Plan,
    at: Site,
    x: Ref,
    sizes: Sequence[int],
    pads: Pairs,
    size: Sequence[int],
    strides: Sequence[int],
) -> Ref:
    """The mean of the real pixels of every window."""
    rank = len(pads)
    is_even = all(before == behind and 2 * before <= k for (before, behind), k in zip(pads, size))
    tensor = x if is_even else bordered(plan, at, x, pads)
    padding = tuple(before for before, _ in pads) if is_even else (0,) * rank
    y = plan.module(
        at,
        f"AvgPool{rank}d",
        tensor,
        tuple(size),
        stride=tuple(strides),
        padding=padding,
        ceil_mode=False,
        count_include_pad=not is_even,
    )
    if is_even:
        return y
    counts = [window_counts(*axis) for axis in zip(sizes, size, strides, pads)]
    real = math.prod(np.ix_(*[np.asarray(c, np.float64) for c in counts]))
    factors = np.asarray(math.prod(size) / np.asarray(real), plan.dtype)[None, None]
    chosen = plan.constant(at, factors, "_counts")
    return plan.call(at, "torch.mul", y, chosen)


@writes(*by_rank("GlobalAveragePooling*D"), *by_rank("GlobalMaxPooling*D"))
def global_pooling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    rank = x.rank - 2
    kind = "Max" if "Max" in type(layer).__name__ else "Avg"
    y = plan.module(at, f"Adaptive{kind}Pool{rank}d", x.tensor, 1)
    if layer.keepdims:
        return Placed(y, at.shapes[0], x.order)
    return Placed(plan.module(at, "Flatten", y, 1, suffix="_flatten"), at.shapes[0], (0, 1))


@writes(*by_rank("AdaptiveAveragePooling*D"), *by_rank("AdaptiveMaxPooling*D"))
def adaptive_pooling(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    kind = "Max" if "Max" in type(layer).__name__ else "Avg"
    y = plan.module(at, f"Adaptive{kind}Pool{x.rank - 2}d", x.tensor, layer.output_size)
    return Placed(y, at.shapes[0], x.order)
