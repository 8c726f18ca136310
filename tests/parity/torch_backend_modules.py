"""Random modules for the engine inside PyTorch: those of conversion, and what only a training loop meets.

Added are operators in place, layers called twice, batch normalisation in each of its modes, gates, attention,
slices and parts that no engine takes. `backend_module(seed)` is the whole sweep: 300 seeds are tried.
"""

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.parity.torch_random import ACTIVATIONS, RandomNet, settled

# The slopes of RReLU are drawn anew in each type, so that float64 is no truth for it.
_SAME_IN_EACH_TYPE = tuple(make for make in ACTIVATIONS if not isinstance(make(random.Random(0)), nn.RReLU))
_IN_PLACE: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.relu_,
    torch.sigmoid_,
    torch.tanh_,
    F.hardtanh_,
    F.elu_,
    lambda x: F.leaky_relu_(x, 0.1),
    lambda x: F.silu(x, inplace=True),
    lambda x: F.relu6(x, inplace=True),
    lambda x: F.hardswish(x, inplace=True),
    lambda x: F.hardsigmoid(x, inplace=True),
    lambda x: x.mul_(0.5).add_(0.1),
    lambda x: x.clamp_(-0.8, 0.9),
)
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def pooled(x: Tensor) -> Tensor:
    """The mean of each map, kept as a map of one place."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


class Residual(nn.Module):
    """A block that adds its shortcut in place and activates in place."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.conv1 = CONV[rank - 1](channels, channels, 3, padding=1, bias=False)
        self.norm = BATCH_NORM[rank - 1](channels)
        self.conv2 = CONV[rank - 1](channels, channels, 1)
        self.act, self.keeps = r.choice(_IN_PLACE), r.random() < 0.3

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.norm(self.conv1(x)), inplace=True))
        before = y * 2 if self.keeps else None
        y += x
        y = self.act(y)
        return y if before is None else y + before


class Shared(nn.Module):
    """One convolution and one normalisation, called twice."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.conv = CONV[rank - 1](channels, channels, 3, padding=1)
        self.norm = BATCH_NORM[rank - 1](channels)
        self.act = r.choice(_SAME_IN_EACH_TYPE)(r)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.act(self.norm(self.conv(x)))))


class Gate(nn.Module):
    """Squeeze and excitation: each map is weighed by one number."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = CONV[rank - 1](channels, 2, 1), CONV[rank - 1](2, channels, 1)
        self.act = r.choice((nn.ReLU(True), nn.SiLU(), nn.GELU()))
        self.gate = r.choice((nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh()))
        self.first = r.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.fc2(self.act(self.fc1(pooled(x)))))
        return y * x if self.first else x * y


class Halves(nn.Module):
    """Channels in two halves: gated, joined in another order, or shuffled."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.conv = CONV[rank - 1](channels, 2 * channels, 1)
        self.way = r.choice(("chunk", "split", "glu", "swap", "shuffle", "slice"))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.way == "glu":
            return F.glu(y, 1)
        if self.way == "shuffle":
            n, c, *sizes = y.shape
            y = y.view(n, 2, c // 2, *sizes).transpose(1, 2).contiguous().view(n, c, *sizes)
        a, b = torch.split(y, x.shape[1], 1) if self.way == "split" else y.chunk(2, 1)
        if self.way == "swap":
            return torch.cat([b, a * 2], dim=1)
        if self.way == "slice":
            return y[:, 1::2] - y[:, : x.shape[1]]
        return a * torch.sigmoid(b)


class Arithmetic(nn.Module):
    """Numbers, parameters of several shapes, and maps, in the four ways to calculate."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, channels, *(1,) * rank) + 0.5)
        self.shift = nn.Parameter(torch.rand(channels, *(1,) * rank))
        self.number = nn.Parameter(torch.tensor(0.7))
        self.way = r.randrange(5)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return (x - self.shift) / self.scale
        if self.way == 1:
            return 1 - x * self.number + 0.5 * x
        if self.way == 2:
            return x / (1 + x.abs()) * self.scale + self.shift
        if self.way == 3:
            return torch.add(x, x * x, alpha=0.25) - torch.sub(x, self.shift, alpha=2)
        return x.pow(2).add(0.1).sqrt() * self.scale


class OwnNorm(nn.Module):
    """A normalisation written by hand over the channels, as in ConvNeXt."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels, *(1,) * rank) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / torch.sqrt(spread + 1e-2) * self.weight


class LastNorm(nn.Module):
    """Channels last, layer normalisation and dense layers at every place, and back: ConvNeXt's block."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(channels, elementwise_affine=r.random() < 0.7), nn.GELU()
        self.up, self.down = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        axes = range(x.dim())
        y = self.norm(x.permute(0, *axes[2:], 1))
        y = self.gamma * self.down(self.act(self.up(y)))
        return x + y.permute(0, axes[-1], *axes[1:-1])


