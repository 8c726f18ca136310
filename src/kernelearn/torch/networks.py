"""Networks as PyTorch users write them, of which `kernelearn bench --torch` times steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def vgg_small() -> nn.Module:
    parts: list[nn.Module] = []
    channels = 3
    for filters in (32, 64, 128):
        for _ in range(2):
            parts += [*normalized(channels, filters, 3), nn.ReLU(inplace=True)]
            channels = filters
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(128 * 16, 10))


def normalized(channels: int, filters: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution and its batch normalisation."""
    convolution = nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(filters)]


class Basic(nn.Module):
    """Two convolutions beside a shortcut."""

    growth = 1

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        first, second = normalized(channels, filters, 3, stride), normalized(filters, filters, 3)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
        is_same = stride == 1 and channels == filters
        self.short = nn.Identity() if is_same else nn.Sequential(*normalized(channels, filters, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y += self.short(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """A convolution between two of single pixels, beside a shortcut."""

    growth = 4

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        relu, wide = nn.ReLU(inplace=True), filters * self.growth
        parts = [*normalized(channels, filters, 1), relu, *normalized(filters, filters, 3, stride), relu]
        self.body = nn.Sequential(*parts, *normalized(filters, wide, 1))
        is_same = stride == 1 and channels == wide
        self.short = nn.Identity() if is_same else nn.Sequential(*normalized(channels, wide, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y += self.short(x)
        return F.relu(y, inplace=True)


class Residual(nn.Module):
    """Stages of blocks, each of which halves the sizes but the first."""

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        filters: tuple[int, ...],
        counts: tuple[int, ...],
        is_small: bool,
    ) -> None:
        super().__init__()
        stem = normalized(3, filters[0], 3) if is_small else normalized(3, filters[0], 7, 2)
        parts = [*stem, nn.ReLU(inplace=True), *([] if is_small else [nn.MaxPool2d(3, 2, 1)])]
        channels = filters[0]
        for stage, (width, count) in enumerate(zip(filters, counts)):
            for number in range(count):
                parts.append(block(channels, width, 2 if stage and not number else 1))
                channels = width * block.growth
        self.body, self.head = nn.Sequential(*parts), nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.body(x), 1), 1))


class Inverted(nn.Module):
    """A depthwise convolution between two of single pixels."""

    def __init__(self, channels: int, filters: int, stride: int, growth: int) -> None:
        super().__init__()
        wide = channels * growth
        opening = [*normalized(channels, wide, 1), nn.ReLU6(inplace=True)] if growth > 1 else []
        depth = [*normalized(wide, wide, 3, stride, wide), nn.ReLU6(inplace=True)]
        self.body = nn.Sequential(*opening, *depth, *normalized(wide, filters, 1))
        self.is_residual = stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.is_residual else self.body(x)


def mobilenet_v2() -> nn.Module:
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    parts, channels = [*normalized(3, 32, 3, 2), nn.ReLU6(inplace=True)], 32
    for growth, filters, count, stride in rows:
        for number in range(count):
            parts.append(Inverted(channels, filters, 1 if number else stride, growth))
            channels = filters
    last = [*normalized(channels, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, *last, nn.Linear(1280, 10))


WIDE = (64, 128, 256, 512)
# Name -> (how to make it, shape of an image).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "lenet": (lenet, (1, 28, 28)),
    "vgg_small": (vgg_small, (3, 32, 32)),
    "resnet20": (lambda: Residual(Basic, (16, 32, 64), (3, 3, 3), True), (3, 32, 32)),
    "resnet18": (lambda: Residual(Basic, WIDE, (2, 2, 2, 2), False), (3, 96, 96)),
    "mobilenet_v2": (mobilenet_v2, (3, 96, 96)),
    "resnet50": (lambda: Residual(Bottleneck, WIDE, (3, 4, 6, 3), False), (3, 96, 96)),
}
