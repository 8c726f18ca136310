"""Which layers a layer holds: in its attributes, and in lists, tuples and dicts there, as deep as they go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.layers.core.weight import Weight

# Attributes of the base classes that hold layers which are none of the layer's own.
_NOT_SEARCHED = frozenset({"_layers", "_calls", "_nodes", "inputs", "outputs"})


def sublayers(layer: Layer) -> list[tuple[str, Layer]]:
    """(path, layer) of the layers that one holds itself, in the order of its attributes, each once.

    The path is the attribute, with places and keys behind it: "dense", "blocks/0", "heads/left".
    """
    from kernelearn.layers.core.base import Layer

    found: dict[int, tuple[str, Layer]] = {}
    # NOTE: most attributes are numbers and text, and this is asked for all the time.
    wanted = (Layer, list, tuple, dict)
    for name, value in vars(layer).items():
        if isinstance(value, wanted) and name not in _NOT_SEARCHED:
            for path, part in _parts(name, value, wanted):
                if part is not layer:
                    found.setdefault(id(part), (path, part))
    return list(found.values())


def _parts(path: str, value: Any, wanted: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """The layers in a value of one of these types: a layer, or what holds some."""
    if isinstance(value, wanted[0]):
        yield path, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, wanted):
            yield from _parts(f"{path}/{key}", part, wanted)


def descendants(layer: Layer) -> list[tuple[str, Layer]]:
    """(path, layer) of everything below a layer, outer ones first, each once, at its first path."""
    found: dict[int, tuple[str, Layer]] = {id(layer): ("", layer)}
    _collect(layer, "", found)
    return list(found.values())[1:]


def _collect(layer: Layer, prefix: str, found: dict[int, tuple[str, Layer]]) -> None:
    for path, part in layer.sublayers():
        if id(part) not in found:
            found[id(part)] = (f"{prefix}{path}", part)
            _collect(part, f"{prefix}{path}/", found)


def weight_paths(layer: Layer) -> dict[str, Weight]:
    """Path of every weight of a layer and of those below it, each once: "scale", "blocks/0/dense/kernel"."""
    paths = {weight.name: weight for weight in layer.own_weights}
    seen = {id(weight) for weight in paths.values()}
    for path, part in layer.sublayers():
        for name, weight in part.weight_paths().items():
            if id(weight) not in seen:
                seen.add(id(weight))
                paths[f"{path}/{name}"] = weight
    return paths
