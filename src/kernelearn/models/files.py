"""Models and weights as files of the own format (`formats.native`): JSON and plain arrays, no code.

Files of other programs, told by ending and content (`formats.model_files`), are handed to `conversion`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn import losses, metrics, optimizers
from kernelearn._serializable import custom_object_scope
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, FormatError, ShapeError, UnknownNameError
from kernelearn.formats import native
from kernelearn.formats.endings import check_own_ending
from kernelearn.formats.foreign import refused
from kernelearn.formats.json_shape import Every, check_json
from kernelearn.formats.model_files import format_to_read, format_to_write
from kernelearn.formats.safe_zip import COPY
from kernelearn.initializers.from_layer import values_follow
from kernelearn.layers.core.base import LAYERS, Layer
from kernelearn.layers.core.own import is_own
from kernelearn.models.model import Model
from kernelearn.training.input_range import InputRange
from kernelearn.training.steps.compiled import CompileArguments

MODEL, WEIGHTS = "model", "weights"
# Before the names of arrays in a file of a whole model.
WEIGHTS_OF, SLOTS = "weights/", "slots/"
_SHAPE = {
    "model": {"class_name": str, "config": dict, "build_config?": dict},
    "metadata?": dict,
    "input_range?": Every(float),
    "iterations?": int,
    "compile?": {
        "optimizer": {"class_name": str, "config": dict},
        "without_weight_decay?": [str],
        "policy?": str,
    },
}


def save_model(model: Model, path: Any, overwrite: bool = True) -> None:
    """Write a model: structure, weights, metadata; if compiled, also loss, metrics and optimiser state."""
    _check_overwrite(path, overwrite)
    foreign = format_to_write(path)
    if foreign is not None:
        foreign.function("save_model", path)(model, path)
        return
    native.write(path, *model_parts(model))
    model.note_saved()


def model_parts(model: Model) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file of a whole model holds, whatever its kind: JSON values, and arrays by name."""
    arrays = {f"{WEIGHTS_OF}{name}": w.numpy() for name, w in model.weight_paths().items()}
    arrays.update((f"{SLOTS}{name}", slot.numpy()) for name, slot in model.programs.slots.items())
    return model_config(model), arrays


def model_config(model: Model) -> dict[str, Any]:
    """Everything about a model but its arrays, as JSON values.

    Raises: ArgumentError for a part that cannot be written down.
    """
    _check_registered(model)
    values: dict[str, Any] = {"kind": MODEL, "model": LAYERS.serialize(model), "metadata": model.metadata}
    values["input_range"] = model.input_range.largest
    if model.compiled:
        values["compile"] = compile_config(model)
        values["iterations"] = model.programs.compiled_optimizer().iterations
    return values


def _check_registered(model: Model) -> None:
    """Raise ArgumentError if a file of this model could not be read again."""
    found = [layer for layer in (model, *_described(model)) if not _has_name(layer)]
    if found:
        names = ", ".join(dict.fromkeys(type(layer).__name__ for layer in found))
        raise ArgumentError(
            f"Model {model.name!r} cannot be saved whole: {names} is not registered, so that a file with it "
            "could not be read again. Write @kernelearn.saving.register() above the class, or save the "
            "weights alone with model.save_weights(path). Nothing was written."
        )


def _described(model: Any) -> Iterator[Layer]:
    """The layers that stand in the config of a model: not those that a constructor makes again."""
    if not isinstance(model, Model) or is_own(type(model)):
        return
    for layer in model.layers:
        yield layer
        yield from _described(layer)


def _has_name(layer: Layer) -> bool:
    return LAYERS.why_no_name(layer) is None


def load_model(path: Any, custom_objects: Any = None, compile: bool = True) -> Any:
    """Read a model written by `Model.save`, by Keras, as ONNX, by torch.export or as safetensors.

    Args:
        path: of the file; which kind it is follows from what is in it.
        custom_objects: name in the file -> class or function of yours that is not registered.
        compile: also restore optimiser, loss and metrics, so that training can go on.
    Raises: FormatError if the file is damaged, foreign or no model.
    """
    foreign = format_to_read(path)
    with custom_object_scope(custom_objects):
        if foreign is not None:
            return foreign.function("load_model", path)(path, custom_objects, compile)
        return _loaded(path, compile)


def _loaded(path: Any, compile: bool) -> Any:
    return model_from_parts(*native.read(path), path, compile)


def model_from_parts(values: Any, arrays: dict[str, np.ndarray], path: Any, compile: bool) -> Model:
    """The model that `model_parts` describes, read from a file by somebody who need not be trusted.

    Raises: FormatError, UnknownNameError.
    """
    if not isinstance(values, dict) or values.get("kind") != MODEL:
        raise FormatError(
            f"{str(path)!r} holds {_kind_of(values)!r}, not a model. Weights are read by the "
            "load_weights of a model that is built."
        )
    check_json(values, _SHAPE, repr(str(path)), FormatError)
    # A file can be whole and hold values that no class takes; a name that is not known says what to register.
    with refused(repr(str(path)), FormatError, COPY, passing=(FormatError, UnknownNameError)):
        model = _model_of(values, _with_prefix(WEIGHTS_OF, arrays), path)
        if compile and "compile" in values:
            _restore_compiled(model, values, arrays)
    return model


def _kind_of(values: Any) -> Any:
    return values.get("kind") if isinstance(values, dict) else type(values).__name__


