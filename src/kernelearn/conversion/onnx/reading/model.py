"""A whole graph as a functional model: inputs and outputs, their layouts, and what is said of the import."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn.conversion.onnx.reading.file import Graph, Port, graph_of, read_graph
from kernelearn.conversion.onnx.reading.layout import is_channels_first
from kernelearn.conversion.onnx.reading.reader import LARGEST, Reader
from kernelearn.conversion.onnx.reading.rules import RULES
from kernelearn.conversion.onnx.reading.values import Followed, Known, Unsupported, images_like, plain
from kernelearn.conversion.onnx.types import LAYOUT_KEY
from kernelearn.errors import ArgumentError, FormatError, KernelearnError
from kernelearn.formats.foreign import printable, refused
from kernelearn.layers import Identity, Input
from kernelearn.models.model import Model

LAYOUTS = (None, "NHWC", "NCHW")


def from_onnx(
    source: Any,
    input_layout: str | None = None,
    constants: Mapping[str, Any] | None = None,
    input_shape: Mapping[str, Any] | None = None,
) -> Model:
    """A functional model from an ONNX file, with its weights as trainable weights of named layers.

    Args:
        source: path of a file, its bytes, or an `onnx.ModelProto`.
        input_layout: how the inputs of the file are meant: "NCHW", "NHWC", or None to tell by the nodes that
            take them. The model takes images as everywhere here, channels last; the batch is open.
        constants: input of the graph -> numbers that take its place.
        input_shape: input of the graph -> its shape in the file, batch first, where the file leaves it open.
    Returns: a Model; `model.metadata["onnx"]` says how inputs and outputs stand to those of the file.
    Raises: FormatError for a file that is damaged or hostile, and, with operator and node, for what has no
        counterpart here. Nothing is approximated.

    >>> from kernelearn import Sequential
    >>> from kernelearn.conversion.onnx import from_onnx, to_onnx
    >>> from kernelearn.layers import Conv2D, Input
    >>> model = Sequential([Input((8, 8, 3)), Conv2D(4, 3, name="first")])
    >>> [layer.name for layer in from_onnx(to_onnx(model)).layers]
    ['input_layer', 'first']
    """
    if input_layout not in LAYOUTS:
        raise ArgumentError(f"input_layout must be one of {LAYOUTS}, got {input_layout!r}.")
    is_path = isinstance(source, str | os.PathLike)
    what = printable(source) if is_path else "The ONNX model"
    graph = read_graph(source) if is_path else graph_of(source)
    for name, array in (constants or {}).items():
        graph.weights[name] = np.asarray(array)
    graph.inputs = [port for port in graph.inputs if port.name not in graph.weights]
    try:
        with refused(what, FormatError, "Export the network again.", passing=(KernelearnError,)):
            return _Import(graph, input_layout, dict(input_shape or {})).model()
    except Unsupported as error:
        raise FormatError(f"{what} cannot be read: {error}") from error


class _Import:
    """One import of a graph."""

    def __init__(self, graph: Graph, layout: str | None, shapes: Mapping[str, Any]) -> None:
        self.graph = graph
        said = graph.metadata.get(LAYOUT_KEY)
        self.layout = layout or (said if said in LAYOUTS else None)
        self.shapes = shapes
        self.orders: dict[str, dict[str, list[int]]] = {"inputs": {}, "outputs": {}}
        ports = [self._sized(port) for port in graph.inputs]
        self.ports = [(port, shape) for port, shape in zip(graph.inputs, ports)]
        first = next((shape[0] for shape in ports if shape and isinstance(shape[0], int)), None)
        self.reader = Reader(graph, RULES, config.floatx(), first)

    def _sized(self, port: Port) -> tuple[Any, ...]:
        shape = self.shapes.get(port.name, port.shape)
        if shape is None or len(shape) == 0:
            raise Unsupported(f"input {port.name!r} has no axis of images: its shape is {shape}.")
        return tuple(shape)

    def model(self) -> Model:
        reader = self.reader
        if not self.ports:
            raise Unsupported("the graph has no inputs.")
        inputs = [self._input(port, shape) for port, shape in self.ports]
        for name, array in self.graph.weights.items():
            reader.values[name] = self._weight(name, array)
        reader.read()
        outputs = self._outputs()
        made = Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=_name(self.graph.name))
        made.metadata["onnx"] = {**self.orders, "opset": self.graph.opset, "notes": self._notes()}
        return made

    def _input(self, port: Port, shape: tuple[Any, ...]) -> Any:
        rank = len(shape)
        if rank > 6:
            raise Unsupported(f"input {port.name!r} has {rank} axes.")
        is_first = is_channels_first(self.reader.nodes, port.name, rank)
        if self.layout is not None and 3 <= rank <= 5:
            is_first = self.layout == "NCHW"
        order = images_like(rank) if is_first else plain(rank)
        sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
        own = tuple(sizes[order.index(axis)] for axis in range(1, rank))
        if math.prod(size or 1 for size in own) > LARGEST:
            raise Unsupported(f"input {port.name!r} has more than {LARGEST:,} numbers for an image, {own}.")
        dtype = port.dtype
        if dtype == "float64" and self.reader.dtype != "float64":
            raise Unsupported(
                f"the input {port.name!r} is of type float64, and would be rounded to {self.reader.dtype}; "
                "call kernelearn.config.set_floatx('float64') before."
            )
        if dtype in ("float16", "float32"):
            dtype = self.reader.dtype
        name = self.reader.unique(_name(port.name) or "input")
        tensor = Input(own, dtype=dtype, name=name)
        self.reader.values[port.name] = Followed(tensor, order)
        self.orders["inputs"][port.name] = list(order)
        return tensor

    def _weight(self, name: str, array: np.ndarray) -> Known:
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        if array.dtype.kind == "f" and array.dtype != self.reader.dtype:
            exact = array.astype(self.reader.dtype)
            if not np.array_equal(exact.astype(array.dtype), array, equal_nan=True):
                raise Unsupported(
                    f"the weight {name!r} is of type {array.dtype}, and would be rounded to "
                    f"{self.reader.dtype}; call kernelearn.config.set_floatx('float64') before."
                )
            array = exact
        return Known(array, name, is_weight=array.dtype.kind == "f")

    def _outputs(self) -> list[Any]:
        found: list[Any] = []
        for port in self.graph.outputs:
            value = self.reader.values[port.name]
            if not isinstance(value, Followed):
                raise Unsupported(f"the output {port.name!r} does not depend on the inputs.")
            found.append(self._output(port, value, found))
        return found

    def _order_behind(self, value: Followed) -> tuple[int, ...]:
        """Maps stay channels last where the file has channels first; every other order is the file's."""
        first = images_like(value.rank)
        if self.layout is not None:
            return first if self.layout == "NCHW" and 3 <= value.rank <= 5 else plain(value.rank)
        is_first = any(order != sorted(order) for order in self.orders["inputs"].values())
        return first if is_first and value.order == first else plain(value.rank)

    def _output(self, port: Port, value: Followed, others: list[Any]) -> Any:
        """A tensor for an output, with the images first; one that is not there already gets a layer."""
        reader = self.reader
        node = next((n for n in reversed(self.graph.nodes) if port.name in n.outputs), None)
        if value.rank < 1:
            raise Unsupported(f"the output {port.name!r} has no axis of images.")
        # NOTE: where the file has the images at another axis, its order is kept and noted.
        moves = value.order if value.order[0] else self._order_behind(value)
        if node is not None:
            tensor = reader.ordered(node, value, moves)
        else:
            tensor = value.tensor
        if node is None or any(tensor is t for t in others) or not tensor.node.inputs:
            tensor = Identity(name=reader.unique(_name(port.name) or "output"))(tensor)
        self.orders["outputs"][port.name] = list(moves)
        return tensor

    def _notes(self) -> list[str]:
        ops = [node.op_type for node in self.reader.nodes]
        biased = [node for node in self.reader.nodes if node.op_type == "Conv" and len(node.inputs) > 2]
        notes = list(self.reader.notes)
        if biased and len(biased) == ops.count("Conv") and "BatchNormalization" not in ops:
            notes.append(
                "no BatchNormalization found, and every convolution has a bias: the exporter may have folded "
                "it into the kernels. The network predicts the same, but is not the one that was trained."
            )
        return notes


def _name(name: str) -> str | None:
    kept = "".join(c if (c.isalnum() and c.isascii()) or c in "_-." else "_" for c in name).strip(".")
    return kept[:200] or None


def load_model(path: Any, custom_objects: Any = None, compile: bool = True) -> Model:
    """Read a model; see `from_onnx`. An ONNX file holds no optimiser, so the model is not compiled."""
    return from_onnx(Path(path))
