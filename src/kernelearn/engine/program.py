"""A training or inference step as data: named buffers, operations on them, what is kept.

Layers add operations through a `ProgramBuilder`; `engine.gradients` adds the backward pass; an engine runs
the result. A `Program` holds no arrays and no code: it can be printed, compared, rewritten and tested without
running.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS, Spec
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError, ShapeError

PHASES = ("forward", "backward", "update")


@dataclass(frozen=True)
class Buffer:
    """A named array of a step.

    Attributes:
        name: unique in its program; `layer/variable` for weights.
        shape: sizes; None stands for the number of images, known only when the step runs.
        dtype: NumPy dtype name.
        role: "input" (given at every run), "parameter" (trained weight), "state" (weight changed by the step
            but not by a gradient, such as moving averages and optimiser slots) or "value" (computed).
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    role: str = "value"

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.dtype)

    def __str__(self) -> str:
        sizes = ", ".join("n" if s is None else str(s) for s in self.shape)
        return f"{self.name} ({sizes}) {self.dtype}"


@dataclass(frozen=True)
class Operation:
    """One operator applied to buffers.

    Attributes:
        operator: name in the operator table.
        inputs, outputs: buffer names. An update writes in place: its outputs are parameters or states.
        attrs: everything else the operator needs, as plain ints, floats, strings and tuples: all attributes
            that the operator table knows for it.
        layer: name of the layer that declared it ("" for none), for messages and summaries.
        phase: "forward", "backward" or "update". Updates run only if the loss of the step is finite.
        made_by: names of the rewrites that it comes from; they do not tell operations apart.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""
    phase: str = "forward"
    made_by: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        usual = OPERATORS[self.operator].defaults(self.attrs)
        attrs = "".join(f" {k}={v}" for k, v in self.attrs.items() if v != usual.get(k))
        return f"{', '.join(self.outputs)} = {self.operator}({', '.join(self.inputs)}){attrs}"


@dataclass(frozen=True)
class Program:
    """Operations in order of execution, and the buffers they use.

    Attributes:
        buffers: name -> Buffer.
        operations: in order; every input is an input, a weight or the output of an earlier operation.
        outputs: label -> buffer name: what a run gives back, for example {"loss": "total_loss"}.
        gradients: buffer name -> name of the buffer that holds dL/d(it), for every buffer that has one.
    """

    buffers: Mapping[str, Buffer]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]
    gradients: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> list[Buffer]:
        """What has to be given at every run."""
        return [b for b in self.buffers.values() if b.role == "input"]

    def weights(self) -> list[Buffer]:
        """Parameters and states, which live outside of the program and outlast a run."""
        return [b for b in self.buffers.values() if b.role in ("parameter", "state")]

    def keeping(self, **labels: str) -> "Program":
        """The same program with more buffers given back by a run: label -> buffer name."""
        missing = [name for name in labels.values() if name not in self.buffers]
        if missing:
            raise KernelearnError(
                f"No buffer named {missing[0]!r} in this program; print it to see the names."
            )
        return replace(self, outputs={**self.outputs, **labels})

    def last_uses(self) -> dict[str, int]:
        """Index of the last operation that reads each computed buffer; the program's outputs are left out."""
        kept = set(self.outputs.values())
        uses = {name: i for i, op in enumerate(self.operations) for name in (*op.outputs, *op.inputs)}
        return {n: i for n, i in uses.items() if n not in kept and self.buffers[n].role == "value"}

    def digest(self) -> str:
        """Of what it computes and gives, whatever the names of that."""
        numbers = {name: number for number, name in enumerate(self.buffers)}
        found = hashlib.blake2b(digest_size=16)
        for buffer in self.buffers.values():
            found.update(f"{buffer.shape} {buffer.dtype} {buffer.role};".encode())
        for op in self.operations:
            ends = [[numbers[name] for name in names] for names in (op.inputs, op.outputs)]
            found.update(f"{op.operator} {ends} {sorted(op.attrs.items())} {op.phase};".encode())
        found.update(repr(sorted(numbers[name] for name in self.outputs.values())).encode())
        return found.hexdigest()

    def explain(self) -> str:
        """The program as text: one line an operation, grouped by phase, with its layer and who rewrote it."""
        lines = [f"inputs: {', '.join(map(str, self.inputs()))}"]
        for phase in PHASES:
            operations = [op for op in self.operations if op.phase == phase]
            if operations:
                lines.append(f"{phase}:")
                lines += [f"  {op}{_origin(op)}" for op in operations]
        lines.append("outputs: " + ", ".join(f"{label}={name}" for label, name in self.outputs.items()))
        return "\n".join(lines)

    __str__ = explain


