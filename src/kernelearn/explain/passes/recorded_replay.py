"""A recorded step computed once more from the record alone: without the data that it was trained on.

The ledger of a step holds what went into the first layer with a kernel, and the classes of the images. The
network is run from that layer on, forward and backward, and the errors that come out are compared with those
of the record: where they differ, the record does not say all that the step depended on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.passes.replay import Replay
from kernelearn.explain.passes.run_steps import begun, replayable_steps
from kernelearn.recording.run import Run, steps_in_words
from kernelearn.training.steps.step import Batch, Clock, input_name

# Errors of the record and of the replay may differ by rounding: of their largest.
_ROUNDING = 1e-4


class RecordedSteps:
    """Recorded steps that can be computed once more; the network is compiled once.

    Args:
        run: with ledgers.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._models: dict[str, Any] = {}
        self._programs: dict[str, Any] = {}

    def steps(self) -> list[int]:
        """Those with a ledger of the first kernel before which all weights are recorded."""
        layer, weight = self._first()
        with_ledger = set(self.run.ledger_steps_of(layer, weight).tolist())
        return [step for step in replayable_steps(self.run) if step in with_ledger]

    def at(self, step: int) -> Replay:
        """All numbers of a step.

        Raises: ArgumentError for a step that the record does not say enough of.
        """
        known = self.steps()
        if step not in known:
            near = min(known, key=lambda k: abs(k - step), default=None)
            raise ArgumentError(
                f"Step {step} cannot be computed once more: that needs its ledger, and all weights before it"
                + (
                    f". Both are recorded for the steps {steps_in_words(known)}; the nearest is {near}."
                    if known
                    else ""
                )
            )
        layer, weight = self._first()
        factors = self.run.ledger(layer, step, weight)
        if factors.labels is None:
            raise ArgumentError("The targets of this run are no class numbers, and so they are not recorded.")
        model = self._model(step)
        replay = self._replayed(model, step, factors.parts[0].x, factors.labels, layer)
        self._compare(replay, step)
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

    def _model(self, step: int) -> Any:
        """The compiled model with the weights before a step."""
        said = begun(self.run, step)
        compiled = said.get("compiled")
        if compiled is None:
            raise ArgumentError("The run does not say what its loss was.")
        key = repr(compiled)
        if key not in self._models:
            model = self.run.untrained_model()
            precision, engine = compiled.get("policy", "float32"), self.run.about.engine
            model.compile("sgd", compiled["loss"], compiled["loss_weights"], policy=precision, engine=engine)
            self._models[key] = model
        model = self._models[key]
        self.run.assign_before(model, step)
        model.optimizer.iterations = self.run.iteration(step) - 1
        return model

    def _replayed(self, model: Any, step: int, x: np.ndarray, labels: np.ndarray, layer: str) -> Replay:
        sizes = tuple(int(size or 1) for size in model.inputs[0].shape[1:])
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ArgumentError("A step is computed once more for networks with one input and one output.")
        empty = np.zeros((len(labels), *sizes), model.inputs[0].dtype)
        batch = model.batch(empty, labels)
        made = model.programs.step_on("train", batch)
        cut = _use_of(made.program, layer).inputs[0]
        program, wanted = _behind(made.program, cut)
        key = f"{id(model)} {len(labels)} {cut}"
        if key not in self._programs:
            self._programs[key] = made.changed(program)
        clock = Clock.of(model.optimizer, int(begun(self.run, step).get("seed") or 0))
        arrays = {**batch.arrays, cut: np.ascontiguousarray(x)}
        given = {**arrays, **clock.arrays()}
        needed = {buffer.name: given[buffer.name] for buffer in program.inputs()}
        rows = Batch({input_name(0): x, **needed}, len(labels))
        found = self._programs[key].executable.run(needed, is_checked=True)
        weights = {name: variable.numpy() for name, variable in made.variables.items()}
        values = {**weights, **needed, **{name: np.asarray(found[name]) for name in wanted}}
        return Replay(program, values, rows.rows)

    def _compare(self, replay: Replay, step: int) -> None:
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
            bound = _ROUNDING * float(np.abs(recorded).max(initial=0.0)) + 1e-12
            if (
                computed.shape != recorded.shape
                or float(np.abs(computed - recorded).max(initial=0.0)) > bound
            ):
                raise ArgumentError(
                    f"Step {step} computed once more has other errors at {layer} than its record: it "
                    "depended on more than the record says, such as weights of images or of classes."
                )


def _use_of(program: Program, layer: str) -> Operation:
    from kernelearn.recording.factors import KINDS

    return next(
        op
        for op in program.operations
        if op.phase == "forward" and op.operator in KINDS and op.layer == layer
    )


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
