"""Weights in the order of memory that the engine reads: no copies of them at each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kernelearn.engine.arrays import inverse_order
from kernelearn.torch.inside import ConvNd
from kernelearn.torch.translation.convolution import kernel_order


def arrange(model: nn.Module) -> nn.Module:
    """Let the weights of convolutions and linear layers lie in memory as the engine reads them.

    Names, shapes and numbers stay, so `state_dict`, optimisers and files know no difference; only the strides
    of the weights change, and code that calls `view` on a weight has to call `reshape`. It is optional: the
    engine takes weights in any order, and turning others costs it some percent of a step.

    Args:
        model: changed in place; call it before the optimiser is made, so that its state lies alike.
    Returns: the model.

    >>> model = arrange(torch.nn.Conv2d(3, 8, 3))  # doctest: +SKIP
    >>> tuple(model.weight.shape), model.weight.stride()  # doctest: +SKIP
    ((8, 3, 3, 3), (1, 8, 72, 24))
    """
    for module in model.modules():
        weight: Any = getattr(module, "weight", None)
        if isinstance(module, (ConvNd, nn.Linear)) and _is_plain(weight):
            order = kernel_order(weight.dim())
            weight.data = weight.data.permute(order).contiguous().permute(inverse_order(order))
    return model


def _is_plain(weight: Any) -> bool:
    """Whether it is a parameter of the kind that the engine takes, and made by nobody else at each step."""
    return isinstance(weight, nn.Parameter) and weight.dtype == torch.float32 and weight.device.type == "cpu"
