"""Configs of layers of one's own: the constructor's arguments as they were given, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelearn._configurable import arguments_of
from kernelearn.layers.core.structure import decoded, encoded

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

# What every layer has, whether its constructor takes it or not.
_ALWAYS = ("name", "trainable")


def config_of(layer: Layer) -> dict[str, Any]:
    """The arguments of a layer whose class says nothing about its config itself.

    Raises: ArgumentError for an argument that a file cannot hold.
    """
    args, keywords = layer.given_arguments
    known = arguments_of(type(layer))
    given = {**dict(zip(known.positional, args)), **keywords}
    ours = {name for name, kind in known.kinds.items() if kind} | set(_ALWAYS)
    own = {name: value for name, value in given.items() if name not in ours and name in known.kinds}
    taken = [name for name in known.kinds if name in ours and layer.is_in_config(name)]
    config = {name: layer.config_value(name) for name in taken}
    config.update((name, layer.config_value(name)) for name in _ALWAYS)
    owner = f"{type(layer).__name__}(...)"
    for name, value in own.items():
        config[name] = encoded(value, f"{owner}, as {name},")
    return config


def made_from(cls: Any, config: dict[str, Any]) -> Any:
    """The layer that a config describes; what its constructor does not take is set afterwards."""
    values = {name: decoded(value) for name, value in config.items()}
    known = arguments_of(cls)
    later = {name: values.pop(name) for name in _ALWAYS if name in values and name not in known.kinds}
    made = cls(**values)
    if "name" in later:
        made.name = later["name"]
    if later.get("trainable") is False:
        made.trainable = False
    return made
