"""Convolutions, plain, grouped, depthwise and transposed, and dense layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.torch.layouts import conv_kernel, dense_kernel, depthwise_kernel
from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.reading.network import Learned, Network
from kernelearn.conversion.torch.reading.table import Call, pair, reads

CONV: dict[int, Any] = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
TRANSPOSED = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
ZEROS = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}
CROPS = {1: layers.Cropping1D, 2: layers.Cropping2D, 3: layers.Cropping3D}


@reads("conv1d.default", "conv2d.default", "conv3d.default")
@reads("conv1d.padding", "conv2d.padding", "conv3d.padding")
def conv(net: Network, call: Call) -> Placed:
    x = net.images(call, call.placed("input"))
    weight, rank = need_weight(call, "weight"), x.rank - 2
    size, stride = tuple(weight.shape[2:]), pair(call["stride"], rank)
    dilation, groups = pair(call["dilation"], rank), int(call["groups"])
    pads = _pads(call["padding"], rank, size, dilation)
    tensor, padding = _padded(net, call, x, pads, size, stride, dilation)
    thinned = max(stride) > 1 and max(dilation) > 1
    given: dict[str, Any] = {
        "kernel_size": size,
        "strides": (1,) * rank if thinned else stride,
        "dilation_rate": dilation,
        "padding": padding,
        "use_bias": call["bias"] is not None,
    }
    channels, kind = x.shape[1], CONV[rank]
    moved: Any = conv_kernel
    if groups == channels > 1 and rank in DEPTHWISE:
        kind, given["depth_multiplier"] = DEPTHWISE[rank], weight.shape[0] // channels
        moved = lambda w: depthwise_kernel(w, channels)  # noqa: E731
    else:
        given.update(filters=int(weight.shape[0]), groups=groups)
    y = net.layer(call, kind, tensor, _weights(weight, call["bias"], moved), **given)
    if thinned:
        # A stride on top of a dilation is the same convolution at every step-th place.
        key = (slice(None), *(slice(None, None, step) for step in stride), slice(None))
        y = net.op(call, "get_item", y, key, suffix=".every")
    return Placed(y, call.shapes[0], x.order)


def _weights(weight: Any, bias: Any, moved: Any) -> dict[str, Learned]:
    found = {"kernel": Learned(weight, moved)}
    return found if bias is None else {**found, "bias": Learned(bias)}


def need_weight(call: Call, argument: str) -> Any:
    """A weight: a tensor of the module.

    Raises: ArgumentError where it follows from the input.
    """
    value = call[argument]
    if isinstance(value, Placed):
        call.refuse(
            f"has a {argument} that follows from the input", "Only learned weights can be taken over."
        )
    return value


def _pads(padding: Any, rank: int, size: Any, dilation: Any) -> list[tuple[int, int]]:
    """Pixels (before, behind) for each axis; "same" in PyTorch has no stride and the larger half behind."""
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(size, dilation)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in pair(0 if padding == "valid" else padding, rank)]


def _padded(
    net: Network, call: Call, x: Placed, pads: Any, size: Any, stride: Any, dilation: Any
) -> tuple[Any, str]:
    """The input and the padding of the layer: "same" where that is what the module does."""
    if not any(map(any, pads)):
        return x.tensor, "valid"
    same = [((k - 1) * d // 2, (k - 1) * d - (k - 1) * d // 2) for k, d in zip(size, dilation)]
    if max(stride) == 1 and list(pads) == same:
        return x.tensor, "same"
    return net.layer(call, ZEROS[len(pads)], x.tensor, padding=tuple(pads), suffix=".pad"), "valid"


@reads("conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input")
def conv_transpose(net: Network, call: Call) -> Placed:
    """The full output, cropped: one rule for every padding."""
    x = net.images(call, call.placed("input"))
    weight, rank, groups = need_weight(call, "weight"), x.rank - 2, int(call["groups"])
    stride, dilation = pair(call["stride"], rank), pair(call["dilation"], rank)
    pads, extra = pair(call["padding"], rank), pair(call["output_padding"], rank)
    if max(stride) > 1 and max(dilation) > 1:
        call.refuse(
            f"has stride={stride} and dilation={dilation}", "Transposed convolutions here have one of both."
        )
    if any(e >= s for e, s in zip(extra, stride)):
        call.refuse(f"has output_padding={extra} and stride={stride}", "Here it has to be below the stride.")
    given = {
        "kernel_size": tuple(weight.shape[2:]),
        "strides": stride,
        "dilation_rate": dilation,
        "padding": "valid",
        "output_padding": extra,
        "filters": int(weight.shape[1]) * groups,
        "groups": groups,
        "use_bias": call["bias"] is not None,
    }
    y = net.layer(call, TRANSPOSED[rank], x.tensor, _weights(weight, call["bias"], conv_kernel), **given)
    if any(pads):
        y = net.layer(call, CROPS[rank], y, cropping=tuple((p, p) for p in pads), suffix=".crop")
    return Placed(y, call.shapes[0], x.order)


@reads("linear.default")
def linear(net: Network, call: Call) -> Placed:
    x, weight = call.placed("input"), need_weight(call, "weight")
    last = x.rank - 1
    if x.order[-1] != last:
        x = net.ordered(call, x, (*(axis for axis in x.order if axis != last), last))
    places = x.places
    learned = _weights(weight, call["bias"], lambda w: dense_kernel(w, places))
    y = net.layer(
        call,
        layers.Dense,
        x.tensor,
        learned,
        units=int(weight.shape[0]),
        use_bias=call["bias"] is not None,
        places=places,
    )
    return Placed(y, call.shapes[0], x.order)


@reads("addmm.default")
def addmm(net: Network, call: Call) -> Placed:
    """input + mat1 mat2, as a dense layer."""
    x, weight, bias = call.placed("mat1"), need_weight(call, "mat2"), need_weight(call, "self")
    if call["beta"] != 1 or call["alpha"] != 1:
        call.refuse(f"has beta={call['beta']} and alpha={call['alpha']}", "Write the factors as products.")
    places = x.places
    learned = {
        "kernel": Learned(weight, lambda w: w if places is None else w[places]),
        "bias": Learned(bias, lambda b: np.broadcast_to(b, (weight.shape[1],))),
    }
    y = net.layer(call, layers.Dense, x.tensor, learned, units=int(weight.shape[1]), places=places)
    return Placed(y, call.shapes[0], x.order)


@reads("embedding.default")
def embedding(net: Network, call: Call) -> Placed:
    x, weight = call.placed("indices"), need_weight(call, "weight")
    if call["scale_grad_by_freq"] or call["sparse"]:
        net.note(f"{call.name}: scale_grad_by_freq and sparse change gradients in PyTorch, and do not here.")
    if call["padding_idx"] >= 0:
        net.note(
            f"{call.name}: padding_idx={call['padding_idx']} keeps a row from training in PyTorch; here "
            "it trains."
        )
    y = net.layer(
        call,
        layers.Embedding,
        net.plain(call, x).tensor,
        {"embeddings": Learned(weight)},
        input_dim=int(weight.shape[0]),
        output_dim=int(weight.shape[1]),
    )
    return Placed(y, call.shapes[0], tuple(range(len(call.shapes[0]))))