class Attention(nn.Module):
    """Places attend to places, by the operator or by two products and a softmax."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.heads = r.choice([h for h in (1, 2) if channels % h == 0])
        self.fused = r.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        n, c, *sizes = x.shape
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).reshape(n, -1, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(dim=-1) @ v
        y = self.proj(y.transpose(1, 2).reshape(n, -1, c))
        return x + y.transpose(1, 2).reshape(n, c, *sizes)


class Foreign(nn.Module):
    """Something that stays PyTorch's between two parts that need not."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.a, self.b = (CONV[rank - 1](channels, channels, 1) for _ in range(2))
        self.way = r.choice(("cumsum", "flip", "sort", "roll", "detach", "no_grad", "view", "clone"))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        if self.way == "no_grad":
            with torch.no_grad():
                size = x.abs().amax()
            x = x / (size + 1)
        elif self.way == "view":  # changed in place through a view of it
            x = self.a(x)
            x.view(-1).mul_(0.5)
        elif self.way == "detach":
            x = x + (x * 2).detach()
        elif self.way == "clone":
            y = x.clone()
            y[:, :1] = 0.25
            x = x + y
        else:
            other = {"cumsum": lambda v: v.cumsum(1) / v.shape[1], "flip": lambda v: v.flip(2)}
            other |= {"sort": lambda v: v.sort(1)[0], "roll": lambda v: v.roll(1, 2)}
            x = other[self.way](x)
        return self.b(x)


class Slices(nn.Module):
    """Borders cut off and put back, and a second branch of the middle."""

    def __init__(self, r: random.Random, rank: int, channels: int) -> None:
        super().__init__()
        self.way, self.conv = r.randrange(3), CONV[rank - 1](channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return torch.cat((self.conv(x[:, :, 1:]), x[:, :, :1]), dim=2)
        if self.way == 1:
            y = F.pad(self.conv(x[:, :, :-1]), (0, 0) * (x.dim() - 3) + (1, 0))
            return x.amax(2, keepdim=True) + y
        return torch.maximum(self.conv(x), x) + torch.where(x > 0, x, 0.1 * x)


class BackendNet(RandomNet):
    """A random module as it is trained: see the blocks above."""

    activations = _SAME_IN_EACH_TYPE
    own = (Residual, Shared, Gate, Halves, Arithmetic, OwnNorm, LastNorm, Attention, Foreign, Slices)

    def block(self, r: random.Random, x: Any) -> nn.Module:
        kind = r.random()
        if kind < 0.4:
            return r.choice(self.own)(r, self.rank, x.shape[1])
        if kind < 0.5:
            return self.normalised(r, x.shape[1])
        return super().block(r, x)

    def normalised(self, r: random.Random, channels: int) -> nn.Module:
        """A convolution with one of the modes of batch normalisation, and dropout of maps or numbers."""
        filters = r.randint(1, 4)
        norm = BATCH_NORM[self.rank - 1](
            filters,
            momentum=r.choice((0.1, 0.3, None)),
            affine=r.random() < 0.7,
            track_running_stats=r.random() < 0.7,
        )
        drop = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)[self.rank - 1]
        last = r.choice((nn.ReLU(True), nn.Hardswish(True), drop(0.3), nn.Dropout(0.2), nn.Softmax(1)))
        return nn.Sequential(CONV[self.rank - 1](channels, filters, 1), norm, last)

    def make_head(self, r: random.Random, x: Any) -> nn.Module:
        kind = r.choice(("", "", "amax", "sums", "tanh", "squeeze"))
        return Ending(kind, r, x.shape[1]) if kind else super().make_head(r, x)


class Ending(nn.Module):
    """Ends of networks that are functions and not modules."""

    def __init__(self, kind: str, r: random.Random, channels: int) -> None:
        super().__init__()
        self.kind, self.fc, self.drop = kind, nn.Linear(channels, 4), r.choice((0.0, 0.25))

    def forward(self, x: Tensor) -> Any:
        places = tuple(range(2, x.dim()))
        if self.kind == "amax":
            return F.log_softmax(self.fc(x.amax(places)), dim=-1)
        if self.kind == "sums":
            return self.fc(x.sum(places) * 0.1), x.mean()
        if self.kind == "squeeze":
            y = pooled(x)
            for _ in places:
                y = y.squeeze(-1)
            return self.fc(F.dropout(y, self.drop, self.training))
        return torch.tanh(x), self.fc(torch.flatten(pooled(x), 1)).softmax(1)


def backend_module(seed: int) -> BackendNet:
    """A random module whose statistics and scales are not those of the start."""
    torch.manual_seed(seed)
    net = BackendNet(random.Random(seed))
    r = random.Random(f"modes of {seed}")
    settled(net)
    if r.random() < 0.3:  # frozen parts
        for part in r.sample(list(net.blocks), 1):
            part.requires_grad_(False)
    return net