def _origin(op: Operation) -> str:
    """The layer that an operation is from, and the rewrites that made it."""
    layer = f"   [{op.layer}]" if op.layer else ""
    return layer + (f"   made by: {', '.join(op.made_by)}" if op.made_by else "")


class ProgramBuilder:
    """Builds a `Program` one operation at a time, working out the shape of every result.

    Args:
        training: lower layers for training (dropout active, batch statistics) or for inference.
        dtype: float type of the computed values.
        batch: the number of images that the program is for; None for any number, the usual case.
    Attributes:
        afterwards: what traced code wants done with its values behind a run; see `tracing.later`.
        masks: name of a buffer -> buffer that says which of its steps count; see `layers.masks`.
    """

    def __init__(self, training: bool = False, dtype: str = "float32", batch: int | None = None) -> None:
        self.training = training
        self.dtype = dtype
        self.batch = batch
        self.layer = ""
        self.phase = "forward"
        self.buffers: dict[str, Buffer] = {}
        self.operations: list[Operation] = []
        self.outputs: dict[str, str] = {}
        self.gradients: dict[str, str] = {}
        self.trainable: set[str] = set()
        self.penalties: list[Buffer] = []
        self.afterwards: list[Any] = []
        self.variables: dict[str, Variable] = {}
        self.results: dict[str, Buffer] = {}
        self.masks: dict[str, Buffer] = {}
        self.called: dict[int, Any] = {}
        self._names: dict[int, str] = {}
        self._assigned: dict[str, Buffer] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Buffer] = {}
        self._weight_names: set[str] = set()
        self._counts: dict[str, int] = {}
        self._streams = 0

    def input(self, name: str, shape: Iterable[int | None], dtype: str | None = None) -> Buffer:
        """An array given at every run; asking again for the same name gives the same buffer."""
        return self._weight_or_input(name, tuple(shape), dtype or self.dtype, "input")

    def variable(self, variable: Variable, role: str = "parameter", trainable: bool = True) -> Buffer:
        """The buffer of a weight, named after the current layer; the same weight always gives the same
        buffer.

        Args:
            role: "parameter", or "state" for what the step changes without a gradient.
            trainable: whether the backward pass gives a parameter a gradient.
        """
        name = self.name_variable(variable, f"{self.layer}/{variable.name}" if self.layer else variable.name)
        buffer = self._weight_or_input(name, variable.shape, variable.dtype, role)
        if self.variables.setdefault(name, variable) is not variable:
            raise KernelearnError(
                f"Two different weights are both called {name!r}: give the layers different names."
            )
        if trainable and role == "parameter":
            self.trainable.add(name)
        return self._assigned.get(name, buffer)

    def name_variable(self, variable: Variable, name: str) -> str:
        """The name of a weight in this program: this one, if it has none yet."""
        found = self._names.setdefault(id(variable), name)
        self._weight_names.add(found)
        return found

    def assign(self, variable: Variable, value: Buffer) -> None:
        """Write a value into a weight at the end of the step; who asks for the weight from now on gets it."""
        name = self._names[id(variable)]
        self.update("assign", (value,), (self.buffers[name],))
        self._assigned[name] = value

    @contextmanager
    def in_place_of(self, variable: Variable, value: Buffer) -> Iterator[None]:
        """Who asks for a weight inside gets this value, which may be computed from it; the weight stays."""
        name = self._names[id(variable)]
        before = dict(self._assigned)
        self._assigned[name] = value
        try:
            yield
        finally:
            self._assigned = before

    def given_weight(self, name: str, shape: Iterable[int | None], dtype: str | None = None) -> Buffer:
        """A weight that lies wherever the caller of a run says, and that no `Variable` holds."""
        return self._weight_or_input(name, tuple(shape), dtype or self.dtype, "parameter")

    def state(self, name: str, variable: Variable) -> Buffer:
        """The buffer of an array that belongs to no layer, such as an optimiser's."""
        self.variables[name] = variable
        return self._weight_or_input(name, variable.shape, variable.dtype, "state")

    def constant(self, array: np.ndarray) -> Buffer:
        """The buffer of numbers that never change; equal arrays are one buffer."""
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            number = len(self._constants) + 1
            name = f"{self.layer}/constant_{number}" if self.layer else f"constant_{number}"
            self._constants[key] = self.state(name, Variable(array, "constant", trainable=False))
        return self._constants[key]

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Everything added inside belongs to this layer, or to a layer within it."""
        outer, self.layer = self.layer, f"{self.layer}/{name}" if self.layer else name
        try:
            yield
        finally:
            self.layer = outer

    def note_result(self, layer: Any, result: Buffer) -> None:
        """Remember a layer that was called, and what it gives, under its path, at the first call."""
        self.called[id(layer)] = layer
        self.results.setdefault(self.layer, result)

    def next_stream(self) -> int:
        """A number for the next source of random numbers: its place in the network, the same when rebuilt."""
        self._streams += 1
        return self._streams

    def clock(self) -> tuple[Buffer, Buffer]:
        """The two inputs of everything random: the seed of the run and the number of the step."""
        return self.input("seed", (), "int64"), self.input("step", (), "int64")

    def add(self, operator: str, *inputs: Buffer, **attrs: Any) -> Any:
        """Append an operation that computes new buffers; gives back one Buffer, or a tuple of them."""
        attrs = OPERATORS[operator].whole(attrs)
        specs = self._infer(operator, inputs, attrs)
        outputs = tuple(self._new_value(operator, spec) for spec in specs)
        self._append(operator, inputs, outputs, attrs)
        return outputs[0] if len(outputs) == 1 else outputs

    def update(
        self, operator: str, inputs: Iterable[Buffer], outputs: Iterable[Buffer], **attrs: Any
    ) -> None:
        """Append an operation of the update phase that overwrites parameters or states."""
        before, self.phase = self.phase, "update"
        self._append(operator, tuple(inputs), tuple(outputs), OPERATORS[operator].whole(attrs))
        self.phase = before

    def rewrite(self, rule: Callable[[Program], Program]) -> None:
        """Apply a rewrite to the operations added so far."""
        program = Program(self.buffers, tuple(self.operations), self.outputs, self.gradients)
        self.operations = list(rule(program).operations)

    def build(self) -> Program:
        """The finished program: unused operations dropped, updates last."""
        ordered = sorted(self.operations, key=lambda op: PHASES.index(op.phase))
        return prune(Program(dict(self.buffers), tuple(ordered), dict(self.outputs), dict(self.gradients)))

    def _infer(self, operator: str, inputs: tuple[Buffer, ...], attrs: dict[str, Any]) -> tuple[Spec, ...]:
        try:
            return OPERATORS[operator].shape_rule(*[b.spec for b in inputs], **attrs)
        except ShapeError as error:
            where = f"Layer {self.layer!r}: " if self.layer else ""
            raise ShapeError(f"{where}{error}") from error

    def _append(
        self,
        operator: str,
        inputs: tuple[Buffer, ...],
        outputs: tuple[Buffer, ...],
        attrs: dict[str, Any],
    ) -> None:
        names = tuple(b.name for b in inputs), tuple(b.name for b in outputs)
        self.operations.append(Operation(operator, *names, attrs, self.layer, self.phase))

    def _new_value(self, operator: str, spec: Spec) -> Buffer:
        stem = f"{self.layer}/{operator}" if self.layer else operator
        name = self._numbered(stem)
        while name in self._weight_names:  # a weight or an input may be called like an operator
            name = self._numbered(stem)
        buffer = Buffer(name, spec.shape, spec.dtype)
        self.buffers[buffer.name] = buffer
        return buffer

    def _numbered(self, stem: str) -> str:
        count = self._counts[stem] = self._counts.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}_{count}"

    def _weight_or_input(self, name: str, shape: tuple[int | None, ...], dtype: str, role: str) -> Buffer:
        buffer = self.buffers.setdefault(name, Buffer(name, shape, dtype, role))
        self._weight_names.add(name)
        if (buffer.shape, buffer.role) != (shape, role):
            raise KernelearnError(
                f"Buffer {name!r} is declared twice: as {buffer} and with shape {shape} as {role}."
            )
        return buffer


def prune(program: Program) -> Program:
    """Drop operations whose results nothing reads, and buffers that nothing uses."""
    needed = set(program.outputs.values())
    kept: list[Operation] = []
    for op in reversed(program.operations):
        if op.phase == "update" or needed.intersection(op.outputs):
            needed.update(op.inputs)
            needed.update(op.outputs)
            kept.append(op)
    buffers = {n: b for n, b in program.buffers.items() if n in needed}
    gradients = {n: g for n, g in program.gradients.items() if n in needed and g in needed}
    return Program(buffers, tuple(reversed(kept)), program.outputs, gradients)
