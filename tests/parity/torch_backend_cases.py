"""All operators that the engine inside PyTorch takes: family -> cases (function, shape, weights)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

IMAGES = (3, 4, 6, 5)
ROWS = (3, 7)


@dataclass(frozen=True)
class Case:
    """One use: function (x, *weights) -> result, of an input and weights of these shapes."""

    function: Callable[..., Any]
    shape: tuple[int, ...] = IMAGES
    weights: tuple[tuple[int, ...], ...] = ()


def cases(shape: tuple[int, ...], *functions: Callable[..., Any]) -> list[Case]:
    return [Case(function, shape) for function in functions]


ACTIVATIONS = (
    F.relu,
    F.relu6,
    F.hardtanh,
    lambda x: F.hardtanh(x, -0.5, 2.0),
    F.silu,
    F.gelu,
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: F.leaky_relu(x, 0.1),
    lambda x: F.leaky_relu(x, -0.3),
    F.elu,
    lambda x: F.elu(x, 0.5),
    lambda x: F.celu(x, 0.7),
    F.selu,
    F.sigmoid,
    F.tanh,
    F.hardswish,
    F.hardsigmoid,
    F.softplus,
    lambda x: F.softplus(x, 2.0, 1.5),
    F.mish,
    F.logsigmoid,
    lambda x: F.softshrink(x, 0.5),
    lambda x: F.hardshrink(x, 0.5),
    F.tanhshrink,
    F.softsign,
    lambda x: F.threshold(x, 0.5, -0.25),
    lambda x: x.clamp(-1, 1),
    lambda x: x.clamp(min=0.5),
    lambda x: x.clamp(max=0.5),
    lambda x: F.rrelu(x, 0.1, 0.3, training=False),
)
FUNCTIONS = (
    lambda x: (x * x + 0.1).sqrt(),
    lambda x: (x * x + 0.1).rsqrt(),
    torch.exp,
    lambda x: (x * x + 0.1).log(),
    lambda x: torch.log1p(x * x),
    torch.sin,
    torch.cos,
    torch.atan,
    torch.erf,
    lambda x: (x + 8).reciprocal(),
    torch.square,
    lambda x: x**3,
    lambda x: (x + 8) ** 0.5,
    lambda x: (x + 8) ** 1.5,
    torch.abs,
    lambda x: -x,
    lambda x: x * 0.5 + 2,
    lambda x: 1 - x / 3,
    lambda x: 2 / (x + 8),
    lambda x: torch.sub(x, x.square(), alpha=0.5),
)
C11, ONE, CHW = (4, 1, 1), (1,), (4, 6, 5)
ARITHMETIC = [
    Case(lambda x, w: x + w, IMAGES, (C11,)),
    Case(lambda x, w: x - w, IMAGES, ((1, *C11),)),
    Case(lambda x, w: w * x, IMAGES, (CHW,)),
    Case(lambda x, w: x / (w + 9), IMAGES, ((5,),)),
    Case(lambda x, w: torch.add(x, w, alpha=0.3), IMAGES, (ONE,)),
    Case(lambda x, w: w - x, IMAGES, ((),)),
    Case(lambda x: x * x.mean((2, 3), keepdim=True)),
    Case(lambda x: x * x[:, :1]),
    Case(lambda x, w: torch.maximum(x, w), IMAGES, (CHW,)),
    Case(lambda x, w: torch.minimum(w, x), IMAGES, (C11,)),
    Case(lambda x, w: F.prelu(x, w), IMAGES, ((4,),)),
    Case(lambda x, w: F.prelu(x, w), IMAGES, (ONE,)),
    Case(lambda x, w: F.prelu(x, w), ROWS, ((7,),)),
    Case(lambda x, w: x * w, ROWS, ((7,),)),
]
CONVOLUTIONS = [
    Case(lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2)), IMAGES, ((6, 4, 3, 2), (6,))),
    Case(lambda x, w: F.conv2d(x, w, dilation=2, groups=2, padding=2), IMAGES, ((6, 2, 3, 3),)),
    Case(lambda x, w: F.conv2d(x, w, padding="same"), IMAGES, ((2, 4, 4, 3),)),
    Case(lambda x, w: F.conv2d(x, w, padding="valid", groups=4), IMAGES, ((8, 1, 3, 3),)),
    Case(lambda x, w, b: F.conv1d(x, w, b, 2, 1), (3, 4, 11), ((5, 4, 3), (5,))),
    Case(lambda x, w: F.conv1d(x, w, padding="same", dilation=2, groups=2), (3, 4, 11), ((4, 2, 2),)),
    Case(lambda x, w, b: F.conv3d(x, w, b, padding=1, stride=2), (3, 2, 5, 4, 6), ((3, 2, 3, 3, 3), (3,))),
    Case(lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1), (3, 4, 6), ((4, 2, 3), (2,))),
    Case(lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1), IMAGES, ((4, 3, 3, 3),)),
    Case(lambda x, w: F.conv_transpose2d(x, w, groups=2, dilation=2), IMAGES, ((4, 3, 2, 2),)),
    Case(lambda x, w, b: F.conv_transpose3d(x, w, b, 2), (3, 2, 3, 3, 3), ((2, 2, 2, 2, 2), (2,))),
]
NORMS = [
    Case(lambda x, w, b: F.layer_norm(x, (4, 6, 5), w, b), IMAGES, (CHW, CHW)),
    Case(lambda x: F.layer_norm(x, (5,)), IMAGES),
    Case(lambda x, w: F.layer_norm(x.permute(0, 2, 3, 1), (4,), w), IMAGES, ((4,),)),
    Case(lambda x, w, b: F.layer_norm(x, (7,), w, b, 1e-3), ROWS, ((7,), (7,))),
    Case(lambda x, w, b: F.group_norm(x, 2, w, b), IMAGES, ((4,), (4,))),
    Case(lambda x: F.group_norm(x, 4), (3, 4, 11)),
    Case(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), IMAGES, ((4,), (4,))),
    Case(lambda x, w: F.rms_norm(x, (7,), w), ROWS, ((7,),)),
]
MAPS, VOLUMES, LINES = (3, 2, 9, 8), (3, 2, 6, 5, 4), (3, 2, 11)
POOLS = [
    *cases(
        MAPS,
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: F.max_pool2d(x, (2, 3), (2, 3), (1, 1), ceil_mode=True),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 2, divisor_override=3),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
        lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
        lambda x: F.adaptive_max_pool2d(x, (3, 2)),
        lambda x: F.max_pool2d(x, 2, 1, dilation=3),
        lambda x: F.max_pool2d(F.relu(x), (3, 2), 2, 1, dilation=(2, 1), ceil_mode=True),
    ),
    *cases(LINES, lambda x: F.max_pool1d(x, 3, 2, 1), lambda x: F.avg_pool1d(x, 3, 2, 1)),
    *cases(LINES, lambda x: F.adaptive_avg_pool1d(x, 4), lambda x: F.adaptive_max_pool1d(x, 1)),
    *cases(VOLUMES, lambda x: F.max_pool3d(x, 2), lambda x: F.avg_pool3d(x, 2, 1, 1)),
    *cases(VOLUMES, lambda x: F.adaptive_avg_pool3d(x, 2)),
]
SIZES = [
    *cases(
        IMAGES,
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, size=(12, 15)),
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
        lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"),
        lambda x: F.interpolate(x, size=(7, 9), mode="bilinear"),
        lambda x: F.interpolate(x, size=(4, 3), mode="bilinear"),
        lambda x: F.pad(x, (1, 2, 0, 3)),
        lambda x: F.pad(x, (1, -1), value=0.5),
        lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),
        lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"),
        lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.pixel_unshuffle(x[:, :, :, :4], 2),
    ),
    *cases((3, 2, 5), lambda x: F.interpolate(x, scale_factor=2, mode="linear")),
    *cases((3, 2, 3, 4, 2), lambda x: F.interpolate(x, scale_factor=2, mode="trilinear")),
]
PARTS = [
    *cases(
        IMAGES,
        lambda x: torch.cat([x, x * 2, x[:, :1]], 1),
        lambda x: torch.cat([x, x * 2], -1),
        lambda x: torch.stack([x, x * 2], 2),
        lambda x: x.chunk(2, 1)[1] * 2,
        lambda x: x.split([1, 3], 1)[1] * 2,
        lambda x: x[:, 1:3, ::2, -2:] * 2,
        lambda x: x[:, 2] * 2,
        lambda x: (x * 2).unbind(2)[1],
        lambda x: (x * 2).flip(3),
        lambda x: F.glu(x, 1),
        lambda x: (x * 2).permute(0, 2, 3, 1),
        lambda x: (x * 2).transpose(1, 3).tanh(),
        lambda x: (x * 2).flatten(2).transpose(1, 2),
        lambda x: (x * 2).flatten(1),
        lambda x: (x * 2).view(3, 2, 2, 6, 5).transpose(1, 2).reshape(3, 4, 6, 5),
        lambda x: (x * 2).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
        lambda x: (x * 2).unsqueeze(1).sigmoid(),
        lambda x: (x * 2)[:, :1].expand(-1, 4, -1, -1).tanh(),
        lambda x: (x * 2).repeat(1, 2, 1, 3),
        lambda x: (x * 2).roll((1, -2), (2, 3)),
        lambda x: x.permute(0, 2, 3, 1).roll(shifts=(3, 9), dims=(1, 2)) * 2,
        lambda x: (x * 2)[:, [3, 0, 1, 3]],
        lambda x: (x * 2)[:, :, torch.tensor([[0, 5], [2, 2]])],
        lambda x: (x * 2)[..., torch.arange(4, -1, -2)],
        lambda x: (x * 2).index_select(-1, torch.tensor([4, 1, 1])),
    ),
]
REDUCTIONS = [
    *cases(
        IMAGES,
        lambda x: x.mean((2, 3)),
        lambda x: x.mean(1, keepdim=True),
        lambda x: x.mean(),
        lambda x: x.sum((1, 3)),
        lambda x: x.sum(),
        lambda x: x.amax((2, 3)),
        lambda x: x.amin(1),
        lambda x: x.var((2, 3)),
        lambda x: x.var(1, correction=0, keepdim=True),
        lambda x: x.softmax(1),
        lambda x: x.log_softmax(-1),
        lambda x: x.std((2, 3)),
        lambda x: x.norm(dim=1, keepdim=True),
        lambda x: F.relu(x).norm(dim=(1, 2)),
        lambda x: F.normalize(F.relu(x), dim=1),
        lambda x: x.logsumexp((1, 2)),
        lambda x: x.logsumexp(3, keepdim=True),
        lambda x: F.relu(x).max(1)[0],
        lambda x: torch.max(F.relu(x), -1, keepdim=True).values,
        lambda x: x.max(2).values,
        lambda x: x.flatten(2).max(2)[0],
        lambda x: F.relu(x).min(1, keepdim=True)[0],
    ),
    *cases(
        ROWS, lambda x: x.softmax(-1), lambda x: F.log_softmax(x, 1), lambda x: x.sum(0), lambda x: x.mean(0)
    ),
]
PRODUCTS = [
    Case(lambda x, w, b: F.linear(x, w, b), ROWS, ((5, 7), (5,))),
    Case(lambda x, w: F.linear(x, w), (3, 4, 7), ((5, 7),)),
    Case(lambda x, w: x @ w, ROWS, ((7, 4),)),
    Case(lambda x, w: x @ w, (3, 4, 7), ((7, 4),)),
    Case(lambda x: x @ x.transpose(-2, -1), (3, 4, 7)),
    Case(lambda x: torch.bmm(x, x.transpose(1, 2)), (3, 4, 7)),
    Case(lambda x, w: torch.einsum("nchw,kc->nkhw", x, w), IMAGES, ((3, 4),)),
    Case(lambda x, w: torch.einsum("kc,nchw->nhwk", w, x), IMAGES, ((3, 4),)),
    Case(lambda x, w: torch.einsum("nhtd,hde->nthe", x, w), IMAGES, ((4, 5, 2),)),
    Case(lambda x, w: torch.einsum("nchw, chwk -> nk", x, w), IMAGES, ((4, 6, 5, 3),)),
    Case(lambda x: torch.einsum("nhqd,nhkd->nhqk", x, x * 0.5), IMAGES),
    Case(lambda x: torch.einsum("bchw,bdhw->bcd", x, x), IMAGES),
    Case(lambda x, w: torch.einsum("nchw,c->nhw", x, w), IMAGES, ((4,),)),
    Case(lambda x: torch.einsum("nc,nchw->nchw", x.mean((2, 3)), x), IMAGES),
    Case(lambda x, w, b: torch.addmm(b, x, w, beta=0.5, alpha=2), ROWS, ((7, 4), (4,))),
    Case(lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1), (3, 2, 5, 4)),
    Case(lambda x, w: F.scaled_dot_product_attention(x, x, x, w, scale=0.3), (3, 2, 5, 4), ((5, 5),)),
    Case(lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1, is_causal=True), (3, 2, 5, 4)),
    Case(lambda x: F.scaled_dot_product_attention(x, x[:, :, :3], x[:, :, 2:], is_causal=True), (3, 2, 5, 4)),
    Case(lambda x, w: F.scaled_dot_product_attention(x, x, x, w > -0.2), (3, 2, 5, 4), ((5, 5),)),
    Case(lambda x: F.scaled_dot_product_attention(x, x, x, x[:, :, :, :1] > x[:, :, :1, 0:1]), (3, 2, 5, 4)),
]
CONDITIONS = [
    *cases(
        IMAGES,
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: torch.where((x > 0) & (x < 1), x, x * x),
        lambda x: torch.where((x >= 0.5) | (x <= -0.5), 0.25, x),
        lambda x: torch.where(~(x > x.mean((2, 3), keepdim=True)), x * 2, -1.0),
        lambda x: torch.where(torch.isnan(x), 0.0, x),
        lambda x: x.masked_fill(x < 0, 0.5),
        lambda x: x.permute(0, 2, 3, 1).masked_fill(x[:, :1].permute(0, 2, 3, 1) > 0, -2.0),
        lambda x: x * (x > 0.2),
        lambda x: x * (x != 0.2).float() + (x == 0.2),
        lambda x: (x > 0) * 2.0 - x.le(1.0).to(x.dtype),
        lambda x: (x > 0, x * 2),
    ),
    Case(lambda x, w: torch.where(x > w, x, w), IMAGES, (C11,)),
]
FAMILIES = {
    "activations": cases(IMAGES, *ACTIVATIONS),
    "functions": cases(IMAGES, *FUNCTIONS),
    "arithmetic": ARITHMETIC,
    "convolutions": CONVOLUTIONS,
    "norms": NORMS,
    "pools": POOLS,
    "sizes": SIZES,
    "parts": PARTS,
    "reductions": REDUCTIONS,
    "products": PRODUCTS,
    "conditions": CONDITIONS,
}


class Family(nn.Module):
    """All cases of a family beside each other, each with an input and weights of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.cases = FAMILIES[name]
        self.weights = nn.ParameterList([torch.randn(s) * 0.5 for case in self.cases for s in case.weights])

    def forward(self, *inputs: torch.Tensor) -> list[Any]:
        results, taken = [], 0
        for case, x in zip(self.cases, inputs):
            count = len(case.weights)
            results.append(case.function(x, *self.weights[taken : taken + count]))
            taken += count
        return results

    def inputs(self) -> list[torch.Tensor]:
        return [torch.randn(case.shape) * 2 for case in self.cases]
