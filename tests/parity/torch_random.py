"""Random modules of PyTorch for conversion, with every layer and option; our models: `our_random`."""

import random
from typing import Any

import torch
from torch import nn

from tests.parity.torch_blocks import random_block

ACTIVATIONS = (
    lambda r: nn.ReLU(inplace=r.random() < 0.5),
    lambda r: nn.ReLU6(),
    lambda r: nn.LeakyReLU(r.choice((0.01, 0.2, -0.1))),
    lambda r: nn.ELU(r.choice((1.0, 0.5))),
    lambda r: nn.SELU(),
    lambda r: nn.CELU(r.choice((1.0, 0.7))),
    lambda r: nn.GELU(r.choice(("none", "tanh"))),
    lambda r: nn.SiLU(),
    lambda r: nn.Mish(),
    lambda r: nn.Sigmoid(),
    lambda r: nn.Tanh(),
    lambda r: nn.Hardsigmoid(),
    lambda r: nn.Hardswish(),
    lambda r: nn.Hardtanh(r.choice((-1.0, -0.3, 0.0)), r.choice((1.0, 0.8))),
    lambda r: nn.Softplus(r.choice((1.0, 2.0)), r.choice((20.0, 1.5))),
    lambda r: nn.Softsign(),
    lambda r: nn.LogSigmoid(),
    lambda r: nn.Softshrink(0.2),
    lambda r: nn.Hardshrink(0.3),
    lambda r: nn.Tanhshrink(),
    lambda r: nn.Threshold(0.1, -0.5),
    lambda r: nn.RReLU(0.1, 0.3),
    lambda r: nn.GELU(),
    lambda r: r.choice((nn.Dropout, nn.AlphaDropout, nn.Dropout2d))(0.3),
)


JOINS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * torch.sigmoid(b),
    "cat": lambda a, b: torch.cat([a, b], 1),
    "": lambda a, b: b,
}


