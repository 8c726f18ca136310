"""Discriminative learning rates: each layer learns at its own share of the optimiser's rate.

What is set is `learning_rate_multiplier` of the layers, which is saved with them and stands in the update of
their weights; this file only says which layers a name means.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from kernelearn.errors import NotBuiltError, unknown_name
from kernelearn.layers.core.arguments import checked_factor

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

Multipliers = Mapping[str, float] | float | None


def set_multipliers(model: Any, wanted: Multipliers) -> None:
    """Set the `learning_rate_multiplier` of layers.

    Args:
        model: whose layers.
        wanted: name or path of a layer -> factor, where `*` and `?` stand for other letters, a model within
            the model means its layers, and a later entry wins; or one number, by which each layer with
            weights learns slower than the one behind it, the last at the full rate; None changes nothing.
    Raises: UnknownNameError for a name without a layer, ArgumentError for a factor that is no number of at
        least 0, NotBuiltError for one number before the weights are made. Nothing is changed then.
    """
    if wanted is None:
        return
    if isinstance(wanted, Mapping):
        chosen = _by_name(model, wanted)
    else:
        chosen = _by_depth(model, checked_factor(wanted, "learning_rate_multipliers"))
    for layer, factor in chosen:
        layer.learning_rate_multiplier = factor


def matching_layers(model: Any, pattern: str) -> list[Layer]:
    """The layers that a name, a path or a pattern means, those within a model that it means included.

    Raises: UnknownNameError if there is none.
    """
    known: list[tuple[str, Layer]] = model.descendants()
    heads = [(path, part) for path, part in known if _means(pattern, path, part.name)]
    below = [part for head, _ in heads for path, part in known if path.startswith(f"{head}/")]
    found = {id(part): part for part in (*(part for _, part in heads), *below)}
    if not found:
        raise unknown_name("layer", pattern, [path for path, _ in known])
    return list(found.values())


def _means(pattern: str, path: str, name: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(name, pattern)


def _by_name(model: Any, wanted: Mapping[str, float]) -> list[tuple[Layer, float]]:
    found = []
    for pattern, value in wanted.items():
        factor = checked_factor(value, f"learning_rate_multipliers[{pattern!r}]")
        found += [(layer, factor) for layer in matching_layers(model, pattern)]
    return found


def _by_depth(model: Any, ratio: float) -> list[tuple[Layer, float]]:
    """The last layer with weights at the full rate, each one before it at `ratio` times that behind it."""
    layers = [layer for layer in model.flat_layers() if layer.own_weights]
    if not layers:
        raise NotBuiltError(
            "learning_rate_multipliers as one number counts the layers with weights, and there are none yet: "
            "give the model an input shape first, or name the layers."
        )
    return [(layer, ratio**behind) for behind, layer in enumerate(reversed(layers))]
