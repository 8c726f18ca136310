"""The ONNX graph under construction: nodes, initializers, and in which order of axes each value exists.

Our programs are channels last; windows of ONNX are channels first. A value is kept in the order in which a
node gave it and turned only where a node wants another, so that a chain of convolutions has no Transpose
inside. `order[i]` says which of our axes stands at axis i of the ONNX value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from kernelearn._optional import require
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError

Order = tuple[int, ...]


def channels_first(rank: int) -> Order:
    """(n, *spatial, c) as (n, c, *spatial)."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 2 else tuple(range(rank))


class Writer:
    """Turns a program into nodes; rules for operators (`writing.rules`) call its methods.

    Attributes:
        known: buffer -> numbers that do not depend on the input: weights, and what is computed from them.
        nodes, initializers: of the ONNX graph so far.
        op: the operation that is being written.
    """

    def __init__(
        self,
        program: Program,
        variables: Mapping[str, Variable],
        momenta: Mapping[str, float] | None = None,
    ) -> None:
        self.program = program
        self.momenta = momenta or {}  # buffer of moving means -> what they keep in a step
        self.known: dict[str, np.ndarray] = {
            name: variable.numpy() for name, variable in variables.items() if name in program.buffers
        }
        self.learned = {name for name in self.known if program.buffers[name].role == "parameter"}
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.op: Operation = Operation("", (), ("",))
        self._values: dict[str, dict[Order, str]] = {}
        self._taken: set[str] = set()
        self._constants: dict[Any, str] = {}
        self._done: set[int] = set()
        self._outputs: set[str] = set()
        self.graph = Graph(program)
        onnx = require("onnx", "writing ONNX files")
        self._helper, self._numpy_helper = onnx.helper, onnx.numpy_helper

    # --- what rules ask

    def shape(self, buffer: str) -> tuple[int | None, ...]:
        return self.program.buffers[buffer].shape

    def rank(self, buffer: str) -> int:
        return len(self.shape(buffer))

    def dtype(self, buffer: str) -> str:
        return self.program.buffers[buffer].dtype

    def order(self, buffer: str) -> Order:
        """The order of axes in which a value exists; the first, if in several."""
        return next(iter(self._values[buffer]))

    def want(self, buffer: str, order: Order | None = None) -> str:
        """The name of a value with its axes in this order; None: as our program has them."""
        rank = self.rank(buffer)
        order = tuple(range(rank)) if order is None else order
        if buffer in self.known:
            turned = self.known[buffer].transpose(order) if rank else self.known[buffer]
            return self.constant(turned, buffer)
        made = self._values[buffer]
        if order not in made:
            have, name = next(iter(made.items()))
            made[order] = self.node("Transpose", [name], perm=[have.index(axis) for axis in order])
        return made[order]

    def broadcast(self, buffer: str, rank: int, order: Order) -> str:
        """An operand of a function entry by entry whose result has `rank` axes in this order."""
        own = self.rank(buffer)
        if buffer not in self.known:
            return self.want(buffer, order if own == rank else None)
        array = self.known[buffer].reshape((1,) * (rank - own) + self.known[buffer].shape).transpose(order)
        while array.ndim > own and array.shape[:1] == (1,):
            array = array[0]
        return self.constant(array, buffer)

    def common_order(self, buffers: Sequence[str], rank: int) -> Order:
        """The order in which operands of a function entry by entry meet."""
        computed = [b for b in buffers if b not in self.known]
        if not computed or any(self.rank(b) != rank for b in computed):
            return tuple(range(rank))
        return self.order(computed[0])

    def follower(self, buffer: str, operators: Sequence[str]) -> Operation | None:
        """The only reader of a value, if it is one of these operators and its other operands are known."""
        reader = self.graph.only_reader(buffer)
        if reader is None or reader.operator not in operators or reader.inputs[0] != buffer:
            return None
        return reader if all(name in self.known for name in reader.inputs[1:]) else None

    # --- what rules say

    def give(self, buffer: str, name: str, order: Order | None = None) -> None:
        """A value exists under this name with its axes in this order."""
        self._values.setdefault(buffer, {})[tuple(range(self.rank(buffer))) if order is None else order] = (
            name
        )

    def alias(self, buffer: str, source: str) -> None:
        """A buffer is the value of another one."""
        if source in self.known:
            self.known[buffer] = self.known[source]
        else:
            self._values[buffer] = dict(self._values[source])

    def skip(self, op: Operation) -> None:
        """An operation was written together with an earlier one."""
        self._done.add(id(op))

    def node(self, op_type: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Add a node with one output; attributes of None are left out. Returns the name of the output."""
        return self._add(op_type, inputs, [self.unique(self.op.outputs[0])], attrs)[0]

    def second(self, op_type: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Add a node with two outputs of which the second is wanted; returns its name."""
        names = [self.unique(f"{self.op.outputs[0]}/unused"), self.unique(self.op.outputs[0])]
        return self._add(op_type, inputs, names, attrs)[1]

    def _add(self, op_type: str, inputs: Sequence[str], outputs: list[str], attrs: Mapping[str, Any]) -> Any:
        label = self.op.layer or self.op.outputs[0]
        given = {key: value for key, value in attrs.items() if value is not None}
        name = self.unique(f"{label}/{op_type}")
        self.nodes.append(self._helper.make_node(op_type, list(inputs), outputs, name=name, **given))
        return outputs

    def named_output(self, name: str, wanted: str) -> str:
        """An output of the graph under a name: its node is renamed, or an Identity put behind it."""
        label = self.unique(wanted)
        if name in self._outputs or not any(name in node.output for node in self.nodes):
            self._outputs.add(label)
            self._add("Identity", [name], [label], {})
            return label
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [label if given == name else given for given in names]
        self._values = {
            buffer: {order: label if given == name else given for order, given in made.items()}
            for buffer, made in self._values.items()
        }
        self._outputs.add(label)
        return label

    def constant(self, array: Any, stem: str = "constant", is_weight: bool = False) -> str:
        """The name of a value with these numbers: an initializer for weights, else a Constant node."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (stem, array.dtype.name, array.shape, hashlib.blake2b(array.tobytes()).digest())
        if key not in self._constants:
            name = self._constants[key] = self.unique(stem)
            if is_weight or stem in self.learned:
                self.initializers[name] = array
            else:
                value = self._numpy_helper.from_array(array)
                self.nodes.append(self._helper.make_node("Constant", [], [name], name=name, value=value))
        return self._constants[key]

    def statistic(self, buffer: str) -> str:
        """A known row as an initializer, also where training changes it without a gradient."""
        return self.constant(self.known[buffer], buffer, is_weight=True)

    def integers(self, *values: int) -> str:
        """An initializer of int64, for shapes and axes."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float, dtype: str | None = None) -> str:
        """An initializer of one number, in the type of what is being written."""
        return self.constant(np.array(value, dtype or self.dtype(self.op.outputs[0])))

    def refuse(self, why: str) -> NoReturn:
        """Raise ArgumentError for the operation that is being written."""
        layer = f" of layer {self.op.layer!r}" if self.op.layer else ""
        raise ArgumentError(
            f"The operation {self.op.operator!r}{layer} cannot be written as ONNX: {why}. "
            "Nothing was written."
        )

    def unique(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name

    # --- the walk

    def write(self, rules: Mapping[str, Any]) -> None:
        """Write every operation by the rule for its operator.

        Raises: ArgumentError for an operator without one.
        """
        for op in self.program.operations:
            if id(op) in self._done:
                continue
            self.op = op
            if all(name in self.known for name in op.inputs) and self._fold(op):
                continue
            if op.operator not in rules:
                self.refuse(_why_not(op.operator))
            rules[op.operator](self, op)

    def _fold(self, op: Operation) -> bool:
        """Compute what does not depend on the input; False for what is random or depends on the batch."""
        if any(None in self.shape(name) for name in op.outputs) or op.operator in _RANDOM:
            return False
        with np.errstate(all="ignore"):
            result = OPERATORS[op.operator].run(*[self.known[name] for name in op.inputs], **op.attrs)
        results = result if isinstance(result, tuple) else (result,)
        self.known.update(zip(op.outputs, map(np.asarray, results)))
        if self.learned.intersection(op.inputs):
            self.learned.update(op.outputs)
        return True

    def without_unused(self, outputs: Sequence[str]) -> Iterator[Any]:
        """The nodes that lead to these values, in order."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.initializers = {name: array for name, array in self.initializers.items() if name in needed}
        return reversed(kept)


_RANDOM = ("dropout", "gaussian_noise", "random_uniform", "draw", "draw_gamma", "draw_binomial")


def _why_not(operator: str) -> str:
    if operator in _RANDOM:
        return "it draws random numbers, and an ONNX file is for prediction; call it without training=True"
    return "ONNX has no operator, and no exact combination of operators, that we know for it"
