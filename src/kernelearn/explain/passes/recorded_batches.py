"""A recorded step computed from the record alone: without the data that it was trained on.

The ledger of a step holds what went into the first layer with a kernel, and the classes of the images. The
network is run from that layer on, forward and backward, and the errors that come out are compared with those
of the record: where they differ, the record does not say all that the step depended on.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.passes.replay import Replay
from kernelearn.recording.factors import KINDS
from kernelearn.recording.run import Run
from kernelearn.training.steps.step import Clock

# Errors of the record and of the replay may differ by rounding: of their largest.
_ROUNDING = 1e-4


class RecordedBatches:
    """What the ledgers of a run say of its batches, and steps computed from that.

    Args:
        run: with ledgers.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        # By the executable of the step: a network for another loss has another one.
        self._programs: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def steps(self) -> set[int]:
        """Those with a ledger of the first kernel.

        Raises: ArgumentError if there is none.
        """
        layer, weight = self._first()
        return set(self.run.ledger_steps_of(layer, weight).tolist())

    def replay(self, model: Any, step: int, seed: int) -> Replay:
        """All numbers of a step from its first kernel on.

        Args:
            model: compiled, with the weights before the step.
            step: one of `steps`; seed: of its fit.
        Raises: ArgumentError for a step that the record does not say enough of.
        """
        layer, weight = self._first()
        factors = self.run.ledger(layer, step, weight)
        if factors.labels is None:
            raise ArgumentError("The targets of this run are no class numbers, and so they are not recorded.")
        replay = self._replayed(model, seed, factors.parts[0].x, factors.labels, layer)
        self.compare(replay, step)
        return replay

    def _first(self) -> tuple[str, str]:
        """The first layer with a kernel that has ledgers, which has to read the images alone.

        Raises: ArgumentError if there is none.
        """
        run = self.run
        for layer in run.layers:
            name = run.about.kernel_name(layer)
            if name is not None and len(run.ledger_steps_of(layer, name)):
                return layer, name
        raise ArgumentError("This run holds no ledger.")

    def _replayed(self, model: Any, seed: int, x: np.ndarray, labels: np.ndarray, layer: str) -> Replay:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ArgumentError("A step is computed once more for networks with one input and one output.")
        sizes = tuple(int(size or 1) for size in model.inputs[0].shape[1:])
        batch = model.batch(np.zeros((len(labels), *sizes), model.inputs[0].dtype), labels)
        made = model.programs.step_on("train", batch)
        cut = _read_by(made.program, layer, x)
        program, wanted = _behind(made.program, cut)
        if made.executable not in self._programs:
            self._programs[made.executable] = made.changed(program)
        clock = Clock.of(model.optimizer, seed)
        x = np.ascontiguousarray(x).reshape(len(x), *made.program.buffers[cut].shape[1:])
        given = {**batch.arrays, cut: x, **clock.arrays()}
        needed = {buffer.name: given[buffer.name] for buffer in program.inputs()}
        found = self._programs[made.executable].executable.run(needed, is_checked=True)
        weights = {name: variable.numpy() for name, variable in made.variables.items()}
        values = {**weights, **needed, **{name: np.asarray(found[name]) for name in wanted}}
        return Replay(program, values, len(labels))

    def compare(self, replay: Replay, step: int) -> None:
        """Raise ArgumentError where the errors are not those of the record."""
        for layer in self.run.layers:
            name = self.run.about.kernel_name(layer)
            if name is None or step not in self.run.ledger_steps_of(layer, name):
                continue
            try:
                computed = replay.gradient(replay.units_of(layer).outputs[0])
            except KernelearnError:
                continue
            recorded = self.run.ledger(layer, step, name).parts[0].delta
            if computed is None:
                continue
            if computed.size == recorded.size:  # the record has all positions of a dense layer on one axis
                computed = computed.reshape(recorded.shape)
            if computed.shape != recorded.shape:
                raise ArgumentError(
                    f"Step {step} cannot be computed once more: the model has {computed.shape[1:]} errors of "
                    f"an image at {layer}, and its record {recorded.shape[1:]}; it computes other positions, "
                    "too, as where steps and dilation come together."
                )
            bound = _ROUNDING * float(np.abs(recorded).max(initial=0.0)) + 1e-12
            if float(np.abs(computed - recorded).max(initial=0.0)) > bound:
                raise ArgumentError(
                    f"Step {step} computed once more has other errors at {layer} than its record: it "
                    "depended on more than the record says, such as weights of images or of classes."
                )


def _use_of(program: Program, layer: str) -> Operation:
    return next(
        op
        for op in program.operations
        if op.phase == "forward" and op.operator in KINDS and op.layer == layer
    )


def _read_by(program: Program, layer: str, x: np.ndarray) -> str:
    """The buffer that holds what the record has as the input of a layer.

    A layer of another program pads by itself what is padded before it here; and the record has all positions
    of a dense layer on one axis.

    Raises: ArgumentError where no buffer has its size.
    """
    graph, cut = Graph(program), _use_of(program, layer).inputs[0]
    while math.prod(size or 1 for size in program.buffers[cut].shape[1:]) != math.prod(x.shape[1:]):
        made = graph.producer(cut)
        if made is None or made.operator != "pad":
            raise ArgumentError(
                f"The record has {x.shape[1:]} numbers of an image as the input of {layer}, and the model "
                f"reads {program.buffers[cut].shape[1:]} there: its steps cannot be computed once more."
            )
        cut = made.inputs[0]
    return cut


def _behind(program: Program, cut: str) -> tuple[Program, list[str]]:
    """The program from a buffer on, which is given, without updates; and all that it computes."""
    graph = Graph(program)
    made = graph.producer(cut)
    kept = [op for op in program.operations if op.phase != "update" and op is not made]
    given = {cut, *(b.name for b in program.buffers.values() if b.role != "value")}
    before = _only_before(kept, cut, program)
    kept = [op for op in kept if id(op) not in before]
    computed = [name for op in kept for name in op.outputs if program.buffers[name].role == "value"]
    used = {name for op in kept for name in op.inputs} | set(computed) | set(program.outputs.values())
    buffers = {
        name: replace(buffer, role="input") if name == cut else buffer
        for name, buffer in program.buffers.items()
        if name in used and (name in given or name in set(computed))
    }
    outputs = {**{label: name for label, name in program.outputs.items() if name in buffers}}
    outputs |= {name: name for name in computed}
    gradients = {name: g for name, g in program.gradients.items() if name in buffers and g in buffers}
    return Program(buffers, tuple(kept), outputs, gradients), computed


def _only_before(operations: list[Operation], cut: str, program: Program) -> set[int]:
    """Operations of which only the buffer that is given needed the results."""
    needed = set(program.outputs.values())
    ours: set[int] = set()
    for op in reversed(operations):
        is_wanted = op.phase == "backward" or any(name in needed for name in op.outputs)
        is_wanted = is_wanted or op.operator == "loss"
        if is_wanted:
            needed.update(op.inputs)
        else:
            ours.add(id(op))
    return ours
