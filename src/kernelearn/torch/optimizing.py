"""`optimize`: a model, or a whole training step, on the engine."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kernelearn.errors import ArgumentTypeError
from kernelearn.torch.backend import compile_graph
from kernelearn.torch.inside import eager_call, is_passed_over, set_call
from kernelearn.torch.measuring import check_mode, check_options
from kernelearn.torch.stepping import Step, with_own_code

# Variants of a model that are compiled before Dynamo gives up: train, eval, no_grad, frozen parts, sizes.
_VARIANTS = 64


def optimize(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Callable[..., Any] | None = None,
    measure: bool | None = None,
    **options: Any,
) -> Any:
    """Run a model on the engine: its forward and backward passes, or whole training steps.

    Without an optimiser: what `torch.compile(model, backend="kernelearn")` does, in place, so that the model
    stays the object that it is, with its `state_dict`; and more variants are compiled before Dynamo gives up.

    With one: a `Step`, to be called as `loss = step(x, y)` in place of `zero_grad`, the forward pass, the
    loss, `backward` and `optimizer.step`: one program does all of it.

    Args:
        optimizer: SGD, Adam or AdamW of PyTorch; with others steps are made in PyTorch, which is said once.
        loss: function (result of the model, targets) -> number; by default the cross-entropy of classes.
        measure: whether PyTorch takes over what it is faster in (see the page on it); None: unless
            KERNELEARN_TORCH_MEASURE=0, or PyTorch was told to use deterministic algorithms.
        options: of `torch.compile`, such as `dynamic=True`; among them `options`, those of the backend.
    Returns: the model, or a `Step`.
    Raises: ArgumentTypeError for anything else than a module and an optimiser; UnknownNameError for options
        that the backend does not have, ArgumentError for a `mode`, which is inductor's.

    >>> model = optimize(torch.nn.Linear(8, 4))  # doctest: +SKIP
    >>> step = optimize(model, torch.optim.SGD(model.parameters(), 0.1))  # doctest: +SKIP
    >>> step(torch.ones(2, 8), torch.tensor([0, 3]))  # doctest: +SKIP
    tensor(1.4021)
    """
    _check_types(model, optimizer, loss)
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        options.setdefault("recompile_limit", _VARIANTS)
    ours = {**(options.pop("options", None) or {}), **({} if measure is None else {"measure": measure})}
    check_options(ours)
    check_mode(options.pop("mode", None))
    if optimizer is not None:
        return Step(model, optimizer, loss or nn.functional.cross_entropy, ours, **options)
    own = _in_a_frame(model) if is_passed_over(model) else eager_call(model)
    set_call(model, _unless_traced(model, torch.compile(own, backend=compile_graph, options=ours, **options)))
    return model


def _unless_traced(model: nn.Module, compiled: Callable[..., Any]) -> Callable[..., Any]:
    """A call of a model; its own for `torch.jit.trace`, which Dynamo refuses to be seen by."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return (eager_call(model) if torch.jit.is_tracing() else compiled)(*args, **kwargs)

    return call


def _in_a_frame(model: nn.Module) -> Callable[..., Any]:
    """A call of a model in a frame of ours, which Dynamo looks at."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return eager_call(model)(*args, **kwargs)

    return with_own_code(call)


def _check_types(model: Any, optimizer: Any, loss: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"optimize takes a torch.nn.Module, got {type(model).__name__}.")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentTypeError(
            f"The optimizer has to be one of torch.optim, such as torch.optim.SGD(model.parameters(), 0.1); "
            f"got {type(optimizer).__name__}."
        )
    if optimizer is None and loss is not None:
        raise ArgumentTypeError(
            "A loss is part of a step only with its optimizer: optimize(model, optimizer, loss)."
        )
