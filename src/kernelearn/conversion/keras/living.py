"""Models of a Keras that is running in this process, in and out: through a `.keras` file that nobody sees."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kernelearn._optional import require
from kernelearn.conversion.keras import zipped
from kernelearn.errors import ArgumentTypeError
from kernelearn.models import Model


def from_keras(model: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Model:
    """A model of ours with the layers, the weights and the training state of a Keras model.

    Args:
        model: a `keras.Model` (Keras 3, or Keras 2.12 and newer) whose shapes are known.
        custom_objects: as of `load_model`: name of a class or of a Lambda layer -> class or function.
        compile: also take over optimiser, loss and metrics, so that training can go on.
    Raises: ArgumentTypeError for something else; FormatError, UnknownNameError naming layer, class and
        attribute of what has no counterpart here.
    """
    if not (hasattr(model, "save") and hasattr(model, "layers")) or isinstance(model, Model):
        raise ArgumentTypeError(
            f"from_keras takes a keras.Model, got {model!r} of type {type(model).__name__}."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{getattr(model, 'name', 'model')}.keras"
        model.save(path)
        from kernelearn.models import load_model

        made: Model = load_model(path, custom_objects, compile)
    return made


def to_keras(model: Model) -> Any:
    """A `keras.Model` with the layers, the weights and the training state of a model of ours.

    Raises: ArgumentTypeError for something else; ArgumentError naming layer, class and attribute of what
        Keras does not have; MissingDependencyError without Keras.
    """
    if not isinstance(model, Model):
        raise ArgumentTypeError(
            f"to_keras takes a kernelearn model, got {model!r} of type {type(model).__name__}."
        )
    keras = require("keras", "making a Keras model")
    names = _for_pytorch(model) if keras.config.backend() == "torch" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        zipped.save_model(model, path, names)
        return keras.models.load_model(path)


def _for_pytorch(model: Model) -> dict[str, str]:
    """Names without the dots that Keras on PyTorch takes in no name; says what it computes otherwise."""
    layers = [layer for _, layer in model.descendants()]
    known = {layer.name for layer in layers}
    names: dict[str, str] = {}
    for layer in layers:
        if "." in layer.name and layer.name not in names:
            new = layer.name.replace(".", "_")
            while new in known:
                new += "_"
            names[layer.name] = new
            known.add(new)
    if names:
        first = next(iter(names))
        _warn(f"Keras on PyTorch takes no dots in names: {first!r} is called {names[first]!r} there")
    for layer in layers:
        for kind, is_other, what in OTHERWISE_ON_PYTORCH:
            if type(layer).__name__.startswith(kind) and is_other(layer):
                _warn(f"layer {layer.name!r} ({type(layer).__name__}): Keras on PyTorch {what}")
    return names


# Layers, whether it concerns them, and what Keras 3.15 on PyTorch does otherwise than on JAX and TensorFlow.
OTHERWISE_ON_PYTORCH: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "AveragePooling",
        lambda layer: layer.padding == "same" and max(layer.pool_size) > 1,
        "repeats pixels at borders that are wider on one side, and counts them",
    ),
    ("UpSampling2D", lambda layer: layer.interpolation == "bicubic", "has another cubic kernel"),
    ("Resizing", lambda layer: layer.interpolation == "bicubic", "has another cubic kernel"),
)


def _warn(text: str) -> None:
    warnings.warn(f"to_keras: {text}.", UserWarning, stacklevel=4)
