"""Which inputs an output can depend on, operator by operator: exact sets, as boolean arrays.

A rule takes the set of wanted outputs of an operation and gives, for each of its inputs, the set of numbers
that they are computed from, whatever the weights are. Arrays have the axes of the buffers without the batch.
The cases are the operators of the engine's table that a model uses in inference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.reference import conv as convolution
from kernelearn.engine.reference import shaping
from kernelearn.engine.reference.images.resizing import sampling_matrix
from kernelearn.engine.reference.pooling import average_pool_grad
from kernelearn.engine.reference.shaping import resize_matrix

Sizes = tuple[int, ...]
Mask = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Applied:
    """An operation as the rules see it.

    Attributes:
        attrs: of the operation.
        inputs: sizes of each input; without the batch for what is computed from images, whole for weights.
        output: sizes of its first output, without the batch.
    """

    attrs: Mapping[str, Any]
    inputs: tuple[Sizes, ...]
    output: Sizes


Rule = Callable[[Mask, Applied], list[Mask | None]]


# Weights of a resampling below this are the rounding error of a zero.
_ZERO = 1e-12


def any_of(wanted: Mask, axes: tuple[int, ...], keepdims: bool = False) -> Mask:
    """Whether any entry along the axes is wanted."""
    return np.asarray(wanted.any(axis=axes, keepdims=keepdims))


def entry_by_entry_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    return [_unbroadcast(wanted, one) for one in call.inputs]


def _unbroadcast(wanted: Mask, sizes: Sizes) -> Mask:
    """The entries of an array of these sizes that are repeated to the wanted ones."""
    lead = wanted.ndim - len(sizes)
    if lead > 0:
        wanted = any_of(wanted, tuple(range(lead)))
    axes = tuple(i for i, (w, s) in enumerate(zip(wanted.shape, sizes)) if s == 1 and w != 1)
    return any_of(wanted, axes, keepdims=True)


def _whole_axes(wanted: Mask, axes: tuple[int, ...], sizes: Sizes) -> Mask:
    """Everything along `axes` wherever anything along them is wanted."""
    return np.broadcast_to(any_of(wanted, axes, keepdims=True), sizes).copy()


def dense_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    return [np.broadcast_to(any_of(wanted, (-1,), keepdims=True), call.inputs[0]).copy(), None]


def matmul_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    """Whole rows of the first factor, whole columns of the second."""
    if wanted.ndim == 1:  # one row for each image
        wanted = wanted[None]
    rows, columns = any_of(wanted, (-1,), keepdims=True), any_of(wanted, (-2,), keepdims=True)
    rows = rows.swapaxes(-1, -2) if call.attrs["transpose_a"] else rows
    columns = columns.swapaxes(-1, -2) if call.attrs["transpose_b"] else columns
    return [
        np.broadcast_to(_unbroadcast(mask, sizes), sizes).copy()
        for mask, sizes in zip((rows, columns), call.inputs)
    ]


def gather_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    """Numbers of images choose from a table; where images are chosen from, they are seen whole."""
    axis, (table, indices) = call.attrs["axis"] - 1, call.inputs
    if axis < 0:
        return [None, any_of(wanted, tuple(range(len(indices), wanted.ndim)))]
    places = tuple(range(axis, wanted.ndim - len(table) + axis + 1))
    chosen = np.expand_dims(any_of(wanted, places), axis)
    return [np.broadcast_to(chosen, table).copy(), None]


def sum_to_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    kept = tuple(1 if i + 1 in call.attrs["axes"] else size for i, size in enumerate(call.inputs[0]))
    return [np.broadcast_to(wanted.reshape(kept), call.inputs[0]).copy()]


def source_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    """Of what is computed from nothing."""
    return []


def _by_group(wanted: Mask, groups: int) -> np.ndarray:
    """(1, *outputs, groups): 1 where any channel of the group is wanted."""
    grouped = any_of(wanted.reshape(*wanted.shape[:-1], groups, -1), (-1,))
    return grouped[None].astype(np.float32)


def _to_channels(reached: np.ndarray, channels: int) -> Mask:
    """(1, *inputs, groups) -> (*inputs, channels): a group is reached whole."""
    return np.repeat(reached[0] > 0, channels // reached.shape[-1], axis=-1)


def conv_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    *spatial, channels = call.inputs[0]
    ones = np.ones((*call.inputs[1][:-2], 1, call.attrs["groups"]), np.float32)
    given = _by_group(wanted, call.attrs["groups"])
    reached = convolution.conv_grad_input(given, ones, input_size=tuple(spatial), **call.attrs)
    return [_to_channels(reached, channels), None]


def conv_transpose_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    rest = {key: value for key, value in call.attrs.items() if key != "output_size"}
    ones = np.ones((*call.inputs[1][:-2], 1, call.attrs["groups"]), np.float32)
    reached = convolution.conv(_by_group(wanted, call.attrs["groups"]), ones, **rest)
    return [_to_channels(reached, call.inputs[0][-1]), None]


def pool_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    shares = average_pool_grad(wanted[None].astype(np.float32), input_size=call.inputs[0][:-1], **call.attrs)
    return [shares[0] > 0]


def reduce_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    axes = tuple(axis - 1 for axis in call.attrs["axes"])
    kept = wanted if call.attrs["keepdims"] else np.expand_dims(wanted, axes)
    return [np.broadcast_to(kept, call.inputs[0]).copy()]


def along_axis_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    rank = wanted.ndim + 1
    axes = call.attrs["axes"] if "axes" in call.attrs else (call.attrs["axis"],)
    return [_whole_axes(wanted, tuple(axis % rank - 1 for axis in axes), call.inputs[0])]


def reshape_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    return [wanted.reshape(call.inputs[0])]


def transpose_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    order = [axis - 1 for axis in call.attrs["axes"][1:]]
    return [wanted.transpose(inverse_order(order))]


def slice_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    found = np.zeros(call.inputs[0], bool)
    found[tuple(slice(*bound) if bound else slice(None) for bound in call.attrs["bounds"][1:])] = wanted
    return [found]


def strided_slice_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    return [shaping.strided_place(wanted, places=call.attrs["places"][1:], shape=call.inputs[0])]


def strided_place_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    return [shaping.strided_slice(wanted, places=call.attrs["places"][1:])]


def gather_along_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    """Any entry along the axis, and the numbers by which it is chosen."""
    axis = call.attrs["axis"] - 1
    reached = np.broadcast_to(any_of(wanted, (axis,), keepdims=True), call.inputs[0]).copy()
    return [reached, wanted]


def pad_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    inner = (slice(lo, lo + size) for (lo, _), size in zip(call.attrs["padding"][1:], call.inputs[0]))
    return [wanted[tuple(inner)]]


def concatenate_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    axis = call.attrs["axis"] - 1
    ends = np.cumsum([one[axis] for one in call.inputs])[:-1]
    return list(np.split(wanted, ends, axis=axis))


def upsample_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    method = call.attrs["method"]
    matrices = [
        resize_matrix(size, factor, method) for size, factor in zip(call.inputs[0], call.attrs["factors"])
    ]
    return [_through(matrices, wanted)]


def resize_rule(wanted: Mask, call: Applied) -> list[Mask | None]:
    options = call.attrs["method"], call.attrs["antialias"]
    matrices = [sampling_matrix(size, new, *options) for size, new in zip(call.inputs[0], call.attrs["size"])]
    return [_through(matrices, wanted)]


def _through(matrices: list[np.ndarray], wanted: Mask) -> Mask:
    """The pixels that resampling along each axis reads for the wanted ones."""
    for axis, matrix in enumerate(matrices):
        reads = (np.abs(matrix) > _ZERO).astype(np.float32)
        found = np.tensordot(reads.T, wanted.astype(np.float32), axes=(1, axis))
        wanted = np.moveaxis(found, 0, axis) > 0
    return wanted
