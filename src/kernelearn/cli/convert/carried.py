"""What a kind of file did not take along: found by reading the written file back, not promised by a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.formats.model_files import format_to_write


def read_back(path: Path, model: Any) -> Any:
    """The model that a written file holds; for weights alone a twin of the model with these.

    Raises: KernelearnError if the file cannot be read again.
    """
    from kernelearn.models import load_model

    kind = format_to_write(path)
    if kind is not None and kind.weights_only:
        twin = model.clone()
        twin.set_weights([np.zeros_like(array) for array in twin.get_weights()])
        twin.load_weights(path)
        return twin
    return load_model(path)


def not_carried(model: Any, path: Path, back: Any) -> list[str]:
    """What the model had and the file, read again, has not: a line for each thing."""
    kind = format_to_write(path)
    if kind is not None and kind.weights_only:
        return ["the structure of the network: the file holds weights alone", *_training(model, None)]
    found = _training(model, back)
    for name, what in _METADATA.items():
        if model.metadata.get(name) is not None and back.metadata.get(name) != model.metadata[name]:
            found.append(what)
    if model.input_range.largest and not back.input_range.largest:
        found.append("the range of numbers that it was trained on, which is compared when it meets others")
    if _rates(model) and sorted(_rates(back).values()) != sorted(_rates(model).values()):
        found.append("factors of the learning rate of single layers")
    if _frozen(model) and _frozen(back) != _frozen(model):
        found.append(f"which layers are frozen ({', '.join(_frozen(model)[:5])})")
    names, others = [list(one.weight_paths()) for one in (model, back)]
    if names != others:
        found.append("names of layers and weights, or their order: they are others in the file")
    if _training_layers(model) and not _training_layers(back):
        found.append(f"layers that act in training only ({', '.join(_training_layers(model)[:5])})")
    return found


_METADATA = {
    "class_names": "the names of the classes",
    "input_shape": "the size of the images that it was trained on",
    "resize": "how images were resized for the training",
}


def _training(model: Any, back: Any) -> list[str]:
    if not model.compiled:
        return []
    if back is None or not back.compiled:
        state = " and its state" if model.programs.slots else ""
        return [f"the optimiser ({type(model.optimizer).__name__}){state}, the loss and the metrics"]
    lost = []
    if int(back.optimizer.iterations) != int(model.optimizer.iterations):
        lost.append("how many updates were done")
    if _sizes(back) != _sizes(model):
        lost.append("the arrays of the optimiser, such as its moments")
    return lost


def _sizes(model: Any) -> list[tuple[int, ...]]:
    return sorted(tuple(slot.shape) for slot in model.programs.slots.values())


def _frozen(model: Any) -> list[str]:
    return [layer.name for layer in model.flat_layers() if layer.own_weights and not layer.trainable]


def _rates(model: Any) -> dict[int, float]:
    """id(layer) -> factor of its learning rate, where it has one."""
    layers = model.flat_layers()
    return {
        id(layer): layer.learning_rate_multiplier for layer in layers if layer.learning_rate_multiplier != 1
    }


def _training_layers(model: Any) -> list[str]:
    """Layers that change what goes through them at random."""
    return [layer.name for layer in model.flat_layers() if layer.called_training or hasattr(layer, "rate")]


def write(model: Any, path: Path) -> str:
    """Write a model, or its weights where the kind of file holds no more.

    Returns: why the training was left out, where the kind of file has no words for it; else "".
    Raises: ArgumentError for a kind that cannot be written.
    """
    kind = format_to_write(path)
    if kind is None and path.suffix.lower() != ".kernelearn":
        raise ArgumentError(
            f"{str(path)!r}: the ending says no kind of file that is known. Use .kernelearn, .keras, .h5, "
            ".onnx, .safetensors, or .weights.h5 and .pt for weights alone."
        )
    if kind is not None and kind.weights_only:
        model.save_weights(path)
        return ""
    rates = _rates(model)
    try:
        for layer in model.flat_layers() if kind is not None else ():
            layer.learning_rate_multiplier = 1.0  # no other program has them
        return _saved(model, path, kind is not None)
    finally:
        for layer in model.flat_layers():
            layer.learning_rate_multiplier = rates.get(id(layer), 1.0)


def _saved(model: Any, path: Path, is_foreign: bool) -> str:
    """Save a model; for other programs without its training where that is what stands in the way."""
    try:
        model.save(path)
    except ArgumentError as error:
        if not (is_foreign and model.compiled):
            raise
        bare = model.clone()
        bare.input_range = model.input_range
        bare.save(path)  # a layer without a counterpart is refused here again
        return str(error.__cause__ or error).rstrip(".")
    return ""


def try_back(path: Path, model: Any) -> tuple[Any, str]:
    """(the model read again, "") or (None, why it cannot be read again)."""
    try:
        return read_back(path, model), ""
    except KernelearnError as error:
        return None, str(error)
