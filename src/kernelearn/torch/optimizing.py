"""`optimize`: a model, or a whole training step, on the engine."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from kernelearn.torch.backend import compile_graph

# Variants of a model that are compiled before Dynamo gives up: train, eval, no_grad, frozen parts, sizes.
_VARIANTS = 64


def optimize(model: nn.Module, **options: Any) -> nn.Module:
    """Run a model's forward and backward passes on the engine, in place: `model(x)` as ever.

    What `torch.compile(model, backend="kernelearn")` does; but the model stays the object that it is, with
    its `state_dict`, and more variants of it are compiled before Dynamo gives up.

    Args:
        options: of `torch.compile`, such as `dynamic=True`.
    Returns: the model.

    >>> model = optimize(torch.nn.Linear(8, 4))  # doctest: +SKIP
    >>> model(torch.ones(2, 8)).shape  # doctest: +SKIP
    torch.Size([2, 4])
    """
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        options.setdefault("recompile_limit", _VARIANTS)
    model.compile(backend=compile_graph, **options)
    return model