def _model_of(values: dict[str, Any], weights: dict[str, np.ndarray], path: Any) -> Model:
    with values_follow(sum(array.size for array in weights.values())):
        model = LAYERS.get(values["model"])
    if not isinstance(model, Model):
        raise FormatError(f"{str(path)!r} holds a {type(model).__name__}, not a model.")
    _assign(model, weights, path)
    model.metadata = values.get("metadata", {})
    model.input_range = InputRange(values.get("input_range"))
    return model


def _with_prefix(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def save_weights(model: Model, path: Any, overwrite: bool = True) -> None:
    """Write the weights alone."""
    _check_overwrite(path, overwrite)
    foreign = format_to_write(path)
    if foreign is not None:
        foreign.function("save_weights", path)(model, path)
        return
    native.write(
        path, {"kind": WEIGHTS}, {f"{WEIGHTS_OF}{n}": w.numpy() for n, w in model.weight_paths().items()}
    )
    model.note_saved()


def load_weights(
    model: Model,
    path: Any,
    by_name: bool = False,
    skip_mismatch: bool = False,
    by_position: bool = False,
) -> list[str]:
    """Read weights into a model: all of them, or by name those that it has.

    All of them are paired by name where the file has the model's names, whatever their order; by order where
    it has other names.
    """
    model.need_shapes()
    foreign = format_to_read(path)
    if foreign is not None:
        read: list[str] = foreign.function("load_weights", path)(
            model, path, by_name, skip_mismatch, by_position
        )
        return read
    _, arrays = native.read(path)
    saved = _with_prefix(WEIGHTS_OF, arrays)
    if not by_name:
        own = list(model.weight_paths())
        if set(own) == set(saved):
            saved = {name: saved[name] for name in own}
        if [model.weight_paths()[n].shape for n in own] != [a.shape for a in saved.values()]:
            raise ShapeError(
                f"{str(path)!r} holds weights of shapes {[a.shape for a in saved.values()]}; the model has "
                f"{[w.shape for w in model.weights]}. Use by_name=True to take those that match by name."
            )
        _assign(model, dict(zip(own, saved.values())), path)
        return own
    matching = {n: a for n, a in saved.items() if n in model.weight_paths()}
    fitting = {n: a for n, a in matching.items() if a.shape == model.weight_paths()[n].shape}
    if not matching:
        raise ArgumentError(
            f"No weight in {str(path)!r} has the name of one of the model's: {sorted(saved)[:6]} ... "
            "Without by_name=True they are taken by their order."
        )
    if len(fitting) < len(matching) and not skip_mismatch:
        name = next(n for n in matching if n not in fitting)
        raise ShapeError(
            f"Weight {name!r} has shape {matching[name].shape} in the file and "
            f"{model.weight_paths()[name].shape} in the model. "
            "Use skip_mismatch=True to leave such weights as they are."
        )
    for name, array in fitting.items():
        model.weight_paths()[name].assign(array)
    return list(fitting)


def _assign(model: Model, arrays: dict[str, np.ndarray], path: Any) -> None:
    own = model.weight_paths()
    if {n: w.shape for n, w in own.items()} != {n: a.shape for n, a in arrays.items()}:
        raise FormatError(f"{str(path)!r} does not hold the weights of its model: names or shapes differ.")
    for name, array in arrays.items():
        own[name].assign(array)


def _check_overwrite(path: Any, overwrite: bool) -> None:
    check_own_ending(path)
    if not overwrite and Path(path).exists():
        raise ArgumentError(f"{str(path)!r} exists; choose another name or pass overwrite=True.")


def compile_config(model: Model) -> dict[str, Any]:
    """What `compile` was told, as JSON values.

    Raises: ArgumentError for a part that cannot be written down.
    """
    told = model.programs.arguments or CompileArguments()
    used = model.programs.compiled_optimizer()
    return {
        "optimizer": optimizers.serialize(used),
        "without_weight_decay": [
            name for name, w in model.weight_paths().items() if not used.uses_weight_decay(w)
        ],
        "loss": _map(told.loss, lambda v: losses.serialize(losses.get(v))),
        "loss_weights": told.loss_weights,
        "metrics": _map(told.metrics, _metric_config),
        "weighted_metrics": _map(told.weighted_metrics, _metric_config),
        "policy": model.policy,
    }


def _metric_config(metric: Any) -> Any:
    return metric if isinstance(metric, str) else metrics.serialize(metrics.get(metric))


def _map(value: Any, function: Any) -> Any:
    """Apply a function to the leaves of nested lists and dicts (a config dict is a leaf)."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_map(v, function) for v in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _map(v, function) for key, v in value.items()}
    return function(value)


def _restore_compiled(model: Model, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    saved, paths = values["compile"], model.weight_paths()
    optimizer = optimizers.deserialize(saved["optimizer"])
    optimizer.exclude_from_weight_decay([paths[name] for name in saved.get("without_weight_decay", ())])
    model.compile(
        optimizer,
        saved["loss"],
        saved["loss_weights"],
        saved["metrics"],
        saved["weighted_metrics"],
        policy=saved.get("policy", "float32"),  # NOTE: older files name none
    )
    optimizer.iterations = values["iterations"]
    for name, array in arrays.items():
        if name.startswith(SLOTS):
            slot = model.programs.slots.setdefault(name.removeprefix(SLOTS), Variable(array, name))
            slot.assign(array)
