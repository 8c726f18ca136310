"""Checks and conversions of constructor arguments that several layer families share."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kernelearn import constraints, initializers, regularizers
from kernelearn._configurable import is_whole, plain_value
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.errors import ArgumentError, ArgumentTypeError, ShapeError, unknown_name
from kernelearn.layers.core.structure import decoded, encoded

DATA_FORMATS = ("channels_last", "channels_first")
# Functions along an axis; all other activations act entry by entry and stand in the engine's table.
ALONG_AXIS = ("softmax", "log_softmax")
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}

Shape = tuple[int | None, ...]
Ints = int | Sequence[int]
# A name, None for none, or a function (of `kernelearn.activations` or of one's own) or a layer.
ActivationLike = str | Callable[..., Any] | None


def kept(name: str, value: Any, kind: str) -> Any:
    """A constructor argument as its layer keeps it: rules as objects, activations by name, plain numbers.

    Args:
        kind: its annotation in the signature.
    """
    if name in _CONVERSIONS:
        return _CONVERSIONS[name](value)
    stem, _, family = name.rpartition("_")
    if stem and family in _FAMILIES:
        return _FAMILIES[family].get(value)
    return plain_value(value, kind)


def as_json(name: str, value: Any) -> Any:
    """What a config holds for an argument that `kept` has made."""
    stem, _, family = name.rpartition("_")
    if stem and family in _FAMILIES:
        return _FAMILIES[family].serialize(value)
    if name == "activation":
        return encoded(kept_activation(value), "An activation")
    return _lists(value)


def checked_factor(value: Any, name: str = "learning_rate_multiplier") -> float:
    """A factor of a learning rate.

    Raises: ArgumentError for anything but a finite number of at least 0.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise ArgumentError(f"{name} must be a number of at least 0 (0 leaves weights alone), got {value!r}.")
    return float(value)


def _lists(value: Any) -> Any:
    """Tuples and arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_lists(part) for part in value] if isinstance(value, tuple | list) else value


def activation_name(identifier: Any) -> str:
    """The canonical name of an activation given as a string, as None, or as a function of `activations`.

    Raises: UnknownNameError listing the known names; ArgumentTypeError for anything else.
    """
    name = "linear" if identifier is None else getattr(identifier, "activation", identifier)
    if not isinstance(name, str) or isinstance(identifier, type):
        raise ArgumentTypeError(
            f"activation must be a name such as 'relu', a function or a layer, got {identifier!r}."
        )
    name = ALIASES.get(name, name)
    if name not in ACTIVATIONS and name not in ALONG_AXIS:
        raise unknown_name("activation", identifier, [*ACTIVATIONS, *ALONG_AXIS, *ALIASES])
    return name


def kept_activation(identifier: Any) -> Any:
    """An activation as its layer keeps it: by its name, or a function or layer of its own as it is.

    Raises: UnknownNameError listing the known names; ArgumentTypeError for anything else.
    """
    given = decoded(identifier)
    has_name = hasattr(given, "activation") and not hasattr(given, "get_config")
    is_own = callable(given) and not isinstance(given, type | np.ufunc) and not has_name
    return given if is_own else activation_name(given)


def check_data_format(value: str | None) -> str:
    """The data format, "channels_last" if None."""
    chosen = value or "channels_last"
    if chosen not in DATA_FORMATS:
        raise ArgumentError(f"data_format must be one of {DATA_FORMATS}, got {value!r}.")
    return chosen


_FAMILIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "activation": kept_activation,
    "data_format": check_data_format,
}


def check_positive(value: Any, name: str) -> int:
    """A positive int."""
    if not is_whole(value) or value < 1:
        raise ArgumentError(f"{name} must be a positive int, got {value!r}.")
    return int(value)


def whole_numbers(value: Any, name: str, count: int | None = None) -> tuple[int, ...]:
    """An int, or a list or tuple of ints, as a tuple of ints.

    Raises: ArgumentTypeError for anything else, ArgumentError for another number of them than `count`.
    """
    values = tuple(value) if isinstance(value, list | tuple | np.ndarray) else (value,)
    if not all(is_whole(v) for v in values):
        raise ArgumentTypeError(f"{name} must be an int or a list of ints, got {value!r}.")
    if count is not None and len(values) != count:
        raise ArgumentError(f"{name} must have {count} entries, got {value!r}.")
    return tuple(int(v) for v in values)


def check_rank(shape: Shape, rank: int, layer: str) -> None:
    """Raise ShapeError unless an input shape (batch first) has this many axes."""
    if len(shape) != rank:
        axes = {
            3: "(n, steps, channels)",
            4: "(n, height, width, channels)",
            5: "(n, depth, height, width, channels)",
        }
        hint = (
            " Grey images need a last axis of size 1: x[..., None]." if rank == 4 and len(shape) == 3 else ""
        )
        raise ShapeError(
            f"{layer} expects inputs with {rank} axes {axes.get(rank, '')}, got shape {tuple(shape)}.{hint}"
        )


def check_axis(axis: int, shape: Shape, layer: str) -> int:
    """An axis counted from the front; raise ShapeError if inputs of this shape do not have it."""
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{layer} has axis={axis}, which inputs of shape {tuple(shape)} do not have.")
    return axis % rank


def known_sizes_at(shape: Shape, axes: Iterable[int], layer: str) -> tuple[int, ...]:
    """The sizes along `axes`, which the weights of a layer depend on.

    Raises: ShapeError if one of them is known only when a batch comes.
    """
    sizes = [shape[axis] for axis in axes]
    if None in sizes:
        raise ShapeError(
            f"{layer} has weights for sizes that are not known in inputs of shape {tuple(shape)}. Give "
            "them in Input or input_shape (and resize the images when loading), or bring maps of any size "
            "to one that is known first: GlobalAveragePooling2D instead of Flatten, or Resizing."
        )
    return tuple(size for size in sizes if size is not None)


def known_sizes(x: Buffer) -> tuple[int, ...]:
    """All sizes of a buffer but the number of images: whole numbers wherever a program is made."""
    return tuple(size for size in x.shape[1:] if size is not None)


def channels_last(shape: Shape, data_format: str) -> Shape:
    """An input shape in channels-last order."""
    return tuple(shape) if data_format == "channels_last" else (shape[0], *shape[2:], shape[1])


def to_channels_last(graph: ProgramBuilder, x: Buffer, data_format: str) -> Buffer:
    """Move channels to the end if they come first."""
    if data_format == "channels_last":
        return x
    return graph.add("transpose", x, axes=(0, *range(2, len(x.shape)), 1))


def from_channels_last(graph: ProgramBuilder, x: Buffer, data_format: str) -> Buffer:
    """The inverse of `to_channels_last`."""
    if data_format == "channels_last":
        return x
    last = len(x.shape) - 1
    return graph.add("transpose", x, axes=(0, last, *range(1, last)))
