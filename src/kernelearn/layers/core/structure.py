"""Arguments with tensors in them: taken apart and put together again, and written down as JSON values.

A call keeps its arguments as they were given, in lists, tuples and dicts, with a `Place` where a tensor
stood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn._configurable import is_whole
from kernelearn._serializable import holds_references, need_object, registered_name
from kernelearn.errors import ArgumentError
from kernelearn.tracing import functions


@dataclass(frozen=True)
class Place:
    """Where a tensor stood.

    Attributes:
        index: its number in the list of tensors.
    """

    index: int


@dataclass(frozen=True)
class Given:
    """The arguments of a call, with a `Place` for each tensor."""

    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def filled(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with a value at every place."""
        return filled(self.args, values), filled(dict(self.keywords), values)

    def to_json(self, owner: str) -> dict[str, Any]:
        """As JSON values; `owner` says in an error whose arguments they are."""
        keywords = {key: encoded(value, owner) for key, value in self.keywords.items()}
        return {"arguments": [encoded(value, owner) for value in self.args], "keywords": keywords}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Given:
        """What `to_json` has written."""
        keywords = {str(key): decoded(value) for key, value in values["keywords"].items()}
        return cls(tuple(decoded(value) for value in values["arguments"]), keywords)


def with_places(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any], each_once: bool = True) -> Any:
    """A value with places for its leaves, which are added to the list.

    Args:
        each_once: an object that stands in two places is one leaf.
    """
    if is_leaf(value):
        same = (i for i, leaf in enumerate(leaves) if leaf is value and each_once)
        found = next(same, len(leaves))
        if found == len(leaves):
            leaves.append(value)
        return Place(found)
    return _mapped(value, lambda part: with_places(part, is_leaf, leaves, each_once))


def taken_apart(
    args: tuple[Any, ...], keywords: Mapping[str, Any], is_leaf: Callable[[Any], bool]
) -> tuple[Given, list[Any]]:
    """The arguments of a call with places, and what stood there."""
    leaves: list[Any] = []
    given = with_places(args, is_leaf, leaves)
    return Given(given, with_places(dict(keywords), is_leaf, leaves)), leaves


def filled(value: Any, values: Sequence[Any]) -> Any:
    """A value with others at its places."""
    if isinstance(value, Place):
        return values[value.index]
    return _mapped(value, lambda part: filled(part, values))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A list, tuple or dict with its parts changed; anything else as it is."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(change(part) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(change(part) for part in value)
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return value


def is_shape(value: Any) -> bool:
    """Whether a value is the shape of one input."""
    return isinstance(value, list | tuple) and all(size is None or is_whole(size) for size in value)


# --- as JSON values


def encoded(value: Any, owner: str) -> Any:
    """A value as JSON; what JSON has no word for is a dict with one key.

    Raises: ArgumentError for what no file can hold.
    """
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [encoded(part, owner) for part in value]
    name = registered_name(value) if callable(value) else None
    if name is not None:
        return {"function": name}
    if getattr(value, "operation_name", None) in functions():
        return {"operation": value.operation_name}
    for kind, (cls, to_json, _) in _KINDS.items():
        if isinstance(value, cls):
            return {kind: _encoded_parts(to_json(value), owner)}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    if holds_references():
        return value
    raise ArgumentError(
        f"{owner} was given {value!r} of type {type(value).__name__}, which a file cannot hold. Register its "
        "class or function with @kernelearn.saving.register(), or define get_config and from_config."
    )


class _Registered:
    """Stands in the table for functions, which `encoded` has looked up by name before."""


@dataclass(frozen=True)
class _Plain:
    """JSON values as they are."""

    values: Any


def _encoded_parts(value: Any, owner: str) -> Any:
    if isinstance(value, _Plain):
        return value.values
    if isinstance(value, dict):
        return {key: encoded(part, owner) for key, part in value.items()}
    return encoded(value, owner)


def decoded(value: Any) -> Any:
    """The value that `encoded` has written; anything else as it is."""
    if isinstance(value, list):
        return [decoded(part) for part in value]
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS:
        kind, held = next(iter(value.items()))
        return _KINDS[kind][2](held)
    return value


def _decoded_dict(held: Any) -> dict[str, Any]:
    return {str(key): decoded(part) for key, part in dict(held).items()}


def _array_of(held: Any) -> Any:
    return np.array(held["values"], dtype=np.dtype(str(held["dtype"]))).reshape(held["shape"])


def _array_parts(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


# What JSON has no word for: key in a config -> (class, its parts, and back).
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "input": (Place, lambda place: place.index, lambda held: Place(int(held))),
    "array": (np.ndarray, _array_parts, _array_of),
    "tuple": (tuple, list, lambda held: tuple(decoded(part) for part in held)),
    "slice": (slice, lambda s: [s.start, s.stop, s.step], lambda held: slice(*(decoded(p) for p in held))),
    "ellipsis": (type(...), lambda _: True, lambda _: ...),
    "dict": (dict, dict, _decoded_dict),
    "operation": (_Registered, str, lambda held: functions()[str(held)]),
    "function": (_Registered, str, lambda held: need_object(str(held))),
}


def add_kind(kind: str, cls: type, to_json: Callable[[Any], Any], from_json: Callable[[Any], Any]) -> None:
    """Let arguments be objects of a class, too."""
    _KINDS[kind] = (cls, lambda value: _Plain(to_json(value)), from_json)
