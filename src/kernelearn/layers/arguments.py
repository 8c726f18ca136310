"""Checks and conversions of constructor arguments that several layer families share."""

from collections.abc import Sequence
from typing import Any

from kernelearn import constraints, initializers, regularizers
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError

DATA_FORMATS = ("channels_last", "channels_first")


def check_data_format(value: str | None) -> str:
    """The data format, "channels_last" if None."""
    chosen = value or "channels_last"
    if chosen not in DATA_FORMATS:
        raise ArgumentError(f"data_format must be one of {DATA_FORMATS}, got {value!r}.")
    return chosen


def check_positive(value: Any, name: str) -> int:
    """A positive int."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{name} must be a positive int, got {value!r}.")
    return value


def check_rank(shape: Sequence, rank: int, layer: str) -> None:
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


def check_axis(axis: int, shape: Sequence, layer: str) -> int:
    """An axis counted from the front; raise ShapeError if inputs of this shape do not have it."""
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{layer} has axis={axis}, which inputs of shape {tuple(shape)} do not have.")
    return axis % rank


def check_known(shape: Sequence, layer: str) -> None:
    """Raise ShapeError if any size but the first (the batch) is unknown."""
    if any(s is None for s in shape[1:]):
        raise ShapeError(
            f"{layer} needs every size but the batch to be known, got {tuple(shape)}. "
            "Give the size of the images in input_shape, and resize them when loading."
        )


def known_sizes(x: Buffer) -> tuple[int, ...]:
    """All sizes of a buffer but the number of images, which `check_known` has found to be known."""
    return tuple(size for size in x.shape[1:] if size is not None)


def channels_last(shape: Sequence, data_format: str) -> tuple:
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


def weight_config(layer: Any, *names: str) -> dict[str, Any]:
    """Config entries of attributes such as `kernel_initializer`, by the family their name ends with."""
    families = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
    return {name: families[name.rpartition("_")[2]].serialize(getattr(layer, name)) for name in names}