class RandomNet(nn.Module):
    """A chain of random blocks on maps of one to three axes, some around a shortcut, then a head."""

    activations: tuple[Any, ...] = ACTIVATIONS

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        self.rank = r.choice((1, 2, 2, 2, 3))
        high = {1: 24, 2: 14, 3: 8}[self.rank]
        self.sizes = tuple(r.randint(6, high) for _ in range(self.rank))
        self.channels = r.randint(1, 4)
        self.blocks = nn.ModuleList()
        self.shortcuts: list[str] = []
        x = torch.zeros(2, self.channels, *self.sizes)
        for _ in range(r.randint(2, 5)):
            for _ in range(50):
                try:
                    block = self.block(r, x)
                    y = block.eval()(x)
                except (RuntimeError, IndexError):  # a block that these maps are too small for
                    continue
                # A window of nothing but border gives -inf.
                if min(y.shape[2:]) >= 1 and y.numel() < 20_000 and y.isfinite().all():
                    break
            kind = r.choice(("add", "cat", "mul", "")) if y.shape == x.shape else ""
            self.blocks.append(block)
            self.shortcuts.append(kind)
            x = torch.cat([x, y], 1) if kind == "cat" else y
        self.head = self.make_head(r, x)

    def example(self) -> tuple[int, ...]:
        return (2, self.channels, *self.sizes)

    def forward(self, x: Any) -> Any:
        for block, kind in zip(self.blocks, self.shortcuts):
            y = block(x)
            x = JOINS[kind](x, y)
        return self.head(x)

    def block(self, r: random.Random, x: Any) -> nn.Module:
        makers = (
            self.conv,
            self.conv,
            self.conv,
            self.transposed,
            self.pool,
            self.norm,
            self.resize,
            self.border,
            self.function,
            self.function,
        )
        return r.choice(makers)(r, x.shape[1], x.shape[2:])

    def each(self, r: random.Random, low: int, high: int) -> tuple[int, ...]:
        return tuple(r.randint(low, high) for _ in range(self.rank))

    def conv(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        groups = r.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
        size, dilation = self.each(r, 1, 4), self.each(r, 1, 2) if r.random() < 0.3 else 1
        stride = self.each(r, 1, 3) if r.random() < 0.5 else 1
        padding: Any = self.each(r, 0, 2)
        if stride == 1 and r.random() < 0.3:
            padding = "same"
        mode = r.choice(("zeros", "zeros", "reflect", "replicate", "circular"))
        make = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[self.rank - 1]
        if mode == "reflect" and self.rank == 3:
            mode = "zeros"
        made = make(
            channels,
            groups * r.randint(1, 3),
            size,
            stride,
            padding,
            dilation,
            groups,
            r.random() < 0.7,
            mode,
        )
        return nn.Sequential(made, r.choice(self.activations)(r))

    def transposed(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        groups = r.choice([g for g in (1, 1, channels) if channels % g == 0])
        stride = self.each(r, 1, 2)
        extra = tuple(r.randint(0, s - 1) for s in stride)
        make = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[self.rank - 1]
        size, padding = self.each(r, 1, 4), self.each(r, 0, 1)
        return make(
            channels, groups * r.randint(1, 3), size, stride, padding, extra, groups, r.random() < 0.7
        )

    def pool(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        size = self.each(r, 1, 3)
        stride = self.each(r, 1, 3) if r.random() < 0.7 else None
        padding = tuple(r.randint(0, k // 2) for k in size)
        ceil = r.random() < 0.4
        kind = r.choice(("max", "average", "adaptive"))
        if kind == "max":
            make = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[self.rank - 1]
            return make(size, stride, padding, r.choice((1, 1, 2)), ceil_mode=ceil)
        if kind == "average":
            make = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[self.rank - 1]
            more = {} if self.rank == 1 else {"divisor_override": r.choice((None, None, 5))}
            return make(size, stride, padding, ceil, r.random() < 0.5, **more)
        makers = (
            (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
            (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        )
        return r.choice(makers)[self.rank - 1](self.each(r, 1, 5))

    def norm(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        affine, eps = r.random() < 0.7, r.choice((1e-5, 1e-2))
        kind = r.choice(("batch", "batch", "instance", "group", "prelu", "layer"))
        if kind == "batch":
            make = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[self.rank - 1]
            return make(channels, eps, r.choice((0.1, 0.3)), affine)
        if kind == "instance" and min(sizes) > 1:
            return (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[self.rank - 1](
                channels, eps, affine=affine
            )
        if kind == "group":
            return nn.GroupNorm(
                r.choice([g for g in (1, channels) if channels % g == 0]), channels, eps, affine
            )
        if kind == "layer":
            return nn.LayerNorm([channels, *sizes], eps, affine)
        return nn.PReLU(r.choice((1, channels)), 0.3)

    def resize(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        mode = r.choice(("nearest", "nearest-exact", ("linear", "bilinear", "trilinear")[self.rank - 1]))
        given: dict[str, Any] = {"mode": mode}
        if "linear" in mode:
            given["align_corners"] = r.random() < 0.5
        if r.random() < 0.5:
            return nn.Upsample(size=self.each(r, 3, 9), **given)
        return nn.Upsample(scale_factor=r.choice((2.0, 1.5, 0.7)), **given)

    def border(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        widths = tuple(r.randint(0, 2) for _ in range(2 * self.rank))
        if self.rank == 2 and r.random() < 0.7:
            return r.choice((nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ZeroPad2d, nn.CircularPad2d))(widths)
        make = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)[self.rank - 1]
        return make(widths if r.random() < 0.7 else tuple(-(w > 1) for w in widths), r.choice((0.0, 0.5)))

    def function(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        return random_block(r, torch.zeros(1, channels, *sizes))

    def make_head(self, r: random.Random, x: Any) -> nn.Module:
        kind = r.choice(("flatten", "flatten", "mean", "maps"))
        if kind == "maps":
            return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[self.rank - 1](x.shape[1], 2, 1)
        if kind == "mean":
            pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[self.rank - 1](1)
            return nn.Sequential(pool, nn.Flatten(), nn.Linear(x.shape[1], 3), nn.LogSoftmax(1))
        width = x[0].numel()
        middle = r.choice((nn.Identity(), nn.ReLU(), nn.BatchNorm1d(width), nn.PReLU(width)))
        return nn.Sequential(nn.Flatten(), middle, nn.Linear(width, 4, r.random() < 0.7), nn.Softmax(-1))


def random_module(seed: int) -> RandomNet:
    """A random module in eval mode with statistics that are not those of the start."""
    torch.manual_seed(seed)
    net = RandomNet(random.Random(seed)).eval()
    return settled(net)


def settled(net: Any) -> Any:
    """Running statistics and scales as after a training."""
    for part in net.modules():
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
        if (
            isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
            and part.weight is not None
        ):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return net
