"""`from_torch`: a module of PyTorch as a model with its weights and the names of its parts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import __version__
from kernelearn._optional import require
from kernelearn.conversion.torch.exported import Exported, exported
from kernelearn.conversion.torch.walking import Walk
from kernelearn.errors import ArgumentError
from kernelearn.models import Model

# Largest difference from PyTorch's own prediction, relative to the largest number: what rounding cannot
# explain.
_BOUND = {"float32": 1e-3, "float64": 1e-9}


def from_torch(
    module: Any, example: Any, data_format: str = "channels_last", name: str | None = None, check: bool = True
) -> Model:
    """A module of PyTorch as a model: the same layers by the same names, with the same weights.

    The module is exported by `torch.export` in eval mode, as a copy; every operation of the program becomes a
    layer, or a function of `kernelearn.ops` where no layer says it. The model takes images with the channels
    last, (n, height, width, c), whatever the module took; it can be trained, saved and explained.

    Args:
        module: a `torch.nn.Module`.
        example: what it takes, images first and channels second: a tensor, an array, its shape such as
            (1, 3, 32, 32), or a tuple of them for several inputs. Sizes are those of the example, the number
            of images is free.
        data_format: "channels_first" for a model that takes and gives axes in PyTorch's order. Inputs of
            three axes are turned round only where the module convolves or pools along the last one.
        name: of the model; that of the module's class if None.
        check: compare one prediction of the model with the module's.
    Returns: a functional model, not compiled; `model.metadata["from_torch"]` says what was read, and notes.
    Raises: ArgumentError naming the operator, its node and its module where something cannot be taken over
        exactly; MissingDependencyError without PyTorch.
    """
    source = exported(module, example)
    model, walk = model_of(source, data_format, name or _name_of(module))
    if check:
        _compare(model, source, walk)
    warn(walk.net.notes, "from_torch")
    return model


def warn(notes: list[str], who: str) -> None:
    """Tell what is not as it was."""
    for note in notes:
        warnings.warn(f"{who}: {note}", UserWarning, stacklevel=3)


def _name_of(module: Any) -> str:
    return type(module).__name__.lower()


def model_of(source: Exported, data_format: str, name: str | None) -> tuple[Model, Walk]:
    """The model of an exported program, and the walk that made it."""
    torch = require("torch", "reading modules of PyTorch")
    if data_format not in ("channels_last", "channels_first"):
        raise ArgumentError(f'data_format must be "channels_last" or "channels_first", got {data_format!r}.')
    walk = Walk(source, data_format)
    with torch.no_grad():
        model = walk.model(name)
    model.metadata["from_torch"] = {
        "torch": str(torch.__version__),
        "kernelearn": __version__,
        "data_format": data_format,
        "weights": dict(walk.net.taken),
        "shapes": dict(walk.net.shapes),
        "flattened": dict(walk.net.flattened),
        "inputs": {x.tensor.node.layer.name: list(x.order) for x in walk.inputs},
        "outputs": [list(order) for order in walk.output_orders],
        "buffers": {layer: list(found) for layer, found in walk.net.buffers.items()},
        "notes": list(walk.net.notes),
    }
    return model, walk


def _compare(model: Model, source: Exported, walk: Walk) -> None:
    """Raise ArgumentError if the model does not predict what the module predicts for the example."""
    given = [_ours(x, placed.order) for x, placed in zip(source.examples, walk.inputs)]
    found = outputs_of(model.predict(given if len(given) > 1 else given[0], verbose=0), model.output_keys)
    wanted = outputs_of(source.results, model.output_keys)
    for i, (ours, theirs, order) in enumerate(zip(found, wanted, walk.output_orders)):
        array = _ours(theirs, order)
        size = float(np.abs(array).max(initial=0)) + 1e-6
        difference = float(np.abs(ours - array).max(initial=0)) / size
        if not difference <= _BOUND.get(str(ours.dtype), 1e-3):
            raise ArgumentError(
                f"Output {i} of the model differs from the module's by {difference:.1e} of its largest "
                "number: "
                "the conversion is wrong, please report the module. With check=False you get the model "
                "as it is."
            )


def _ours(tensor: Any, order: Sequence[int]) -> NDArray[Any]:
    """A tensor of PyTorch with its axes in this order."""
    array: NDArray[Any] = tensor.detach().cpu().numpy().transpose(order)
    return array


def outputs_of(found: Any, keys: Sequence[str] | None) -> list[Any]:
    """Outputs one after the other, in the order of their keys where they have keys."""
    if isinstance(found, dict):
        return [found[key] for key in keys or found]
    if isinstance(found, list | tuple):
        return [part for entry in found for part in outputs_of(entry, None)]
    return [found]
