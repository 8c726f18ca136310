"""Blocks of random modules that are functions of maps rather than layers: (n, c, sizes ...) in, maps out."""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A function of a module and its maps, with the layers that it uses."""

    def __init__(self, function: Callable[[Any, Any], Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def ones(x: Any) -> tuple[int, ...]:
    """Sizes of one number for every channel."""
    return (x.shape[1], *[1] * (x.ndim - 2))


def positions(x: Any) -> tuple[int, ...]:
    """All axes behind the channels."""
    return tuple(range(2, x.ndim))


# --- every rank


def excited(r: random.Random, x: Any) -> nn.Module:
    """Squeeze and excitation."""
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[x.ndim - 3]

    def run(s: Any, x: Any) -> Any:
        return x * torch.sigmoid(s.up(F.relu(s.down(x.mean(positions(x), keepdim=True)))))

    return Block(run, down=kind(x.shape[1], 2, 1), up=kind(2, x.shape[1], 1))


def gated(r: random.Random, x: Any) -> nn.Module:
    axis = r.choice(
        [a for a in range(1, x.ndim) if x.shape[a] % 2 == 0]
    )  # IndexError: another block is drawn
    return Block(lambda s, x: F.glu(x, axis))


def parameters(r: random.Random, x: Any) -> nn.Module:
    """Parameters and buffers of the module itself."""
    block = Block(lambda s, x: (x - s.mean) * s.scale + s.shift)
    block.scale = nn.Parameter(torch.rand(ones(x)))
    block.shift = nn.Parameter(torch.randn(1, *ones(x)))
    block.register_buffer("mean", torch.rand(1, *ones(x)))
    return block


def normed_behind(r: random.Random, x: Any) -> nn.Module:
    """Channels moved behind and back, as ConvNeXt does it."""
    channels = x.shape[1]
    norm = r.choice((nn.LayerNorm(channels, 1e-6), nn.RMSNorm(channels, 1e-5)))
    block = Block(lambda s, x: s.dense(s.norm(x.movedim(1, -1))).movedim(-1, 1), norm=norm)
    block.dense = nn.Linear(channels, r.randint(1, 4), r.random() < 0.5)
    return block


def attended(r: random.Random, x: Any) -> nn.Module:
    """Attention of all positions to each other."""
    if x[0, 0].numel() > 150:
        raise IndexError
    attention = nn.MultiheadAttention(x.shape[1], 1, bias=r.random() < 0.5, batch_first=True)

    def run(s: Any, x: Any) -> Any:
        flat = x.flatten(2).transpose(1, 2)
        return s.attention(flat, flat, flat, need_weights=False)[0].transpose(1, 2).reshape(x.shape)

    return Block(run, attention=attention)


def split(r: random.Random, x: Any) -> nn.Module:
    first = r.randint(1, x.shape[1])

    def run(s: Any, x: Any) -> Any:
        parts = x.split([first, x.shape[1] - first], 1) if first < x.shape[1] else x.chunk(1, 1)
        return torch.cat([torch.tanh(parts[0]), *parts[1:], x[:, :first].abs()], 1)

    return Block(run)


def mixed(r: random.Random, x: Any) -> nn.Module:
    """A product with a matrix of the module, along the channels."""
    block = Block(lambda s, x: torch.einsum(s.rule, x, s.matrix))
    letters = "hwd"[: x.ndim - 2]
    block.rule = f"bc{letters},ec->be{letters}"
    block.matrix = nn.Parameter(torch.randn(r.randint(1, 4), x.shape[1]))
    return block


FUNCTIONS: tuple[Callable[[Any], Any], ...] = (
    lambda x: F.normalize(x, dim=1, eps=1e-3),
    lambda x: x.softmax(1),
    lambda x: F.softmin(x, 1),
    lambda x: x.log_softmax(-1),
    lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: torch.clamp(x, -0.5, 0.5) + torch.clamp(x, min=0.2),
    lambda x: torch.maximum(x, -x) - torch.minimum(x, 0.3 * x),
    lambda x: x.flip(-1) + torch.roll(x, 1, 2),
    lambda x: x.cumsum(-1) * 0.2,
    lambda x: (x - x.mean(positions(x), keepdim=True)) / (x.var(positions(x), keepdim=True) + 0.5).sqrt(),
    lambda x: (x - x.amax(1, keepdim=True)).exp() + x.amin((1, 2), keepdim=True),
    lambda x: x * x.std((1, 2), keepdim=True, unbiased=False),
    lambda x: torch.stack([x, x.sin()], 2).flatten(1, 2),
    lambda x: x.pow(2).add(1.0).rsqrt() + (x.square() + 0.1).log(),
    lambda x: 1 - x.sigmoid().neg() / (1 + x.abs()),
    lambda x: x.transpose(1, -1),
    lambda x: x.repeat_interleave(2, -1),
    lambda x: torch.logsumexp(x, 1, keepdim=True) + x,
    lambda x: x.logaddexp(x * 0.5) * torch.erf(x),
    lambda x: x.sub(0.3, alpha=2.0).div(1.7).clamp_max(2.0),
    lambda x: torch.cat([x[..., ::2], x[..., 1::2]], -1) @ torch.eye(x.shape[-1], dtype=x.dtype),
    lambda x: x.unsqueeze(1).expand(-1, 2, *x.shape[1:]).reshape(x.shape[0], -1, *x.shape[2:]),
)


def function(r: random.Random, x: Any) -> nn.Module:
    chosen = r.choice(FUNCTIONS)
    return Block(lambda s, x: chosen(x))


# --- pictures


def shuffled(r: random.Random, x: Any) -> nn.Module:
    kind = r.choice(("up", "down", "channels"))
    if kind == "up":
        return nn.PixelShuffle(2)
    return nn.PixelUnshuffle(2) if kind == "down" else nn.ChannelShuffle(r.choice((1, 2, 3)))


def local(r: random.Random, x: Any) -> nn.Module:
    return nn.LocalResponseNorm(
        r.choice((2, 3)), r.choice((1e-4, 0.5)), r.choice((0.75, 0.5)), r.choice((1.0, 2.0))
    )


def sharpened(r: random.Random, x: Any) -> nn.Module:
    """Cubic and antialiased resizing."""
    size, corners = (r.randint(4, 8), r.randint(4, 8)), r.random() < 0.5
    mode, smooth = r.choice((("bicubic", False), ("bicubic", True), ("bilinear", True)))
    corners = corners and not smooth
    return Block(lambda s, x: F.interpolate(x, size, mode=mode, align_corners=corners, antialias=smooth))


def random_block(r: random.Random, x: Any) -> nn.Module:
    """A block for maps like `x`. Raises: IndexError where the one drawn cannot take them."""
    makers = [excited, gated, parameters, normed_behind, attended, split, mixed, *[function] * 6]
    if x.ndim == 4:
        makers += [shuffled, shuffled, local, sharpened]
    return r.choice(makers)(r, x)
