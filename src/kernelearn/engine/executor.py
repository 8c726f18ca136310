"""The reference engine: runs a program by the NumPy functions of the operator table, one after another."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from kernelearn.engine.arrays import Reached, Use
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, Operation, Program
from kernelearn.engine.variable import Variable
from kernelearn.engine.work import Work, explain, reference_work
from kernelearn.errors import KernelearnError, ShapeError


class ReferenceExecutable:
    """A program ready to run.

    Args:
        program: what to run.
        variables: name of a parameter or state -> Variable; updates are written into it.
    """

    engine = "reference"

    def __init__(self, program: Program, variables: Mapping[str, Variable]) -> None:
        self.program = program
        self.variables = {b.name: variables[b.name] for b in program.weights()}
        self._last_uses = program.last_uses()
        self._announced = 0

    def run(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        """Run one step.

        Args:
            inputs: an array for every input buffer, by name.
            is_checked: every input is known to be a contiguous array of its buffer's type and shape.
        Returns: label -> array for every output of the program. If the program's "loss" is not finite, no
            parameter or state is changed.
        """
        arrays = self._start(inputs, is_checked)
        updates_allowed = True
        for number, op in enumerate(self.program.operations):
            if op.phase == "update":
                updates_allowed = updates_allowed and self._loss_is_finite(arrays)
                if updates_allowed:
                    self._update(op, arrays)
                continue
            self._compute(op, arrays)
            self._release(number, op, arrays)
        return {label: self._owned(arrays[name], arrays) for label, name in self.program.outputs.items()}

    def announce(self, groups: Sequence[Collection[str]]) -> None:
        """Groups of outputs for `visit`; see `Executable`."""
        self._announced = len(groups)

    def visit(self, inputs: Mapping[str, np.ndarray], use: Use, reached: Reached | None = None) -> None:
        """Run, and let `use` have the outputs; see `Executable`."""
        found = self.run(inputs, is_checked=True)
        if reached is not None:
            for number in range(self._announced):
                reached(number, found)
        use(found)

    def work(self, images: int = 32) -> list[Work]:
        """What a run on so many images does: one row per operation."""
        return [reference_work(self.program, op, images) for op in self.program.operations]

    def explain(self, images: int = 32) -> str:
        """The rows of `work` as text."""
        return explain(f"reference engine: NumPy; figures for {images} images", self.work(images))

    def trace(self, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[Operation, dict[str, np.ndarray]]]:
        """Run forward and backward step by step, without updates: (operation, all arrays so far)."""
        arrays = self._start(inputs)
        for op in self.program.operations:
            if op.phase != "update":
                self._compute(op, arrays)
                yield op, arrays

    def _start(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        missing = [b.name for b in self.program.inputs() if b.name not in inputs]
        if missing:
            raise KernelearnError(f"The program needs inputs {missing}; got {sorted(inputs)}.")
        arrays = {b.name: np.asarray(inputs[b.name], b.dtype) for b in self.program.inputs()}
        if not is_checked:
            check_shapes(self.program.inputs(), arrays)
        arrays.update((name, variable.value) for name, variable in self.variables.items())
        return arrays

    def _compute(self, op: Operation, arrays: dict[str, np.ndarray]) -> None:
        results = self._results(op, arrays)
        arrays.update(zip(op.outputs, results))

    def _update(self, op: Operation, arrays: dict[str, np.ndarray]) -> None:
        for name, result in zip(op.outputs, self._results(op, arrays)):
            if name in self.variables:
                self.variables[name].write_in_place(result)
            else:
                arrays[name] = result

    def _results(self, op: Operation, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        # NOTE: a diverging network overflows; it is reported by the loss check, not by a shower of warnings.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            results = OPERATORS[op.operator].run(*[arrays[n] for n in op.inputs], **op.attrs)
        return results if isinstance(results, tuple) else (results,)

    def _release(self, number: int, op: Operation, arrays: dict[str, np.ndarray]) -> None:
        """Forget arrays that no later operation reads."""
        for name in (*op.inputs, *op.outputs):
            if self._last_uses.get(name) == number:
                arrays.pop(name, None)

    def _owned(self, result: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The result, copied if it is a view of an input or weight (a reshape is): callers may write it."""
        given = [arrays[b.name] for b in (*self.program.inputs(), *self.program.weights())]
        return result.copy() if any(np.may_share_memory(result, array) for array in given) else result

    def _loss_is_finite(self, arrays: dict[str, np.ndarray]) -> bool:
        loss = self.program.outputs.get("loss")
        return loss is None or bool(np.isfinite(arrays[loss]))


def check_shapes(buffers: list[Buffer], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ShapeError for an input that has not the declared shape; None: any number of images."""
    for buffer in buffers:
        shape = arrays[buffer.name].shape
        fits = len(shape) == len(buffer.shape) and all(e in (None, s) for e, s in zip(buffer.shape, shape))
        if not fits:
            raise ShapeError(f"Input {buffer} got an array of shape {shape}; n is the number of images.")
    counts = {b.name: arrays[b.name].shape[0] for b in buffers if b.shape[:1] == (None,)}
    if len(set(counts.values())) > 1:
        raise ShapeError(f"All inputs must have the same number of images (or samples); got {counts}.")
