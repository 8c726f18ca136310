"""Pictures with something to learn in them: each class is a blurred pattern, moved and under noise."""

import torch
import torch.nn.functional as F
from torch import Tensor


def labelled(
    count: int, shape: tuple[int, ...], classes: int = 10, noise: float = 0.5, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """(count, *shape) numbers and their labels."""
    random = torch.Generator().manual_seed(seed)
    pool = (F.avg_pool1d, F.avg_pool2d)[len(shape) - 2]
    patterns = 4 * pool(torch.randn(classes, *shape, generator=random), 5, 1, 2)
    y = torch.randint(classes, (count,), generator=random)
    moves = torch.randint(-2, 3, (count,), generator=random)
    x = torch.stack([patterns[label].roll(int(move), -1) for label, move in zip(y, moves)])
    return x + noise * torch.randn(x.shape, generator=random), y


def discs(count: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (count, 1, size, size) of discs under noise, and where the discs are."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.arange(size, dtype=torch.float32)
    middle = size * (0.25 + 0.5 * torch.rand(count, 2, generator=random))
    radius = size * (0.1 + 0.2 * torch.rand(count, generator=random))
    away = (rows[:, None] - middle[:, :1, None]) ** 2 + (rows[None] - middle[:, 1:, None]) ** 2
    mask = (away < radius[:, None, None] ** 2).float()[:, None]
    return mask + 0.4 * torch.randn(mask.shape, generator=random), mask
