"""Models of a Keras that is running in this process, in and out: through a `.keras` file that nobody sees."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernelearn._optional import require
from kernelearn.conversion.keras import zipped
from kernelearn.errors import ArgumentError, ArgumentTypeError
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        zipped.save_model(model, path)
        try:
            return keras.models.load_model(path)
        except KeyError as error:
            raise _because_of_dots(model, error) from error


def _because_of_dots(model: Model, error: KeyError) -> Exception:
    """What Keras on PyTorch says of weights whose names have a dot, in words; or the error as it is."""
    dotted = [path for path in model.weight_paths() if "." in path]
    if not dotted or "." not in str(error):
        return error
    return ArgumentError(
        f"Keras on PyTorch takes no dots in the names of parameters, and {dotted[0]!r} has one (of "
        f"{len(dotted)}). Give layers other names, or start Keras with KERAS_BACKEND=jax."
    )
