"""The model of a run: the module as `from_torch` reads it, so that explanations can compute with it.

`from_torch` moves numbers: a dense layer behind a flattening has its rows in another order there, depthwise
kernels another shape, parameters of one's own another name. Where each number went is read off a copy of the
module with random weights; the run then holds its weights as the model does.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelearn import losses
from kernelearn.errors import KernelearnError
from kernelearn.watching.pytorch.names import Names, Placement, plain_module
from kernelearn.watching.seen import Array

# Class of torch.nn -> class of the same loss here, and its arguments.
_LOSSES: Mapping[str, tuple[str, Mapping[str, Callable[[Any], Any]]]] = {
    "MSELoss": ("MeanSquaredError", {}),
    "L1Loss": ("MeanAbsoluteError", {}),
    "CrossEntropyLoss": ("SparseCategoricalCrossentropy", {"from_logits": lambda _: True}),
    "BCEWithLogitsLoss": ("BinaryCrossentropy", {"from_logits": lambda _: True}),
    "BCELoss": ("BinaryCrossentropy", {}),
    "HuberLoss": ("Huber", {"delta": lambda given: float(given.delta)}),
}


@dataclass(frozen=True)
class HeldModel:
    """What a run can hold of a module.

    Attributes:
        config: of the model; None where it cannot be held.
        why: it cannot, in words.
        compiled: the loss as `compile` takes it; None where it is not known, or steps are random.
        placements: id of a parameter -> where it stands in the model.
    """

    config: Mapping[str, Any] | None = None
    why: str = ""
    compiled: Mapping[str, Any] | None = None
    placements: Mapping[int, Placement] = field(default_factory=dict)


def held_model(module: Any, example: tuple[Any, ...] | None, names: Names, criterion: Any) -> HeldModel:
    """The model of a module that is called with an example; nothing of the module is changed.

    Args:
        criterion: the module that computes the loss, or None.
        example: the tensors that it was called with; None where it was called with something else.
    """
    if example is None:
        return HeldModel(why="the module is not called with tensors alone.")
    import torch

    inner = plain_module(module)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            return replace(_read(inner, example, names), compiled=_compiled(inner, criterion))
    except KernelearnError as error:
        return HeldModel(why=str(error))
    except Exception as error:  # whatever stops an export is no fault of the training
        return HeldModel(why=f"it cannot be exported ({type(error).__name__}).")


def _read(module: Any, example: tuple[Any, ...], names: Names) -> HeldModel:
    from kernelearn.conversion.torch.importing import from_torch
    from kernelearn.layers.core.base import LAYERS

    twin = _with_random_weights(module)
    own = from_torch(twin, tuple(value[:2] for value in example), check=False)
    reason = LAYERS.why_not_saved(own)
    if reason is not None:
        return HeldModel(why=reason)
    twins = dict([*twin.named_parameters(), *twin.named_buffers()])
    given = {id(t): n for n, t in [*module.named_parameters(), *module.named_buffers()]}
    mine = {
        key: names.laid_out(names.tensors[path], twins[given[key]])
        for key, path in names.paths.items()
        if key in given
    }
    placements: dict[int, Placement] = {}
    for path, weight in own.weight_paths().items():
        found = _place_of(path, np.asarray(weight.numpy()), mine, names)
        if found is None:
            return HeldModel(why=f"{path} is not one parameter of the module, with its numbers moved.")
        placements[found[0]] = found[1]
    return HeldModel(LAYERS.serialize(own), placements=placements)


def _compiled(module: Any, criterion: Any) -> dict[str, Any] | None:
    """What `compile` would be told; a step with dropout cannot be done again with PyTorch's numbers."""
    import torch

    dropout = torch.nn.modules.dropout._DropoutNd
    is_random = any(isinstance(part, dropout) and part.p > 0 for part in module.modules())
    loss = None if criterion is None or is_random else _LOSSES.get(type(criterion).__name__)
    if loss is None or criterion.reduction != "mean":
        return None
    if any(getattr(criterion, name, None) is not None for name in ("weight", "pos_weight")):
        return None
    if getattr(criterion, "label_smoothing", 0.0):
        return None
    own = losses.get({"class_name": loss[0], "config": {n: read(criterion) for n, read in loss[1].items()}})
    return {"loss": losses.serialize(own), "loss_weights": None, "policy": "float32"}


def _with_random_weights(module: Any) -> Any:
    """A copy whose parameters and statistics are all different."""
    import torch

    twin = copy.deepcopy(module).cpu()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*twin.parameters(), *twin.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return twin


def _place_of(
    path: str, value: Array, mine: Mapping[int, Array], names: Names
) -> tuple[int, Placement] | None:
    """(id of the parameter that a weight of the model is, how it stands there); None where it is no one's."""
    same = [key for key, array in mine.items() if array.size == value.size]
    same.sort(key=lambda key: names.paths[key] != path)  # the one of the same name first
    for key in same:
        array = mine[key]
        if np.array_equal(array.ravel(), value.ravel()):
            return key, Placement(path, value.shape, None)
        rows = _rows(array, value)
        if rows is not None:
            return key, Placement(path, value.shape, rows)
    return None


def _rows(array: Array, value: Array) -> Array | None:
    """The numbers of the rows of one matrix in the order of another; None if they are not the same rows."""
    if array.shape != value.shape or array.ndim != 2:
        return None
    found = {row.tobytes(): number for number, row in enumerate(np.ascontiguousarray(array))}
    rows = [found.get(row.tobytes(), -1) for row in np.ascontiguousarray(value)]
    is_order = min(rows, default=0) >= 0 and len(set(rows)) == len(rows)
    return np.asarray(rows) if is_order else None
