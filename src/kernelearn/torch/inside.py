"""What this package takes from PyTorch's inside: names that no version promises, all of them here.

Whatever a version lacks is named in one message, and not met in the middle of a training.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.fx import GraphModule, Node

from kernelearn.errors import MissingDependencyError

# Versions that were tried: 2.13 with all of tests/parity/live_torch_*.py, the others with a part of it.
TRIED = ("2.12", "2.13", "2.14")


def _lacking(name: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"kernelearn.torch needs {name}, which PyTorch {torch.__version__} does not have. It "
        f"was tried with PyTorch {', '.join(TRIED)}: install one of them, or call the model without it."
    )


def _found(module: str, name: str) -> Any:
    """A name of a module, or of a class in it (`"Tensor._backward_hooks"`)."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise _lacking(f"{module}.{name}") from error
    return found


FunctionalTensor: Any = _found("torch._subclasses.functional_tensor", "FunctionalTensor")
FunctionalTensorMode: Any = _found("torch._subclasses.functional_tensor", "FunctionalTensorMode")
make_fx: Any = _found("torch.fx.experimental.proxy_tensor", "make_fx")
CapabilityBasedPartitioner: Any = _found("torch.fx.passes.infra.partitioner", "CapabilityBasedPartitioner")
OperatorSupportBase: Any = _found("torch.fx.passes.operator_support", "OperatorSupportBase")
split_module: Any = _found("torch.fx.passes.split_module", "split_module")
TorchDynamoException: Any = _found("torch._dynamo.exc", "TorchDynamoException")
_has_storage: Any = _found("torch._C", "_has_storage")
_sync: Any = _found("torch", "_sync")
_from_functional: Any = _found("torch", "_from_functional_tensor")
_has_new_data: Any = _found("torch", "_functionalize_has_data_mutation")
tree_leaves: Any = _found("torch.utils._pytree", "tree_leaves")
# Adds a number to each of a list of tensors, in one call.
add_to_each: Any = _found("torch", "_foreach_add_")
BatchNorm: Any = _found("torch.nn.modules.batchnorm", "_BatchNorm")
ConvNd: Any = _found("torch.nn.modules.conv", "_ConvNd")
_is_skipped: Any = _found("torch._dynamo.trace_rules", "check")
_limits: Any = _found("torch._dynamo.config", "patch")
# What Dynamo itself asks of the process at each call: gradients, autocast, threads, determinism.
GlobalState: Any = _found("torch._C._dynamo.guards", "GlobalStateGuard")
keys_of: Any = _found("torch._C", "_dispatch_keys")
_function_modes: Any = _found("torch._C", "_len_torch_function_stack")
_dispatch_modes: Any = _found("torch._C", "_len_torch_dispatch_stack")
_transform: Any = _found("torch._C._functorch", "peek_interpreter_stack")
_frames: Any = _found("torch._dynamo", "eval_frame")
_found("torch._dynamo.eval_frame", "_stance.stance")
_Handle: Any = _found("torch.utils.hooks", "RemovableHandle")
_found("torch.utils.hooks", "RemovableHandle.next_id")
# Hooks of all modules.
GLOBAL_HOOKS: list[dict[Any, Any]] = [
    _found("torch.nn.modules.module", f"_global_{name}_hooks")
    for name in ("forward_pre", "forward", "backward_pre", "backward")
]
# Numbers and attributes that are read, or written, where they are: that they exist is asked here.
for _module, _name in (
    ("torch.autograd.forward_ad", "_current_level"),
    ("torch._dynamo.config", "recompile_limit"),
    ("torch", "UntypedStorage._cdata"),
    ("torch", "Tensor._backward_hooks"),
    ("torch", "Tensor._post_accumulate_grad_hooks"),
    ("torch.nn", "Module._call_impl"),
    ("torch.nn", "Module._compiled_call_impl"),
):
    _found(_module, _name)


