"""The content of an ONNX file as plain values, taken for hostile: sizes before memory, names before use.

Nothing outside of the file is read but tensors that lie in files of its folder, whose paths are checked.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.conversion.onnx.types import TYPES
from kernelearn.errors import FormatError
from kernelearn.formats.foreign import open_plain, printable, refused
from kernelearn.storage import PathLike

OLDEST = 6
DOMAINS = ("", "ai.onnx")
_MOST_NODES = 100_000
_LARGEST = 1 << 31  # bytes of all tensors of a file together
_REMEDY = "Export the network again."


@dataclass(eq=False)
class Node:
    """One node.

    Attributes:
        attrs: int, float, str, array, or a list of the first three.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.op_type} {self.name or ', '.join(self.outputs)!r}"


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: sizes are None, or a word, where they are not known."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass
class Graph:
    """What a file says.

    Attributes:
        opset: version of the operators.
        weights: initializers by name.
    """

    opset: int
    nodes: list[Node]
    inputs: list[Port]
    outputs: list[Port]
    weights: dict[str, np.ndarray]
    name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    producer: str = ""


def read_graph(path: PathLike) -> Graph:
    """The graph in a file.

    Raises: FormatError for what is no ONNX file, is damaged, or asks for what is outside of its folder.
    """
    with open_plain(path, FormatError) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _LARGEST:
            raise FormatError(
                f"{printable(path)} has {size:,} bytes; a message of ONNX has at most {_LARGEST:,}."
            )
        content = file.read(size)
    return graph_of(content, printable(path), Path(path).parent)


def graph_of(content: Any, what: str = "The ONNX model", folder: Path | None = None) -> Graph:
    """The graph in bytes or in an `onnx.ModelProto`; `folder` is where its external tensors may lie."""
    with refused(what, FormatError, _REMEDY):
        onnx = require("onnx", "reading ONNX files")
        proto = content
        if isinstance(content, bytes | bytearray | memoryview):
            proto = onnx.ModelProto()
            proto.ParseFromString(bytes(content))
        return _Reading(what, folder).graph(proto)


