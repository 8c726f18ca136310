"""What this package takes from PyTorch's inside: names that no version promises, all of them here.

Whatever a version lacks is named in one message, and not met in the middle of a training.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch.autograd import forward_ad

from kernelearn.errors import MissingDependencyError

# Versions that were tried: 2.13 with all of tests/parity/live_torch_*.py, the others with a part of it.
TRIED = ("2.12", "2.13", "2.14")


def _found(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"kernelearn.torch needs {module}.{name}, which PyTorch {torch.__version__} does not have. It "
            f"was tried with PyTorch {', '.join(TRIED)}: install one of them, or call the model without it."
        ) from error


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
_found("torch.autograd.forward_ad", "_current_level")  # a number that moves: read where it is


def goes_forwards() -> bool:
    """Whether derivatives are taken forwards, as inside of `forward_ad.dual_level`."""
    return bool(forward_ad._current_level >= 0)


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
