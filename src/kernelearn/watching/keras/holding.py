"""The model of a run: that of Keras, as this library reads it, so that explanations can compute with it."""

from __future__ import annotations

import warnings
from typing import Any

from kernelearn.conversion.keras.living import from_keras
from kernelearn.errors import KernelearnError
from kernelearn.layers.core.base import LAYERS
from kernelearn.watching.keras.names import Names


def held_model(model: Any, names: Names) -> tuple[dict[str, Any] | None, str]:
    """(config of the model, ""), or (None, why the run cannot hold it)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = from_keras(model, compile=False)
    except (KernelearnError, ValueError, TypeError, NotImplementedError) as error:
        return None, str(error)
    shapes = {path: tuple(weight.shape) for path, weight in own.weight_paths().items()}
    if shapes != names.shapes:
        odd = sorted(set(shapes) ^ set(names.shapes))[:4]
        return None, f"its weights have other names here ({', '.join(odd)})"
    reason = LAYERS.why_not_saved(own)
    return (None, reason) if reason is not None else (LAYERS.serialize(own), "")
