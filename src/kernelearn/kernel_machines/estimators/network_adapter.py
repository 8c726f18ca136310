"""The one place where kernel machines touch networks: activations of layers.

A network is a model with `feature_maps(x, layers)` and `layers`, or a function (x, layers) that gives for a
batch x (n, ...) a dict from layer name to activations (n, ...). It is only read, never trained.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, NonFiniteError, ShapeError

FeatureFunction = Callable[[np.ndarray, Sequence[str] | None], Mapping[str, np.ndarray]]


def feature_function(model: Any) -> FeatureFunction:
    """The function (x, layers) -> dict of activations of a model; None as layers stands for all of them.

    Raises: ArgumentError for what is neither a model with `feature_maps` nor a function.
    """
    if hasattr(model, "feature_maps"):
        return _from_model(model)
    if callable(model):
        return model
    raise ArgumentError(
        "Expected a model with feature_maps(x, layers), or a function (x, layers) that returns a dict "
        f"from layer name to activations, got {type(model).__name__}."
    )


def _from_model(model: Any) -> FeatureFunction:
    # NOTE: `model.feature_maps` builds its program anew at every call; here all batches share one.
    @cache
    def part_up_to(names: tuple[str, ...]) -> Any:

        return model.model_of(names)

    def features(x: np.ndarray, layers: Sequence[str] | None) -> Mapping[str, np.ndarray]:
        names = tuple(layer.name for layer in model.layers) if layers is None else tuple(layers)
        maps = part_up_to(names).predict(x, batch_size=max(len(x), 1), verbose=0)
        return dict(zip(names, maps if isinstance(maps, list) else [maps]))

    return features


def activations(
    model: Any, x: np.ndarray, layers: Sequence[str] | None, batch_size: int
) -> dict[str, np.ndarray]:
    """Activations (n, ...) of the layers for all of x, computed in batches.

    Args:
        layers: names, or None for all that the network reports.
    Raises: ArgumentError for unknown layers, ShapeError for a batch of another length, NonFiniteError for NaN
        or infinity.
    """
    function = feature_function(model)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(x), batch_size):
        batch = x[start : start + batch_size]
        maps = function(batch, layers)
        _check_maps(maps, layers, len(batch))
        for name, values in maps.items():
            parts.setdefault(name, []).append(np.asarray(values))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _check_maps(maps: Mapping[str, np.ndarray], layers: Sequence[str] | None, n: int) -> None:
    missing = [name for name in layers or () if name not in maps]
    if missing or not maps:
        raise ArgumentError(f"No layer {', '.join(map(repr, missing))}. Layers: {', '.join(maps) or 'none'}.")
    for name, values in maps.items():
        if len(values) != n:
            raise ShapeError(f"Layer {name!r} gave {len(values)} activations for a batch of {n}.")
        if not np.all(np.isfinite(values)):
            raise NonFiniteError(f"Layer {name!r} gave NaN or infinity; the network or its input is broken.")
