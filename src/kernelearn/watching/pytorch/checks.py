"""What can be watched: said before the first step, by name and with what to do instead."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.watching.pytorch.names import Names

_REFUSED = {
    "DataParallel": "its copies on other devices live for one step only; use DistributedDataParallel",
    "FullyShardedDataParallel": "a process holds slices of the weights; watch a smaller run without it",
    "FSDPModule": "a process holds slices of the weights; watch a smaller run without it",
}


def check_module(module: Any) -> None:
    """Raise ArgumentError for what is no module, or one whose weights are not there between steps."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            f"watch: the first argument must be a torch.nn.Module, got {type(module).__name__}."
        )
    if next(module.parameters(), None) is None:
        raise ArgumentError(
            f"watch: {type(module).__name__} has no parameters: there is nothing that learns. Give the "
            "module that the optimiser updates."
        )
    for name in (base.__name__ for part in module.modules() for base in type(part).__mro__):
        if name in _REFUSED:
            raise ArgumentError(f"watch: {name} cannot be watched: {_REFUSED[name]}.")


def check_optimizer(optimizer: Any, names: Names) -> None:
    """Raise ArgumentError for what is no optimiser of torch.optim, or updates another module."""
    if not hasattr(optimizer, "register_step_post_hook"):
        raise ArgumentError(
            "watch: the second argument must be an optimiser of torch.optim, got "
            f"{type(optimizer).__name__}. Of several optimisers watch each with the module whose weights it "
            "updates."
        )
    groups = optimizer.param_groups
    if not any(names.path(parameter) for group in groups for parameter in group["params"]):
        raise ArgumentError(
            "watch: the optimiser updates none of the module's parameters. Make it with module.parameters(), "
            "after the module was moved or replaced."
        )


def check_criterion(criterion: Any) -> None:
    """Raise ArgumentError for a loss that is no module."""
    if not hasattr(criterion, "register_forward_hook"):
        raise ArgumentError(
            f"watch: criterion must be a module such as nn.CrossEntropyLoss(), got {criterion!r}. A loss "
            "that is a function is said with watcher.note(loss=loss)."
        )


def check_loader(loader: Any) -> None:
    """Raise ArgumentError for one that does not know the numbers of its images."""
    if not (hasattr(loader, "images") and hasattr(loader, "epoch")):
        raise ArgumentError(
            f"watch: loader must be a NumberedLoader, got {type(loader).__name__}. Write loader = "
            "kernelearn.watching.NumberedLoader(loader), and go through that one in the loop."
        )


def processes(module: Any) -> tuple[int, float]:
    """(rank, 1 / number of processes) of a module that is trained by several; (0, 1) for others."""
    import torch

    if not isinstance(module, torch.nn.parallel.DistributedDataParallel):
        return 0, 1.0
    distributed, group = torch.distributed, module.process_group
    return distributed.get_rank(group), 1 / distributed.get_world_size(group)
