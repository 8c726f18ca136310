"""Writes a layer as a dense one: lowers it, reads its geometry, ties the entries of the matrix.

The result is a `tied_matrix.DenseEquivalent`; separable layers give two of them in a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.geometry import normalize_tuple, output_sizes
from kernelearn.engine.program import Operation, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.kernel.tied_matrix import ChainEquivalent, DenseEquivalent
from kernelearn.explain.kernel.ties import Side, Ties, conv_ties, transposed
from kernelearn.layers import LocallyConnected2D
from kernelearn.layers.core.base import Layer
from kernelearn.recording.factors import KINDS


def dense_equivalent(
    layer: Any, input_shape: Sequence[int], kernel: Any = None, bias: Any = None
) -> DenseEquivalent | ChainEquivalent:
    """A layer written as a dense one: sparse matrix, ties, counts.

    Args:
        layer: any convolution layer, `LocallyConnected2D` or `Dense`; or the attributes of a convolution
            operator (stride, padding as (before, after) per axis, dilation, groups), with `output_size` for a
            transposed one.
        input_shape: of one sample, without the batch, in the order of the layer.
        kernel, bias: values in place of the layer's; `kernel` is needed with attributes.
    Returns: for a separable layer a `ChainEquivalent`, else a `DenseEquivalent`.
    Raises: ArgumentError for another layer, ShapeError for an input that does not fit.
    """
    if None in input_shape:
        raise ShapeError(
            f"The matrix of a layer depends on the size of its input, and {tuple(input_shape)} leaves it "
            "open: give whole numbers, such as dense_equivalent(layer, (28, 28, 3))."
        )
    shape = tuple(int(size) for size in input_shape)
    if isinstance(layer, Mapping):
        return _of_attrs(layer, shape, kernel, bias)
    if not isinstance(layer, Layer):
        raise ArgumentError(f"dense_equivalent takes a layer or a dict of attributes, got {layer!r}.")
    layer.ensure_built([(None, *shape)])
    graph = ProgramBuilder(dtype=layer.dtype)
    layer.lower(graph, graph.input("x", (None, *shape)))
    operations = [op for op in graph.operations if op.operator in KINDS]
    weights = [w for w in layer.weights if w.name.endswith("kernel")]
    if not operations or not weights:
        raise ArgumentError(
            f"Layer {layer.name!r} ({type(layer).__name__}) is no convolution and no Dense layer: it has no "
            "kernel to write as a matrix."
        )
    is_first = getattr(layer, "data_format", None) == "channels_first"
    if isinstance(layer, LocallyConnected2D):
        stages = [_untied(layer, graph, operations[0], is_first)]
    else:
        stages = [_stage(layer, w, graph, op, is_first) for w, op in zip(weights, operations)]
    own_bias = next((w.value for w in layer.weights if w.name == "bias"), None)
    stages[-1] = _with_bias(stages[-1], own_bias if bias is None else np.asarray(bias), is_first)
    if len(stages) > 1:
        if kernel is not None:
            raise ArgumentError("A separable layer has two kernels: use `with_kernel` of its stages.")
        return ChainEquivalent(tuple(stages))
    return stages[0] if kernel is None else stages[0].with_kernel(kernel)


def _stage(
    layer: Layer, weight: Any, graph: ProgramBuilder, op: Operation, is_first: bool
) -> DenseEquivalent:
    """One operation of a layer as a matrix, without bias."""
    x, y = _sides(graph, op, is_first)
    operator_shape = tuple(int(s or 0) for s in graph.buffers[op.inputs[1]].shape)
    ties = _ties(op.operator, x, y, operator_shape, op.attrs)
    return DenseEquivalent(layer.name, weight.name, op.operator, x.shape, y.shape, weight.numpy(), None, ties)


def _untied(
    layer: LocallyConnected2D, graph: ProgramBuilder, op: Operation, is_first: bool
) -> DenseEquivalent:
    """The untied layer: `op` cuts out its windows, and every position has entries of its own."""
    x, windows = _sides(graph, op, is_first)
    y = Side(windows.sizes, layer.filters, is_first)
    shape = (*layer.kernel_size, x.channels, layer.filters)
    ties = conv_ties(x, y, shape, op.attrs, untied=True)
    kernel = layer.kernel.numpy()
    return DenseEquivalent(layer.name, "kernel", "conv", x.shape, y.shape, kernel, None, ties)


def _sides(graph: ProgramBuilder, op: Operation, is_first: bool) -> tuple[Side, Side]:
    shapes = [graph.buffers[name].shape[1:] for name in (op.inputs[0], op.outputs[0])]
    x, y = (Side(tuple(int(s or 0) for s in shape[:-1]), int(shape[-1] or 0), is_first) for shape in shapes)
    return x, y


def _ties(kind: str, x: Side, y: Side, kernel_shape: tuple[int, ...], attrs: Mapping[str, Any]) -> Ties:
    if kind == "conv":
        return conv_ties(x, y, kernel_shape, attrs)
    if kind == "conv_transpose":
        return transposed(conv_ties(y, x, kernel_shape, attrs))
    # A dense layer is a convolution of windows of one position.
    rank = len(x.sizes)
    one = {"stride": (1,) * rank, "padding": ((0, 0),) * rank, "dilation": (1,) * rank, "groups": 1}
    return conv_ties(x, y, ((1,) * rank) + tuple(kernel_shape), one)


def _with_bias(stage: DenseEquivalent, bias: NDArray[Any] | None, is_first: bool) -> DenseEquivalent:
    """A bias of one number per filter, or per position and filter, as one number per row."""
    if bias is None:
        return stage
    outputs = prod(stage.output_shape)
    filters = stage.output_shape[0 if is_first else -1]
    values = np.broadcast_to(np.reshape(bias, (-1, filters)), (outputs // filters, filters))
    return replace(stage, bias=(values.T if is_first else values).reshape(-1).copy())


def _of_attrs(given: Mapping[str, Any], shape: tuple[int, ...], kernel: Any, bias: Any) -> DenseEquivalent:
    """From the attributes of an operator and a kernel (*size, channels // groups, filters)."""
    if kernel is None:
        raise ArgumentError("Attributes of an operator have no kernel: give kernel=, an array.")
    kernel = np.asarray(kernel)
    attrs, rank = _checked_attrs(given, len(shape) - 1), len(shape) - 1
    if kernel.ndim != rank + 2:
        raise ShapeError(f"An input of shape {shape} needs a kernel of {rank + 2} axes; got {kernel.shape}.")
    if "output_size" in given:
        y = Side(
            normalize_tuple(given["output_size"], rank, "output_size"), kernel.shape[-2] * attrs["groups"]
        )
        x = Side(shape[:-1], kernel.shape[-1])
        kind = "conv_transpose"
    else:
        axes = (attrs["stride"], attrs["dilation"], attrs["padding"])
        y = Side(output_sizes(shape[:-1], kernel.shape[:-2], *axes), kernel.shape[-1])
        x = Side(shape[:-1], kernel.shape[-2] * attrs["groups"])
        kind = "conv"
    if x.channels != shape[-1]:
        raise ShapeError(
            f"A kernel of shape {kernel.shape} takes {x.channels} channels; the input is {shape}."
        )
    ties = _ties(kind, x, y, kernel.shape, attrs)
    plain = DenseEquivalent("", "kernel", kind, x.shape, y.shape, kernel, None, ties)
    return _with_bias(plain, None if bias is None else np.asarray(bias), False)


def _checked_attrs(given: Mapping[str, Any], rank: int) -> dict[str, Any]:
    padding = given.get("padding", ((0, 0),) * rank)
    if isinstance(padding, str) or np.shape(padding) != (rank, 2):
        raise ArgumentError(
            f"padding must be ((before, after), ...) in pixels for {rank} axes, got {padding!r}; "
            "engine.geometry.resolve_padding gives it for a name."
        )
    return {
        "stride": normalize_tuple(given.get("stride", 1), rank, "stride"),
        "dilation": normalize_tuple(given.get("dilation", 1), rank, "dilation"),
        "padding": tuple((int(a), int(b)) for a, b in padding),
        "groups": int(given.get("groups", 1)),
    }
