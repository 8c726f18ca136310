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
from kernelearn.watching.pytorch.calling import Example, loss_within
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
        constants: path -> what the model has as a weight, and the module computes without parameters.
    """

    config: Mapping[str, Any] | None = None
    why: str = ""
    compiled: Mapping[str, Any] | None = None
    placements: Mapping[int, Placement] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)


def held_model(module: Any, example: Example | None, names: Names, criterion: Any) -> HeldModel:
    """The model of a module that is called with an example; nothing of the module is changed.

    Args:
        criterion: the module that computes the loss; None where none does, or the module itself.
        example: a call of it; None where none was seen.
    """
    if example is None:
        return HeldModel(why="no call of the module with images was seen.")
    import torch

    inner = plain_module(module)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            held = _read(inner, example, names)
            criterion = criterion or loss_within(inner, example)
            return replace(held, compiled=_compiled(inner, criterion))
    except KernelearnError as error:
        return HeldModel(why=str(error))
    except Exception as error:  # whatever stops an export is no fault of the training
        return HeldModel(why=f"it cannot be exported ({type(error).__name__}).")


def _read(module: Any, example: Example, names: Names) -> HeldModel:
    from kernelearn.layers.core.base import LAYERS

    own, twin = _own_model(module, example, 1)
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
    others: dict[str, Array] = {}
    for path, weight in own.weight_paths().items():
        value = np.asarray(weight.numpy())
        found = _place_of(path, value, mine, names)
        if found is None:
            others[path] = value
        else:
            placements[found[0]] = found[1]
    changed = _changed(others, module, example) if others else None
    if changed is not None:
        return HeldModel(why=f"{changed} is not one parameter of the module, with its numbers moved.")
    return HeldModel(LAYERS.serialize(own), placements=placements, constants=others)


def _own_model(module: Any, example: Example, seed: int) -> tuple[Any, Any]:
    """(the model of a copy with random weights, the copy)."""
    from kernelearn.conversion.torch.importing import from_torch

    twin = _with_random_weights(module, seed)
    example.ask(twin)
    return from_torch(twin, example.tensors, check=False, name=type(module).__name__.lower()), twin


def _changed(values: Mapping[str, Array], module: Any, example: Example) -> str | None:
    """A weight of a model that follows from the weights of the module; None where none does."""
    again = _own_model(module, example, 2)[0].weight_paths()
    others = (path for path, value in values.items() if not np.array_equal(value, again[path].numpy()))
    return next(others, None)


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


def _with_random_weights(module: Any, seed: int) -> Any:
    """A copy whose parameters and statistics are all different."""
    import torch

    twin = copy.deepcopy(module).cpu()
    generator = torch.Generator().manual_seed(seed)
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
