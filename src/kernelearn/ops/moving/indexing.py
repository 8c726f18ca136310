"""Parts of a value by their places: what `x[...]` means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, combined, emit, reshaped, values
from kernelearn.ops._shapes import reshaped_to
from kernelearn.tracing import Traced, fixed, program_of

# (start, count, step) of an axis; None: all of it.
Place = tuple[int, int, int] | None


@operation
def get_item(x: Value, key: Any) -> Any:
    """x[key]: whole numbers, slices with any step, None, `...`, and arrays of whole numbers side by side.

    Raises: ShapeError for places outside of x, ArgumentError for keys whose result has a size that depends on
        numbers (arrays of booleans).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.get_item(np.arange(4.0), slice(None, None, -2))
    array([3., 1.])
    """
    keys = key if isinstance(key, tuple) else (key,)
    if program_of([x, *keys]) is None:
        return np.asarray(x)[key]
    x = values(x, *[k for k in keys if isinstance(k, Traced)])[0]
    parts = [part if _is_plain(part) else _as_index(part) for part in _whole_key(keys, x)]
    if all(_is_plain(part) for part in parts):
        return _part(x, parts)
    return _chosen(x, parts)


def _is_plain(part: Any) -> bool:
    """Whether a part of a key is None, a slice or a whole number."""
    return (
        part is None or isinstance(part, slice) or (isinstance(part, int | np.integer) and not _is_bool(part))
    )


def _is_bool(part: Any) -> bool:
    return isinstance(part, bool | np.bool_)


def _as_index(part: Any) -> Value:
    """An array of whole numbers."""
    index = part if isinstance(part, Traced) else np.asarray(part)
    kind = str(index.dtype)
    if kind == "bool":
        raise ArgumentError(
            "x[condition] has a size that depends on numbers, which a program cannot have. Use "
            "ops.where(condition, x, other), or multiply by the condition."
        )
    if not kind.startswith(("int", "uint")):
        raise ArgumentError(
            f"x[...] takes whole numbers, slices, None and `...`; got {part!r} of type {kind}."
        )
    return index


def _whole_key(key: tuple[Any, ...], x: Value) -> list[Any]:
    """One part for each axis, and None for each new one."""
    given = sum(part is not None and part is not Ellipsis for part in key)
    if given > x.ndim:
        raise ShapeError(f"{given} indices for a value of shape {x.shape}.")
    at = next((i for i, part in enumerate(key) if part is Ellipsis), len(key))
    rest = [slice(None)] * (x.ndim - given)
    return [*key[:at], *rest, *key[at + 1 :]]


def _part(x: Value, parts: Sequence[Any]) -> Value:
    """By None, slices and whole numbers alone."""
    axes = [part for part in parts if part is not None]
    if (axes and axes[0] != slice(None)) or (parts and parts[0] is None):
        x = fixed(x)
    taken = _taken(x, [_place(part, x.shape[axis], x) for axis, part in enumerate(axes)])
    sizes = iter(taken.buffer.shape)
    shape: list[int | None] = []
    for part in parts:
        size = 1 if part is None else next(sizes)
        if part is None or isinstance(part, slice):
            shape.append(size)
    return taken if tuple(shape) == taken.buffer.shape else reshaped(taken, shape)


def _place(part: Any, size: int | None, x: Value) -> Place:
    """What a slice or a whole number takes of an axis of x."""
    if part == slice(None):
        return None
    length = int(size or 0)
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        count = len(range(start, stop, step))
        if not count:
            raise ShapeError(f"The slice {part} of an axis of {length} entries of {x!r} leaves nothing.")
        return None if (start, count, step) == (0, length, 1) else (start, count, step)
    if not -length <= part < length:
        raise ShapeError(f"Index {part} is out of bounds for an axis of {length} entries of {x!r}.")
    return int(part) % length, 1, 1


def _taken(x: Value, places: Sequence[Place]) -> Value:
    """The entries at these places, all axes kept."""
    if all(place is None for place in places):
        return x
    if all(place is None or place[2] == 1 for place in places):
        return emit("slice", x, bounds=tuple(None if p is None else (p[0], p[0] + p[1]) for p in places))
    return emit("strided_slice", x, places=tuple(places))


def _chosen(x: Value, parts: Sequence[Any]) -> Value:
    """By arrays of whole numbers side by side, and slices and new axes around them."""
    spread = [part if part is None or isinstance(part, slice) else slice(None) for part in parts]
    at = [i for i, part in enumerate(parts) if spread[i] is not part]
    first, last = at[0], at[-1]
    if at != list(range(first, last + 1)):
        raise ArgumentError(
            "Arrays of indices must stand side by side in x[...]; use ops.take for the others."
        )
    y = _part(x, spread)
    y = fixed(y) if first == 0 else y
    if len(at) == 1:
        return emit("gather", y, parts[first], axis=first)
    sizes = [int(s) for s in y.shape[first : last + 1]]
    shape = y.buffer.shape
    flat = reshaped_to(y, [*shape[:first], int(np.prod(sizes)), *shape[last + 1 :]])
    numbers = emit("flat_index", *combined(*[parts[i] for i in at]), sizes=tuple(sizes))
    return emit("gather", flat, numbers, axis=first)
