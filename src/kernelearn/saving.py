"""Files and the user's own classes and functions: what may be written, and what a name in a file means.

    @kernelearn.saving.register(package="mine")
    class Gate(kernelearn.layers.Layer): ...

A model with registered classes is saved and loaded like any other. Loading runs nothing from a file: a name
that is not registered is refused. The longer names are Keras's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelearn._serializable import (
    custom_object_scope,
    custom_objects,
    need_object,
    register,
    registered_name,
    registered_object,
)
from kernelearn.constraints import CONSTRAINTS
from kernelearn.errors import ArgumentError
from kernelearn.initializers.base import INITIALIZERS
from kernelearn.layers import LAYERS
from kernelearn.losses import LOSSES
from kernelearn.metrics import METRICS
from kernelearn.models import load_model
from kernelearn.optimizers import OPTIMIZERS
from kernelearn.registry import Registry
from kernelearn.regularizers import REGULARIZERS

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "register",
    "register_keras_serializable",
    "save_model",
    "serialize_keras_object",
]

CustomObjectScope = custom_object_scope
register_keras_serializable = register

_FAMILIES: tuple[Registry, ...] = (
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    REGULARIZERS,
    INITIALIZERS,
    CONSTRAINTS,
)


def get_registered_name(thing: Any) -> str:
    """The name of a class or function in files; its own name if it is not registered."""
    return registered_name(thing) or str(thing.__name__)


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The class or function that a name in a file means; None if there is none."""
    return registered_object(name, custom_objects)


def get_custom_objects() -> dict[str, Any]:
    """Everything that is registered: name in files -> class or function."""
    return custom_objects()


def save_model(model: Any, path: Any, overwrite: bool = True) -> None:
    """`model.save(path)`."""
    model.save(path, overwrite=overwrite)


def serialize_keras_object(thing: Any) -> Any:
    """A layer, loss, optimiser and the like, or a registered function, as JSON values.

    Raises: ArgumentError for what is not registered.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, list | tuple):
        return [serialize_keras_object(part) for part in thing]
    if isinstance(thing, dict):
        return {key: serialize_keras_object(part) for key, part in thing.items()}
    if not hasattr(thing, "get_config"):
        name = registered_name(thing)
        if name is None:
            raise ArgumentError(f"{thing!r} is not registered: write @kernelearn.saving.register() above it.")
        return {"class_name": "function", "config": name}
    for family in _FAMILIES:
        if type(thing) in family.classes():
            return family.serialize(thing)
    return LAYERS.serialize(thing)


def deserialize_keras_object(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What `serialize_keras_object` has written.

    Raises: UnknownNameError for a name that is not registered.
    """
    with custom_object_scope(custom_objects):
        if isinstance(config, list):
            return [deserialize_keras_object(part) for part in config]
        if not isinstance(config, dict):
            return config
        if "class_name" not in config:
            return {key: deserialize_keras_object(part) for key, part in config.items()}
        if config["class_name"] == "function":
            return need_object(str(config["config"]))
        family = next((f for f in _FAMILIES if config["class_name"] in f.names()), LAYERS)
        return family.get(config)
