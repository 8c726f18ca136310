"""Where in a training program the numbers are that a recorder wants: found by reading its operations.

A weight's factors are the input of the operator that uses it and the gradient of that operator's output; both
are buffers of the step. Names of weights here are their paths in the model, `layer/kernel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.updates import UPDATES
from kernelearn.recording.factors import KINDS
from kernelearn.recording.stages import Stage, stages_of

_KERNEL_GRADIENTS = {
    "conv": "conv_grad_kernel",
    "conv_transpose": "conv_grad_kernel",
    "dense": "dense_grad_kernel",
}


@dataclass(frozen=True)
class PartTap:
    """Buffers of one use of a kernel; `gradient` is None where it is the whole gradient of the weight."""

    kind: str
    x: str
    delta: str
    gradient: str | None
    attrs: Mapping[str, Any]

    @property
    def buffers(self) -> list[str]:
        """Names of the buffers that hold it."""
        return [self.x, self.delta, *([self.gradient] if self.gradient else [])]


@dataclass(frozen=True)
class StageTap:
    """Buffers of one place behind the sum of a kernel: what the part does not hold already.

    value: numbers behind a normalisation, which those before it do not give; winner: cells that won a
    pooling; delta: the error that comes from above, at the last place alone.
    """

    stage: Stage
    value: str | None
    winner: str | None
    delta: str | None

    @property
    def buffers(self) -> list[str]:
        """Names of the buffers that hold it."""
        return [name for name in (self.value, self.winner, self.delta) if name is not None]


@dataclass(frozen=True)
class Use:
    """How a program uses a trained kernel: the operator's kernel shape, the path of the bias, the parts.

    stages: the places behind it, where the kernel is used once.
    """

    kernel_shape: tuple[int, ...]
    bias: str | None
    parts: tuple[PartTap, ...]
    stages: tuple[StageTap, ...] = ()

    @property
    def buffers(self) -> list[str]:
        """Names of all buffers."""
        parts = [name for part in self.parts for name in part.buffers]
        return [*parts, *(name for stage in self.stages for name in stage.buffers)]


@dataclass(frozen=True)
class Rule:
    """How a program updates a weight; slot name -> name of the variable.

    constraint, overwriting: what follows the update: a projection, a moving average in the weight's place.
    """

    kind: str
    attrs: Mapping[str, Any]
    slots: Mapping[str, str]
    constraint: Mapping[str, Any] | None
    overwriting: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Taps:
    """All that can be taken from a training program.

    Attributes:
        gradients: path of a trained weight -> buffer of its gradient, before clipping.
        uses: path of a trained kernel -> its uses.
        rules: path of a trained weight -> its update.
        global_norm: buffer of the norm of all gradients, if the optimiser clips by it.
    """

    gradients: Mapping[str, str]
    uses: Mapping[str, Use]
    rules: Mapping[str, Rule]
    global_norm: str | None = None


def find_taps(program: Program, paths: Mapping[str, str]) -> Taps:
    """Read a training program.

    Args:
        paths: name of a weight's buffer -> its path in the model.
    """
    view = _View(Graph(program), paths)
    rules = {paths[op.inputs[0]]: _rule(op, program) for op in program.operations if op.operator in UPDATES}
    trained = {path: program.gradients[name] for name, path in paths.items() if path in rules}
    norms = [op.outputs[0] for op in program.operations if op.operator == "global_norm"]
    return Taps(trained, view.uses(trained), rules, norms[0] if norms else None)


def _rule(op: Operation, program: Program) -> Rule:
    name = op.inputs[0]
    prefix = f"optimizer/{name}/"
    states = (n for o in program.operations if o.phase == "update" for n in o.inputs if n.startswith(prefix))
    slots = {n.removeprefix(prefix): n for n in states}
    found = {o.operator: plain(o.attrs) for o in program.operations if o.inputs[:1] == (name,)}
    return Rule(op.operator, plain(op.attrs), slots, found.get("constrain"), found.get("overwrite_weight"))


@dataclass
class _View:
    """A program with what the search needs to look up."""

    graph: Graph
    paths: Mapping[str, str]

    @property
    def program(self) -> Program:
        return self.graph.program

    def uses(self, trained: Mapping[str, str]) -> dict[str, Use]:
        """Path -> uses, for every trained weight that is a kernel."""
        found: dict[str, list[Operation]] = {}
        for op in self.program.operations:
            if op.phase == "forward" and op.operator in KINDS and op.outputs[0] in self.program.gradients:
                path = self.paths.get(self._source(op.inputs[1]))
                if path in trained:
                    found.setdefault(str(path), []).append(op)
        return {path: self._use(ops, trained[path], trained) for path, ops in found.items()}

    def _use(self, ops: list[Operation], total: str, trained: Mapping[str, str]) -> Use:
        shape = self.program.buffers[ops[0].inputs[1]].shape
        biases = [self._bias(op) for op in ops]
        bias = next((b for b in biases if b in trained), None)
        parts = tuple(self._part(op, total) for op in ops)
        stages = self._stages(ops[0]) if len(ops) == 1 else ()
        return Use(tuple(int(s or 0) for s in shape), bias, parts, stages)

    def _stages(self, op: Operation) -> tuple[StageTap, ...]:
        """The places behind an operation, with the buffers that its factors do not hold already.

        NOTE: errors between the places are not taken. They follow from the last one without rounding, and a
        step that had to give them back would pool and cut in passes of their own: its sums would be in
        another order, and the training no longer the same to the bit.
        """
        held = self.program.gradients[op.outputs[0]]
        stages = stages_of(self.graph, op)
        found = []
        for stage in stages:
            delta = self.program.gradients.get(stage.value) if stage is stages[-1] else None
            value = stage.value if stage.name == "norm" else None
            found.append(StageTap(stage, value, stage.winner, None if delta == held else delta))
        return tuple(found)

    def _part(self, op: Operation, total: str) -> PartTap:
        x, delta = op.inputs[0], self.program.gradients[op.outputs[0]]
        own = self._kernel_gradient(op, x, delta)
        is_all = own is None or self._source(total) == own
        return PartTap(op.operator, x, delta, None if is_all else own, plain(op.attrs))

    def _kernel_gradient(self, op: Operation, x: str, delta: str) -> str | None:
        """The buffer with the gradient of the kernel through this operation alone."""
        inputs = (delta, x) if op.operator == "conv_transpose" else (x, delta)
        for other in self.program.operations:
            is_kernel_gradient = other.operator == _KERNEL_GRADIENTS[op.operator]
            if is_kernel_gradient and other.inputs == inputs and other.layer == op.layer:
                return other.outputs[0]
        return None

    def _bias(self, op: Operation) -> str | None:
        """Path of what is added to the operation's output as a bias."""
        for other in self.graph.readers(op.outputs[0]):
            if other.operator == "bias_add":
                return self.paths.get(self._source(other.inputs[1]))
        return None

    def _source(self, name: str) -> str:
        """What a buffer is a reshaped view of."""
        made = self.graph.producer(name)
        return self._source(made.inputs[0]) if made is not None and made.operator == "reshape" else name


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON values; objects (a user's own function) by their type's name."""
    return {key: _plain(value) for key, value in attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__
