"""Walks a graph node by node and makes layers: the state of one import, and what its rules ask and say.

A rule (`reading.rules`) looks at one node, brings its inputs to the axes that it wants, and gives outputs.
Nodes whose inputs are all known are computed (`reading.constants`), so shapes that a graph computes are
numbers when a layer needs them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from kernelearn.conversion.onnx.reading.constants import CONSTANTS, computed
from kernelearn.conversion.onnx.reading.file import DOMAINS, Graph, Node
from kernelearn.conversion.onnx.reading.values import Followed, Images, Known, Unsupported, Value, plain
from kernelearn.conversion.onnx.types import PRODUCER
from kernelearn.errors import FormatError, KernelearnError
from kernelearn.layers import OperationLayer, Permute, WeightedOperation
from kernelearn.layers.core.structure import Place
from kernelearn.layers.core.tensor import Tensor

Rule = Callable[["Reader", Node], None]
_MOST_NUMBERS = 4096  # in a list of axes, sizes or pads
LARGEST = 1 << 26  # entries of one value of one image
_ENDS = ("weight", "kernel", "bias", "gamma", "beta", "scale", "W", "B", "w", "b", "alpha", "slope")


@dataclass(frozen=True, eq=False)
class Learned:
    """Numbers among the arguments of a function that become a weight."""

    array: np.ndarray


class Reader:
    """One import.

    Attributes:
        values: name in the graph -> what it stands for.
        dtype: float type of the layers.
        batch: the number of images that the file says, None where it is open.
    """

    def __init__(self, graph: Graph, rules: Mapping[str, Rule], dtype: str, batch: int | None) -> None:
        self.graph = graph
        self.opset = graph.opset
        self.rules = rules
        self.dtype = dtype
        self.batch = batch
        self.values: dict[str, Value] = {}
        self.nodes = _needed(graph)
        self.readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)
        # Some exporters write weights as Constant nodes; ours never does.
        self.takes_constants_for_weights = graph.producer != PRODUCER
        self._outputs = {port.name for port in graph.outputs}
        self._names: set[str] = set()
        self._done: set[int] = set()
        self._layers: dict[Any, Any] = {}
        self._used: set[str] = set()
        self.notes: list[str] = []

    def read(self) -> None:
        """Make the layers.

        Raises: Unsupported, with operator and node, for what has no counterpart here.
        """
        self._check_known()
        self._compute_constants()
        for node in self.nodes:
            if id(node) in self._done:
                continue
            try:
                self.read_node(node)
            except Unsupported as error:
                text = str(error)
                raise (error if text.startswith(str(node)) else Unsupported(f"{node}: {text}")) from None
            except KernelearnError as error:
                raise Unsupported(f"{node}: {error}") from error

    def _check_known(self) -> None:
        for node in self.nodes:
            if node.domain not in DOMAINS:
                raise Unsupported(
                    f"{node}: the operators of domain {node.domain!r} are not known; ONNX's own are."
                )
            if node.op_type not in self.rules and not self._is_known(node):
                raise Unsupported(f"{node}: the operator {node.op_type} has no counterpart in kernelearn.")

    def _compute_constants(self) -> None:
        """What depends on nothing but the file comes first: a rule may then look at what is ahead of it."""
        for node in self.nodes:
            given = [self.values.get(name) for name in node.inputs if name]
            if all(isinstance(value, Known) for value in given) and not self._is_spread(node):
                self.read_node(node)
                self.skip(node)

    def _is_spread(self, node: Node) -> bool:
        """Whether a node gives known numbers to every image: then it is a layer."""
        if node.op_type != "Expand" or len(node.inputs) < 2:
            return False
        shape = self.values.get(node.inputs[1])
        return isinstance(shape, Known) and any(isinstance(n, Images) for n in np.ravel(shape.array)[:8])

    def _is_known(self, node: Node) -> bool:
        """Whether a node may turn out to depend on nothing but numbers of the file."""
        return node.op_type in CONSTANTS

    def read_node(self, node: Node) -> None:
        """Read one node: compute it if its inputs are known, else by its rule."""
        given = [self.values[name] for name in node.inputs if name]
        if all(isinstance(value, Known) for value in given) and not self._is_spread(node):
            results = computed(self.opset, node, [self.values.get(n) for n in node.inputs])
            for name, value in zip(node.outputs, results):
                self.values[name] = value
        elif node.op_type not in self.rules:
            self.refuse(node, f"the operator {node.op_type} has no counterpart in kernelearn")
        else:
            self.rules[node.op_type](self, node)

    # --- what rules ask

    def refuse(self, node: Node, why: str) -> NoReturn:
        raise Unsupported(f"{node}: {why}.")

    def options(self, node: Node, **defaults: Any) -> dict[str, Any]:
        """The attributes of a node, with their defaults.

        Raises: Unsupported for an attribute that is not among them.
        """
        unknown = sorted(set(node.attrs) - set(defaults))
        if unknown:
            self.refuse(node, f"the attribute {unknown[0]}={node.attrs[unknown[0]]!r} is not known")
        for key, value in node.attrs.items():
            usual = defaults[key]
            fits = (
                usual is None
                or isinstance(value, type(usual))
                or (isinstance(value, int | float) and isinstance(usual, int | float))
            )
            if not fits:
                self.refuse(node, f"the attribute {key}={value!r} is of another kind than {usual!r}")
        return {**defaults, **node.attrs}

    def ints(self, node: Node, value: Any, name: str, count: int | None = None) -> list[int]:
        """An attribute as a list of ints."""
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            self.refuse(node, f"{name}={value!r} is no list of ints")
        if count is not None and len(value) != count:
            self.refuse(node, f"{name}={value!r} has {len(value)} entries, where {count} are wanted")
        return value

    def has(self, node: Node, index: int) -> bool:
        return index < len(node.inputs) and bool(node.inputs[index])

    def value(self, node: Node, index: int) -> Value:
        if not self.has(node, index):
            self.refuse(node, f"input {index} is missing")
        return self.values[node.inputs[index]]

    def followed(self, node: Node, index: int = 0) -> Followed:
        """An input that depends on the images."""
        value = self.value(node, index)
        if not isinstance(value, Followed):
            self.refuse(
                node, f"input {index} is a constant, where a value that depends on the images is wanted"
            )
        return value

    def any_tensor(self) -> Any:
        """Something that depends on the images, for a layer that wants nothing but their number."""
        return next(value.tensor for value in self.values.values() if isinstance(value, Followed))

    def known(self, node: Node, index: int, what: str) -> Known:
        """An input that is known."""
        value = self.value(node, index)
        if not isinstance(value, Known):
            self.refuse(node, f"{what} (input {index}) depends on the images; it must be known")
        return value

    def numbers(self, node: Node, index: int, what: str) -> list[int]:
        """A known input as a list of ints."""
        array = self.known(node, index, what).array
        if array.size > _MOST_NUMBERS:
            self.refuse(node, f"{what} has {array.size:,} numbers")
        values = list(np.ravel(array))
        if not all(isinstance(v, int | np.integer) for v in values):
            self.refuse(node, f"{what} is {values}, where whole numbers are wanted")
        return [int(v) for v in values]

    def sizes(self, node: Node, value: Followed) -> tuple[int, ...]:
        """The sizes of one image, in our order."""
        sizes = value.tensor.shape[1:]
        if any(size is None for size in sizes):
            self.refuse(node, f"the sizes of its input are not known: {value.shape}")
        return tuple(sizes)

    def only_reader(self, name: str) -> Node | None:
        """The node that alone reads a value which is no output."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def is_used(self, node: Node, index: int) -> bool:
        """Whether anything wants an output."""
        if index >= len(node.outputs) or not node.outputs[index]:
            return False
        return node.outputs[index] in self.readers or node.outputs[index] in self._outputs

    # --- axes

    def ordered(self, node: Node, value: Followed, order: Sequence[int] | None = None) -> Any:
        """The tensor of a value with `order[i]` its axis at axis i of the ONNX value; None: as there."""
        value = self.unrowed(node, value)
        want = plain(value.rank) if order is None else tuple(order)
        # our new axis j is the ONNX axis want.index(j), which is our old axis order[that]
        moves = tuple(value.order[want.index(axis)] for axis in range(value.rank))
        if moves == plain(value.rank):
            return value.tensor
        if moves[0] != 0:
            self.refuse(node, "it needs the axis of the images at another place than the first")
        return self.call(node, Permute, [value.tensor], suffix="order", dims=list(moves[1:]))

    def unrowed(self, node: Node, value: Followed) -> Followed:
        """A flattened value with its numbers as the ONNX value has them."""
        if value.row is None:
            return value
        taken = self.operation(node, "take", value.tensor, value.row.astype(np.int32), axis=1, suffix="row")
        return Followed(taken, value.order)

    def axis(self, node: Node, axis: Any, rank: int) -> int:
        """An axis of an ONNX value counted from the front."""
        if not isinstance(axis, int | np.integer) or not -rank <= axis < rank:
            self.refuse(node, f"axis {axis!r} is none of a value with {rank} axes")
        return int(axis) % rank

    def own_axes(self, node: Node, value: Followed, axes: Sequence[int]) -> list[int]:
        """Our axes for axes of the ONNX value, which must not be that of the images."""
        own = [value.order[self.axis(node, axis, value.rank)] for axis in axes]
        if 0 in own:
            self.refuse(node, "it works along the axis of the images")
        return own

    # --- what rules say

    def replace_input(self, node: Node, index: int, name: str) -> None:
        """Let an input of a node be another value."""
        node.inputs = (*node.inputs[:index], name, *node.inputs[index + 1 :])

    def skip(self, node: Node) -> None:
        """A node was read together with an earlier one."""
        self._done.add(id(node))

    def give(self, node: Node, value: Value, index: int = 0) -> None:
        self.values[node.outputs[index]] = value

    def alias(self, node: Node, index: int = 0) -> None:
        """The output is the input."""
        self.give(node, self.value(node, index))

    def label(self, node: Node, weight: Known | None = None, suffix: str = "") -> str:
        """A name for a layer that no other has: that of the weight without its end, or of the node."""
        stem, end = "", ""
        if weight is not None:
            stem, _, end = weight.name.replace("/", ".").rpartition(".")
        if end not in _ENDS or not stem:
            stem = node.name.removesuffix(f"/{node.op_type}").strip("/").replace("/", ".")
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", stem).strip(".") or node.op_type.lower()
        stem = f"{stem[:200]}_{suffix}" if suffix else stem[:200]
        if stem in self._names and not suffix:
            stem = f"{stem}_{node.op_type.lower()}"
        return self.unique(stem)

    def unique(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        return name

    def call(
        self,
        node: Node,
        cls: Any,
        tensors: Sequence[Any],
        weights: Sequence[Any] = (),
        named: Known | None = None,
        suffix: str = "",
        more: Sequence[str] = (),
        **arguments: Any,
    ) -> Any:
        """What a layer gives for tensors: a new one, whose weights get these numbers, or one that has them.

        Args:
            named: the weight that names the layer.
            more: names of weights that are inputs of other nodes.
        """
        names = (*self._weights_of(node), *more) if weights else ()
        key = (cls, names, repr(arguments))
        found = self._layers.get(key) if names else None
        if found is not None and _are_equal(found.get_weights(), weights):
            return self._result(found, tensors)
        layer = cls(**arguments, name=self.label(node, named, suffix), dtype=self.dtype)
        self._layers[key] = layer
        self._count_use(names)
        return self._called(layer, tensors, weights)

    def _weights_of(self, node: Node) -> tuple[str, ...]:
        """The inputs of a node that are initializers."""
        values = [(name, self.values.get(name)) for name in node.inputs]
        return tuple(name for name, value in values if isinstance(value, Known) and value.is_weight)

    def _count_use(self, names: Sequence[str]) -> None:
        """Note weights that several layers have, each for itself."""
        twice = sorted(set(names) & self._used)
        self._used.update(names)
        if twice:
            self.notes.append(
                f"the weight {twice[0]!r} is used in several places of the file; here each has its own copy, "
                "which training changes by itself."
            )

    def operation(self, node: Node, function: str, *args: Any, suffix: str = "", **keywords: Any) -> Any:
        """What a function of `kernelearn.ops` gives: a node of the model; `Learned` arguments are weights."""
        tensors: list[Any] = []
        learned: list[np.ndarray] = []
        _gather(args, tensors, learned)
        _gather(keywords, tensors, learned)
        places = _Places(tensors, learned)
        given = {"arguments": places.of(list(args)), "keywords": places.of(keywords)}
        name = self.label(node, suffix=suffix)
        if learned:
            self._count_use(self._weights_of(node))
            shapes = [array.shape for array in learned]
            layer: Any = WeightedOperation(
                function, **given, weight_shapes=shapes, name=name, dtype=self.dtype
            )
        else:
            layer = OperationLayer(function, **given, name=name, dtype=self.dtype)
        return self._called(layer, tensors, learned)

    def _result(self, layer: Any, tensors: Sequence[Any]) -> Any:
        result = layer(list(tensors) if len(tensors) > 1 else tensors[0])
        for tensor in result if isinstance(result, list) else [result]:
            if math.prod(size or 1 for size in tensor.shape) > LARGEST:
                raise Unsupported(f"it gives {tensor.shape}, more than {LARGEST:,} numbers for an image.")
        return result

    def _called(self, layer: Any, tensors: Sequence[Any], weights: Sequence[Any]) -> Any:
        result = self._result(layer, tensors)
        for weight, array in zip(layer.weights, weights, strict=True):
            if tuple(weight.shape) != np.shape(array):
                raise FormatError(
                    f"a weight of shape {np.shape(array)} stands where {weight.shape} is wanted."
                )
            weight.assign(array)
        return result


def _are_equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


def _gather(value: Any, tensors: list[Any], learned: list[np.ndarray]) -> None:
    if isinstance(value, Tensor) and not any(value is t for t in tensors):
        tensors.append(value)
    elif isinstance(value, Learned):
        learned.append(value.array)
    elif isinstance(value, list | tuple):
        for part in value:
            _gather(part, tensors, learned)
    elif isinstance(value, dict):
        _gather(list(value.values()), tensors, learned)


class _Places:
    """Puts places where tensors and weights stand."""

    def __init__(self, tensors: Sequence[Any], learned: Sequence[Any]) -> None:
        self.tensors, self.learned = tensors, learned

    def of(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Place(next(i for i, t in enumerate(self.tensors) if t is value))
        if isinstance(value, Learned):
            return Place(len(self.tensors) + next(i for i, a in enumerate(self.learned) if a is value.array))
        if isinstance(value, list | tuple):
            return type(value)(self.of(part) for part in value)
        return {key: self.of(part) for key, part in value.items()} if isinstance(value, dict) else value


def _needed(graph: Graph) -> list[Node]:
    """The nodes that lead to the outputs, in order."""
    needed = {port.name for port in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
