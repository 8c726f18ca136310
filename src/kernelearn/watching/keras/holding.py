"""The model of a run: that of Keras, as this library reads it, so that explanations can compute with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from kernelearn.conversion.keras.living import from_keras
from kernelearn.errors import KernelearnError
from kernelearn.layers.core.base import LAYERS
from kernelearn.recording.capture.selection import compiled_as
from kernelearn.watching.keras.names import Names


@dataclass(frozen=True)
class HeldModel:
    """What a run can hold of a model.

    Attributes:
        config: of the model; None where it cannot be held.
        why: it cannot, in words.
        compiled: what it was told of losses and precision; None where that is not known, or not enough.
    """

    config: dict[str, Any] | None = None
    why: str = ""
    compiled: dict[str, Any] | None = None


def held_model(model: Any, names: Names) -> HeldModel:
    """The model of a run, from that of Keras."""
    try:
        own, has_loss = _read(model)
    except (KernelearnError, ValueError, TypeError, NotImplementedError) as error:
        return HeldModel(why=str(error))
    shapes = {path: tuple(weight.shape) for path, weight in own.weight_paths().items()}
    if shapes != names.shapes:
        odd = sorted(set(shapes) ^ set(names.shapes))[:4]
        return HeldModel(why=f"its weights have other names here ({', '.join(odd)}).")
    reason = LAYERS.why_not_saved(own)
    if reason is not None:
        return HeldModel(why=reason)
    is_told = has_loss and not any(is_random(layer) for layer in own.flat_layers())
    return HeldModel(LAYERS.serialize(own), "", compiled_as(own) if is_told else None)


def is_random(layer: Any) -> bool:
    """Whether a layer draws numbers while it trains: a step cannot be done again with those of Keras."""
    return type(layer).__name__.startswith("Random") or type(layer).__module__.endswith(".noise")


def _read(model: Any) -> tuple[Any, bool]:
    """(the model, whether it has its loss): without one where this library has not the like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return from_keras(model), True
        except KernelearnError:
            return from_keras(model, compile=False), False