class _Reading:
    """One file while it is read; counts the bytes that its tensors ask for."""

    def __init__(self, what: str, folder: Path | None) -> None:
        self.what = what
        self.folder = folder
        self.left = _LARGEST

    def bad(self, text: str) -> FormatError:
        return FormatError(f"{self.what}: {text}")

    def graph(self, proto: Any) -> Graph:
        if not proto.HasField("graph") or not proto.ir_version:
            raise self.bad("no ONNX model, or an empty one.")
        graph = proto.graph
        if proto.functions:
            raise self.bad(
                f"it defines functions of its own, {proto.functions[0].name!r}; inline them first."
            )
        if graph.sparse_initializer or len(graph.node) > _MOST_NODES:
            raise self.bad("sparse initializers, or more than 100,000 nodes, are not read.")
        opset = self._opset(proto)
        weights = dict(self._named(graph.initializer))
        made = Graph(
            opset,
            [self._node(node) for node in graph.node],
            [self._port(info) for info in graph.input if info.name not in weights],
            [self._port(info) for info in graph.output],
            weights,
            graph.name,
            {str(entry.key): str(entry.value) for entry in proto.metadata_props},
            str(proto.producer_name),
        )
        self._check_names(made)
        return made

    def _opset(self, proto: Any) -> int:
        versions = [entry.version for entry in proto.opset_import if entry.domain in DOMAINS]
        version = int(max(versions, default=1))
        if version < OLDEST:
            raise self.bad(
                f"it is written with opset {version}; {OLDEST} is the oldest that is read. Convert it with "
                "onnx.version_converter.convert_version(model, 18)."
            )
        return version

    def _named(self, tensors: Any) -> Iterator[tuple[str, np.ndarray]]:
        seen: set[str] = set()
        for tensor in tensors:
            if not tensor.name or tensor.name in seen:
                raise self.bad(f"the initializer {tensor.name!r} has no name of its own.")
            seen.add(tensor.name)
            yield tensor.name, self._array(tensor)

    def _check_names(self, graph: Graph) -> None:
        """Every value is made once, and before it is used: no circles."""
        known = {"", *graph.weights, *(port.name for port in graph.inputs)}
        for node in graph.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise self.bad(f"{node} uses {missing[0]!r} before anything gives it.")
            for name in node.outputs:
                if name and name in known:
                    raise self.bad(f"{node} gives {name!r}, which is there already.")
                known.add(name)
        missing = [port.name for port in graph.outputs if port.name not in known]
        if missing or not graph.outputs:
            raise self.bad(f"nothing gives the output {missing[0] if missing else ''!r}.")

    # --- parts

    def _port(self, info: Any) -> Port:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise self.bad(f"{info.name!r} is of the kind {kind}; only tensors are read.")
        tensor = info.type.tensor_type
        dtype = self._dtype(tensor.elem_type, info.name)
        if not tensor.HasField("shape"):
            return Port(info.name, dtype, None)
        sizes: list[int | str | None] = []
        for dim in tensor.shape.dim:
            which = dim.WhichOneof("value")
            if which == "dim_value" and dim.dim_value < 0:
                raise self.bad(f"{info.name!r} has the size {dim.dim_value}.")
            sizes.append(dim.dim_value if which == "dim_value" else (dim.dim_param or None))
        return Port(info.name, dtype, tuple(sizes))

    def _dtype(self, number: int, name: str) -> str:
        if number not in TYPES:
            raise self.bad(
                f"{name!r} has numbers of type {number}, which are not read; known: {_known_types()}."
            )
        return TYPES[number]

    def _node(self, node: Any) -> Node:
        attrs: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name in attrs:
                raise self.bad(f"{node.op_type} {node.name!r} has the attribute {attribute.name!r} twice.")
            attrs[attribute.name] = self._attribute(node, attribute)
        return Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attrs, node.domain)

    def _attribute(self, node: Any, attribute: Any) -> Any:
        kind = _ATTRIBUTES.get(attribute.type)
        if kind is None or attribute.ref_attr_name:
            raise self.bad(
                f"{node.op_type} {node.name!r} has an attribute {attribute.name!r} of a kind that "
                f"is not read (number {attribute.type}); graphs inside of nodes are among them."
            )
        value = getattr(attribute, kind)
        if kind == "t":
            return self._array(value)
        if kind == "s":
            return value.decode("utf-8", "replace")
        if kind == "strings":
            return [text.decode("utf-8", "replace") for text in value]
        return list(value) if kind in ("ints", "floats") else value

    # --- tensors

    def _array(self, tensor: Any) -> np.ndarray:
        dtype = np.dtype(self._dtype(tensor.data_type, tensor.name))
        shape = tuple(tensor.dims)
        if any(size < 0 for size in shape) or len(shape) > 16:
            raise self.bad(f"the tensor {tensor.name!r} has the shape {shape[:17]}.")
        count = math.prod(shape)
        self.left -= count * dtype.itemsize
        if self.left < 0:
            raise self.bad(f"its tensors up to {tensor.name!r} take more than {_LARGEST:,} bytes.")
        raw = self._raw(tensor, count * dtype.itemsize)
        if raw is not None:
            if len(raw) != count * dtype.itemsize:
                raise self.bad(f"the tensor {tensor.name!r} of shape {shape} has {len(raw)} bytes.")
            return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        return self._from_lists(tensor, dtype, shape, count)

    def _from_lists(
        self, tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...], count: int
    ) -> np.ndarray:
        values = getattr(tensor, _FIELDS.get(dtype.name, "int32_data"))
        if len(values) != count:
            raise self.bad(f"the tensor {tensor.name!r} of shape {shape} has {len(values)} numbers.")
        if dtype == np.float16:
            return np.array(values, np.uint16).view(np.float16).reshape(shape)
        return np.array(values).astype(dtype).reshape(shape)

    def _raw(self, tensor: Any, size: int) -> bytes | None:
        if tensor.data_location == 1:
            return self._external(tensor, size)
        return tensor.raw_data if tensor.HasField("raw_data") else None

    def _external(self, tensor: Any, size: int) -> bytes:
        """Bytes of a file beside this one: a plain file below the folder, reached through no link."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        unknown = sorted(set(entries) - {"location", "offset", "length", "checksum", "basepath"})
        location = entries.get("location", "")
        if unknown or not location or self.folder is None:
            raise self.bad(f"the tensor {tensor.name!r} lies outside of the file, in a way that is not read.")
        path = self._inside(location, tensor.name)
        offset, length = (
            self._number(entries.get(key, default), tensor.name)
            for key, default in (
                ("offset", "0"),
                ("length", str(size)),
            )
        )
        if length != size:
            raise self.bad(
                f"the tensor {tensor.name!r} wants {size} bytes, and {location!r} should give {length}."
            )
        try:
            with open_plain(path, FormatError) as file:
                is_long = os.fstat(file.fileno()).st_size >= offset + length
                file.seek(offset)
                content = file.read(length) if is_long else b""
        except FormatError as error:
            raise self.bad(f"the tensor {tensor.name!r}: {error}") from error
        if not is_long:
            raise self.bad(f"{location!r} ends before the tensor {tensor.name!r}.")
        return content

    def _number(self, text: str, name: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise self.bad(f"the tensor {name!r} lies at {text[:30]!r} of its file, which is no place.")
        return int(text)

    def _inside(self, location: str, name: str) -> Path:
        assert self.folder is not None
        parts = re.split(r"[/\\]", location)
        if any(part in ("", "..") for part in parts) or ":" in location or "\0" in location:
            raise self.bad(
                f"the tensor {name!r} is said to lie at {printable(location)!r}; only files in the "
                "folder of the model are read."
            )
        path = self.folder
        for part in parts:
            path = path / part
            if not os.path.lexists(path):
                raise self.bad(f"the tensor {name!r} lies in {printable(location)!r}, which is not there.")
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise self.bad(
                    f"{printable(location)!r} of the tensor {name!r} is a link, which is not followed."
                )
        return path


_FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}
# AttributeProto.AttributeType -> field; graphs, sparse tensors and types are not read.
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


def _known_types() -> str:
    return ", ".join(TYPES.values())
