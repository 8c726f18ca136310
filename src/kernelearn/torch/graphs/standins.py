"""Functions in a functional graph that stand for operators which autograd cannot pass in that form.

What a region does not take runs as it stands here, in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

aten = torch.ops.aten


def batch_norm(
    x: torch.Tensor,
    gamma: torch.Tensor | None,
    beta: torch.Tensor | None,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """A batch normalisation; its moving averages are results (None where nothing moves)."""
    moves = training and mean is not None and variance is not None
    averages = (mean, variance)
    if moves:
        averages = (mean.detach().clone(), variance.detach().clone())  # type: ignore[union-attr]
    y = torch.batch_norm(x, gamma, beta, *averages, training, momentum, epsilon, False)
    return (y, *averages) if moves else (y, None, None)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    noise: torch.Tensor,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """`scaled_dot_product_attention` with dropout, whose draw is given: what the shares are multiplied by."""
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    sees = (scores != -torch.inf).any(-1, keepdim=True)
    shares = torch.where(sees, scores, 0.0).softmax(-1).to(value.dtype)
    return torch.where(sees, shares * noise, 0.0) @ value


def repeated(x: torch.Tensor, images: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """One thing for all images, such as a class token, once for each of them.

    Args:
        images: their number is the first size of this.
        sizes: all others; -1: as it is.
    """
    return x.expand(images.shape[0], *sizes)


def copied(x: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """A tensor that lies as x does, with the numbers of another; `aten.copy` has no gradient."""
    return torch.empty_like(x.detach()).copy_(source)


def _functional(*args: Any) -> tuple[tuple[Any, ...], dict[int, int]]:
    return args, {0: 0, 3: 1, 4: 2}


def _no_training(
    x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, momentum: float, epsilon: float
) -> Any:
    return (x, gamma, beta, mean, variance, False, momentum, epsilon), {0: 0}


def _no_stats(x: Any, gamma: Any, beta: Any, training: bool, momentum: float, epsilon: float) -> Any:
    return (x, gamma, beta, None, None, training, momentum, epsilon), {0: 0}


# Operator -> (stand-in, arguments of the one to those of the other and to which result each result goes).
STANDINS: dict[Any, tuple[Callable[..., Any], Callable[..., tuple[tuple[Any, ...], dict[int, int]]]]] = {
    aten._native_batch_norm_legit_functional.default: (batch_norm, _functional),
    aten._native_batch_norm_legit_no_training.default: (batch_norm, _no_training),
    aten._native_batch_norm_legit.no_stats: (batch_norm, _no_stats),
}

# The same, for operators of one result.
SINGLE: dict[Any, Callable[..., Any]] = {aten.copy.default: copied}

# How many results of a stand-in, from the first, carry a gradient; of others all do.
CARRYING: dict[Any, int] = {batch_norm: 1}