def goes_forwards() -> bool:
    """Whether derivatives are taken forwards, as inside of `forward_ad.dual_level`."""
    return bool(forward_ad._current_level >= 0)


def is_as_usual() -> bool:
    """Whether nothing stands between a call and what was compiled for it: modes, transforms, tracing."""
    return (
        not _function_modes()
        and not _dispatch_modes()
        and _transform() is None
        and _frames._stance.stance == "default"
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
        and not goes_forwards()
    )


def count_hooks() -> int:
    """How many hooks have been registered in this process, of modules and of others."""
    return int(_Handle.next_id)


def is_mapped(x: Any) -> bool:
    """Whether a tensor stands for several, as in `torch.func.vmap`: it has no memory of its own."""
    return isinstance(x, torch.Tensor) and not _has_storage(x)


def plain(x: Any) -> Any:
    """What a functional tensor has become; anything else as it is."""
    if not isinstance(x, FunctionalTensor):
        return x
    _sync(x)
    return _from_functional(x.elem)


def has_changed(x: Any) -> bool:
    """Whether something was written into a functional tensor."""
    return isinstance(x, FunctionalTensor) and _has_new_data(x.elem)


# ------------------------------------------------------------------ tensors
def memory_of(x: torch.Tensor) -> Any:
    """What tells the memory of a tensor, traced or not, from that of others."""
    return x.untyped_storage()._cdata


def open_axes(x: Any) -> Iterable[int]:
    """Axes whose sizes somebody asked to stay open (`torch._dynamo.mark_dynamic`)."""
    return getattr(x, "_dynamo_dynamic_indices", ())


# ------------------------------------------------------------------ graphs of Dynamo's
_SOURCE = "_dynamo_source"


def source_of(node: Any) -> Any:
    """Where Dynamo found an input of its graph; None for other nodes."""
    return getattr(node, _SOURCE, None)


def tell_source(node: Node, source: Any) -> None:
    """An input of a part is what an input of the whole is."""
    setattr(node, _SOURCE, source)


def need_sources(gm: GraphModule) -> None:
    """Raises MissingDependencyError for a graph of Dynamo's that does not tell where its inputs are found."""
    inputs = gm.graph.find_nodes(op="placeholder")
    if inputs and not any(hasattr(node, _SOURCE) for node in inputs):
        raise _lacking(f"torch.fx.Node.{_SOURCE} in the graphs of Dynamo")


def any_number_of_variants(limit: int) -> AbstractContextManager[Any]:
    """While it lasts, Dynamo compiles so many variants of a function."""
    return _limits(recompile_limit=limit)  # type: ignore[no-any-return]


# ------------------------------------------------------------------ modules and optimisers
def is_passed_over(model: nn.Module) -> bool:
    """Whether Dynamo looks at no frame of a call: `forward` is PyTorch's own, as that of `Sequential`."""
    forward = model.forward
    return inspect.ismethod(forward) and bool(_is_skipped(forward))


def eager_call(model: nn.Module) -> Callable[..., Any]:
    """A model's own call, hooks and all, past what `compile` put in its place."""
    return model._call_impl


def set_call(model: nn.Module, call: Callable[..., Any]) -> None:
    """What runs where a model is called, as `Module.compile` sets it."""
    model._compiled_call_impl = call  # type: ignore[assignment]


def has_hooks(watched: Any) -> bool:
    """Whether somebody asked to be told of a parameter's gradient, or of an optimiser's steps."""
    if isinstance(watched, torch.optim.Optimizer):
        return bool(watched._optimizer_step_pre_hooks or watched._optimizer_step_post_hooks)
    return bool(watched._backward_hooks or watched._post_accumulate_grad_hooks)


def say_stepped(optimizer: torch.optim.Optimizer) -> None:
    """Tell schedulers that the optimiser has made a step: they look here."""
    optimizer._opt_called = True  # type: ignore[attr-defined]
