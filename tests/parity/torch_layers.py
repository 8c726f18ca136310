"""The convolution and pooling cases of `layer_cases.py` run by torch.nn.functional, in float64.

PyTorch is channels first and pads symmetrically: arrays are transposed, and paddings and crops are made
    explicit.
"""

import numpy as np
import torch
import torch.nn.functional as F

from kernelearn.engine import geometry
from tests.parity.layer_cases import BATCH, LayerCase

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def run_layer(case: LayerCase) -> list[np.ndarray]:
    """[output, gradient of the input, gradients of the weights]."""
    x = torch.tensor(case.inputs()[0], requires_grad=True)
    weights = [torch.tensor(w, requires_grad=True) for w in case.weights(weight_shapes(case))]
    y = _forward(case, x, *weights)
    torch.sum(
        torch.mean(torch.square(y - torch.tensor(case.target(y.shape))).reshape(BATCH, -1), dim=1)
    ).backward()
    return [t.numpy() for t in (y.detach(), x.grad, *[w.grad for w in weights])]


def weight_shapes(case: LayerCase) -> list[tuple[int, ...]]:
    """Kernels as Keras shapes them, and the bias."""
    if "Pooling" in case.layer:
        return []
    size, channels, arguments = tuple(case.arguments["kernel_size"]), case.shapes[0][-1], case.arguments
    filters, multiplier = arguments.get("filters", 0), arguments.get("depth_multiplier", 1)
    if case.layer.startswith("Depthwise"):
        return [(*size, channels, multiplier), (channels * multiplier,)]
    if case.layer.startswith("Separable"):
        pointwise = (*(1,) * len(size), channels * multiplier, filters)
        return [(*size, channels, multiplier), pointwise, (filters,)]
    if "Transpose" in case.layer:
        return [(*size, filters, channels), (filters,)]
    return [(*size, channels // arguments.get("groups", 1), filters), (filters,)]


def _forward(case: LayerCase, x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """The layer on channels-last x, channels last again."""
    y = torch.movedim(x, -1, 1)
    if "Pooling" in case.layer:
        return torch.movedim(_pool(case, y), 1, -1)
    *kernels, bias = weights
    if "Transpose" in case.layer:
        y = _transposed(case, y, kernels[0])
    elif case.layer.startswith("Conv"):
        y = _conv(case, y, kernels[0], case.arguments.get("groups", 1))
    else:
        depthwise = kernels[0].reshape(*kernels[0].shape[:-2], 1, -1)
        y = _conv(case, y, depthwise, y.shape[1])
        if len(kernels) == 2:
            y = CONV[x.ndim - 2](y, _out_in_first(kernels[1]))
    return torch.movedim(y, 1, -1) + bias


def _out_in_first(kernel: torch.Tensor) -> torch.Tensor:
    """(*size, in, out) as (out, in, *size)."""
    return torch.movedim(kernel, (-1, -2), (0, 1)).contiguous()


def _conv(case: LayerCase, y: torch.Tensor, kernel: torch.Tensor, groups: int) -> torch.Tensor:
    arguments, sizes = case.arguments, y.shape[2:]
    axes = zip(sizes, arguments["kernel_size"], arguments["strides"], arguments["dilation_rate"])
    y = F.pad(y, _flat([geometry.resolve_padding(arguments["padding"], *axis) for axis in axes]))
    stride, dilation = tuple(arguments["strides"]), tuple(arguments["dilation_rate"])
    return CONV[len(sizes)](y, _out_in_first(kernel), stride=stride, dilation=dilation, groups=groups)


def _transposed(case: LayerCase, y: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The full transposed convolution, cropped to (or filled up to) the documented sizes of Keras."""
    arguments = case.arguments
    sizes, strides, spans = y.shape[2:], arguments["strides"], arguments["kernel_size"]
    full = TRANSPOSED[len(sizes)](y, _out_in_first(kernel), stride=tuple(strides))
    pads = []
    for n, s, k, there in zip(sizes, strides, spans, full.shape[2:]):
        wanted = n * s if arguments["padding"] == "same" else (n - 1) * s + max(k, s)
        before = max(k - s, 0) // 2 if arguments["padding"] == "same" else 0
        pads.append((-before, wanted - there + before))
    return F.pad(full, _flat(pads))


def _pool(case: LayerCase, y: torch.Tensor) -> torch.Tensor:
    arguments, rank = case.arguments, y.ndim - 2
    size, stride = tuple(arguments["pool_size"]), tuple(arguments["strides"])
    pads = _flat(
        [geometry.resolve_padding(arguments["padding"], *axis) for axis in zip(y.shape[2:], size, stride)]
    )
    if case.layer.startswith("Max"):
        return MAX[rank](F.pad(y, pads, value=-np.inf), size, stride)
    real = F.pad(torch.ones_like(y), pads)
    return MEAN[rank](F.pad(y, pads), size, stride) / MEAN[rank](real, size, stride)


def _flat(pads) -> list[int]:
    """(before, after) per axis as torch takes them: last axis first."""
    return [int(p) for pair in reversed(pads) for p in pair]
