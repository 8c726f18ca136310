"""Convolutions, pools, products and normalisations, as nodes with explicit pads and all attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.writing.graph import Writer, channels_first
from kernelearn.engine.program import Operation

Pairs = Sequence[tuple[int, int]]


def _pads(pairs: Pairs) -> list[int]:
    """(before, after) of every axis as ONNX has them: all before, then all after."""
    return [lo for lo, _ in pairs] + [hi for _, hi in pairs]


def _with_bias(w: Writer, op: Operation) -> tuple[str, list[str]]:
    """The last buffer of a product and the bias that follows it, if it is known."""
    y = op.outputs[0]
    behind = w.follower(y, ("bias_add",))
    if behind is None:
        return y, []
    w.skip(behind)
    return behind.outputs[0], [w.want(behind.inputs[1])]


def conv(w: Writer, op: Operation) -> None:
    x, kernel = op.inputs
    rank = w.rank(x)
    y, bias = _with_bias(w, op)
    name = w.node(
        "Conv",
        [w.want(x, channels_first(rank)), w.want(kernel, (rank - 1, rank - 2, *range(rank - 2))), *bias],
        kernel_shape=list(w.shape(kernel)[:-2]),
        strides=list(op.attrs["stride"]),
        pads=_pads(op.attrs["padding"]),
        dilations=list(op.attrs["dilation"]),
        group=op.attrs["groups"],
    )
    w.give(y, name, channels_first(rank))


def conv_transpose(w: Writer, op: Operation) -> None:
    """Crops are pads, and what lies beyond the full output is output_padding: it holds the bias alone."""
    x, kernel = op.inputs
    rank = w.rank(x)
    crops = op.attrs["padding"]
    extra = [max(-after, 0) for _, after in crops]
    if any(before < 0 for before, _ in crops):
        w.refuse("its output begins before its first input")
    if any(more >= step for more, step in zip(extra, op.attrs["stride"]) if more):
        w.refuse(f"output_padding={extra} is not below strides={tuple(op.attrs['stride'])}")
    y, bias = _with_bias(w, op)
    name = w.node(
        "ConvTranspose",
        [w.want(x, channels_first(rank)), w.want(kernel, (rank - 1, rank - 2, *range(rank - 2))), *bias],
        kernel_shape=list(w.shape(kernel)[:-2]),
        strides=list(op.attrs["stride"]),
        pads=_pads([(before, max(after, 0)) for before, after in crops]),
        output_padding=extra if any(extra) else None,
        dilations=list(op.attrs["dilation"]),
        group=op.attrs["groups"],
    )
    w.give(y, name, channels_first(rank))


def pool(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    order = channels_first(w.rank(x))
    is_mean = op.operator == "average_pool"
    name = w.node(
        "AveragePool" if is_mean else "MaxPool",
        [w.want(x, order)],
        kernel_shape=list(op.attrs["size"]),
        strides=list(op.attrs["stride"]),
        pads=_pads(op.attrs["padding"]),
        ceil_mode=0,
        count_include_pad=0 if is_mean else None,
    )
    w.give(op.outputs[0], name, order)


def dense(w: Writer, op: Operation) -> None:
    x, kernel = op.inputs
    y, bias = _with_bias(w, op)
    names = [w.want(x), w.want(kernel)]
    if w.rank(x) == 2 and bias:
        w.give(y, w.node("Gemm", [*names, *bias], alpha=1.0, beta=1.0, transA=0, transB=0))
        return
    product = w.node("MatMul", names)
    w.give(y, w.node("Add", [product, *bias]) if bias else product)


def matmul(w: Writer, op: Operation) -> None:
    names = []
    for buffer, is_turned in zip(op.inputs, (op.attrs["transpose_a"], op.attrs["transpose_b"])):
        axes = list(range(w.rank(buffer)))
        if is_turned:
            axes[-2:] = reversed(axes[-2:])
        names.append(w.want(buffer, tuple(axes)))
    w.give(op.outputs[0], w.node("MatMul", names))


def softmax(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    order = w.order(x)
    axis = order.index(op.attrs["axis"] % w.rank(x))
    op_type = "Softmax" if op.operator == "softmax" else "LogSoftmax"
    w.give(op.outputs[0], w.node(op_type, [w.want(x, order)], axis=axis), order)


# --- normalisations


def _scale_and_shift(w: Writer, y: str, shape: tuple[int, ...]) -> tuple[str, str, str] | None:
    """The buffer behind a scale and shift of this shape that follow y, and their names; ones, zeros if none.

    None if what follows has another shape: then it stays what it is.
    """
    dtype = w.dtype(y)
    scale, shift = np.ones(shape, dtype), np.zeros(shape, dtype)
    behind = w.follower(y, ("affine", "multiply", "add"))
    if behind is None:
        return y, w.constant(scale), w.constant(shift)
    if any(w.shape(name) != shape for name in behind.inputs[1:]):
        return None
    w.skip(behind)
    names = [w.want(name) for name in behind.inputs[1:]]
    if behind.operator == "affine":
        return behind.outputs[0], names[0], names[1]
    if behind.operator == "multiply":
        return behind.outputs[0], names[0], w.constant(shift)
    return behind.outputs[0], w.constant(scale), names[0]


def standardize(w: Writer, op: Operation, fallback: Any) -> None:
    """BatchNormalization where the statistics are one number for each channel."""
    x, mean, variance = op.inputs
    shape = w.shape(mean)
    is_batch_norm = (
        mean in w.known
        and variance in w.known
        and len(shape) == 1
        and w.shape(variance) == shape
        and w.rank(x) >= 2
        and w.shape(x)[-1] == shape[0]
    )
    sizes = tuple(size or 0 for size in shape)
    found = _scale_and_shift(w, op.outputs[0], sizes) if is_batch_norm else None
    if found is None:
        fallback(w, op)
        return
    y, scale, shift = found
    order = channels_first(w.rank(x))
    names = [w.want(x, order), scale, shift, w.statistic(mean), w.statistic(variance)]
    attrs = {"epsilon": op.attrs["epsilon"], "momentum": w.momenta.get(mean, 0.9), "training_mode": 0}
    name = w.node("BatchNormalization", names, **attrs)
    w.give(y, name, order)


def dense_back(w: Writer, op: Operation) -> None:
    """A product with the turned kernel."""
    x, kernel = op.inputs
    w.give(op.outputs[0], w.node("MatMul", [w.want(x), w.want(kernel, (1, 0))]))


def normalize(w: Writer, op: Operation) -> None:
    """Layer normalisation, normalisation of groups of channels, or means and differences over other axes."""
    if len(op.outputs) > 1 and any(w.graph.readers(name) for name in op.outputs[1:]):
        _by_means(w, op)
        return
    rank, axes = w.rank(op.inputs[0]), tuple(op.attrs["axes"])
    if _groups(w, op):
        return
    if axes == tuple(range(rank - len(axes), rank)) and 0 not in axes:
        sizes = w.shape(op.inputs[0])[-len(axes) :]
        found = _scale_and_shift(w, op.outputs[0], tuple(s or 0 for s in sizes))
        if found is not None:
            y, scale, shift = found
            names = [w.want(op.inputs[0]), scale, shift]
            name = w.node("LayerNormalization", names, axis=-len(axes), epsilon=op.attrs["epsilon"])
            w.give(y, name)
            return
    _by_means(w, op)


def _groups(w: Writer, op: Operation) -> bool:
    """Groups of channels, as Reshape, InstanceNormalization, Reshape: what all versions mean alike."""
    split, rank = op.inputs[0], w.rank(op.inputs[0])
    before, behind = w.graph.producer(split), w.graph.only_reader(op.outputs[0])
    if before is None or behind is None or (before.operator, behind.operator) != ("reshape", "reshape"):
        return False
    x, sizes = before.inputs[0], w.shape(split)
    whole = w.shape(x)
    if x in w.known or tuple(op.attrs["axes"]) != (*range(1, rank - 2), rank - 1) or rank < 4:
        return False
    if whole != w.shape(behind.outputs[0]) or whole[:-1] != sizes[:-2]:
        return False
    groups, order = int(sizes[-2] or 0), channels_first(rank - 1)
    joined = w.node("Reshape", [w.want(x, order), w.integers(0, groups, -1)])
    ones = w.constant(np.ones(groups, w.dtype(x)))
    zeros = w.constant(np.zeros(groups, w.dtype(x)))
    y = w.node("InstanceNormalization", [joined, ones, zeros], epsilon=op.attrs["epsilon"])
    sizes_behind = [0, *(int(whole[axis] or 0) for axis in order[1:])]
    w.give(behind.outputs[0], w.node("Reshape", [y, w.integers(*sizes_behind)]), order)
    w.skip(behind)
    return True


def _by_means(w: Writer, op: Operation) -> None:
    x = op.inputs[0]
    order, outputs = w.order(x), op.outputs
    axes = w.integers(*[order.index(axis) for axis in op.attrs["axes"]])
    mean = w.node("ReduceMean", [w.want(x, order), axes], keepdims=1)
    centred = w.node("Sub", [w.want(x, order), mean])
    variance = w.node("ReduceMean", [w.node("Mul", [centred, centred]), axes], keepdims=1)
    deviation = w.node("Sqrt", [w.node("Add", [variance, w.number(op.attrs["epsilon"])])])
    w.give(outputs[0], w.node("Div", [centred, deviation]), order)
    for buffer, name in zip(outputs[1:], (mean, variance)):
        kept = [axis for axis in order if axis not in op.attrs["axes"]]
        ranks = sorted(kept)
        w.give(buffer, w.node("Squeeze", [name, axes]), tuple(ranks.index(axis) for axis in kept))
