"""Why a loss is not finite: the step again, one operation at a time, up to the first bad tensor."""

from __future__ import annotations

import numpy as np

from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.training.steps.step import Batch, Clock
from kernelearn.training.steps.step_program import StepProgram

_REMEDY = "Lower the learning rate, scale the inputs to about [0, 1], or clip gradients (clipnorm=1.0)."


def diagnose_non_finite(step: StepProgram, batch: Batch, clock: Clock) -> str:
    """Run a training step again without its updates and name the first tensor that is not finite."""
    where = f"Step {clock.iterations + 1}: the loss is not finite."
    weights = {name: variable.value for name, variable in step.variables.items()}
    for name, array in {**batch.arrays, **weights}.items():
        if _is_bad(array):
            return f"{where} First bad tensor: {name!r}, already before this step. {_REMEDY}"
    reference = ReferenceExecutable(step.program, step.variables)
    for op, arrays in reference.trace(step.inputs(batch, clock)):
        bad = [name for name in op.outputs if _is_bad(arrays[name])]
        if bad:
            layer = f" of layer {op.layer!r}" if op.layer else ""
            origin = f"{bad[0]!r}, result of {op.operator!r}{layer} ({op.phase})"
            return f"{where} First bad tensor: {origin}. {_REMEDY}"
    return f"{where} {_REMEDY}"


def _is_bad(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and not np.isfinite(array).all()
