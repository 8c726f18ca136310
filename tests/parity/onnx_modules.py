"""What PyTorch users export to ONNX: name -> (makes the module, shape of its input)."""

import torch
from torch import nn


class Block(nn.Module):
    """Convolutions of several kinds around a shortcut, normalised, and a head of means."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.groups = nn.GroupNorm(2, 8)
        self.slopes = nn.PReLU(8)
        self.pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True)
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.back = nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1)
        self.classes = nn.Linear(4, 5)

    def forward(self, x):
        y = nn.functional.gelu(self.norm(self.first(x)))
        y = self.larger(self.pool(self.slopes(y + self.groups(self.deep(y)))))
        y = self.back(nn.functional.silu(y)).mean((2, 3))
        return torch.softmax(self.classes(y.view(y.size(0), -1)), 1)


class Attention(nn.Module):
    """Two heads, written with products of matrices."""

    def __init__(self):
        super().__init__()
        self.norm, self.into, self.out = nn.LayerNorm(6), nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x):
        n, steps, width = x.shape
        q, k, v = self.into(self.norm(x)).reshape(n, steps, 3, 2, 3).permute(2, 0, 3, 1, 4)
        y = torch.softmax(q @ k.transpose(-1, -2) / 3**0.5, -1) @ v
        return x + self.out(y.transpose(1, 2).reshape(n, steps, width))


class Shuffle(nn.Module):
    """Channels shuffled between groups, gated by their means, cut in two and cropped."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.conv = nn.Conv2d(8, 8, 1, groups=2)

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.conv(x).view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3))))))
        a, b = (y * gate[:, :, None, None]).chunk(2, dim=1)
        return torch.cat([torch.clamp(a, 0, 6), nn.functional.pad(b, (1, -1, 0, 0))], 1)


def flat():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.Hardsigmoid(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(48, 7),
        nn.BatchNorm1d(7),
        nn.Hardswish(),
        nn.Dropout(0.5),
        nn.Linear(7, 2),
        nn.LogSoftmax(1),
    )


def line():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ELU(), nn.AvgPool1d(2), nn.InstanceNorm1d(4))


def volume():
    return nn.Sequential(nn.Conv3d(1, 3, 2), nn.LeakyReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())


MODULES = {
    "block": (Block, (2, 3, 15, 17)),
    "flat": (flat, (2, 2, 10, 8)),
    "attention": (Attention, (2, 5, 6)),
    "shuffle": (Shuffle, (2, 8, 4, 5)),
    "line": (line, (2, 2, 9)),
    "volume": (volume, (2, 1, 4, 5, 6)),
}
