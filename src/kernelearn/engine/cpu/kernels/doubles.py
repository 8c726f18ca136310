"""Kernels for float64: the code of those for float32, with numbers of twice the size, half as many a vector.

Rules that are asked inside `as_floats` see the float64 buffers of an operation as float32. What they add is
then made for float64: the kernels, and the buffers of the engine's own. Only operators whose code knows
neither the bits nor the precision of its numbers are computed so: no exponentials. The rest is left to NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.machine import stack
from kernelearn.engine.cpu.plan import Call, Code, Fallback, Plan
from kernelearn.engine.program import Operation
from kernelearn.engine.updates import UPDATES

# Activations of additions, multiplications and comparisons.
ACTIVATIONS = {"linear", "relu", "leaky_relu", "relu6", "threshold", "hard_sigmoid", "hard_tanh"}
OPERATORS = {
    # products
    "conv", "conv_grad_input", "conv_transpose", "conv_grad_kernel",
    "dense", "dense_grad_input", "dense_grad_kernel", "matmul", "turned_matmul",
    # entry by entry
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "square", "sqrt", "abs", "reciprocal",
    "bias_add", "affine", "scale", "standardize", "standardize_grad", "moving_average", "assign",
    "activation", "activation_grad", "batch_norm_grad_input", "stop_gradient",
    # sums, normalisation
    "bias_grad", "batch_statistics", "normalize", "normalize_grad", "batch_norm_sums",
    "batch_norm_coefficients", "affine_coefficients",
    # windows
    "max_pool", "max_pool_grad", "max_pool_take", "average_pool", "average_pool_grad",
    # steps of optimisers, but for Adam: ledgers repeat its bias corrections to the last digit
    "sgd_update", "rmsprop_update", "adagrad_update", "lion_update",
}  # fmt: skip


def are_doubles(plan: Plan, op: Operation) -> bool:
    """Whether all floats of an operation are float64, and there is code for them."""
    parts = op.attrs["body"].operations if op.operator == "fused" else (op,)
    kinds = {plan.dtype(name) for name in (*op.inputs, *op.outputs)}
    return "float64" in kinds and "float32" not in kinds and all(map(_has_code, parts))


def _has_code(op: Operation) -> bool:
    if op.operator in ("activation", "activation_grad"):
        return op.attrs["kind"] in ACTIVATIONS
    return op.operator in OPERATORS and op.attrs.get("precision", "float32") == "float32"


@contextmanager
def as_floats(plan: Plan, op: Operation) -> Iterator[None]:
    """Rules that are asked inside see float32; the calls that they add are for float64."""
    before, target, steps, prologue = dict(plan.buffers), plan.target, len(plan.steps), len(plan.prologue)
    for name in _names(op):
        if plan.dtype(name) == "float64":
            plan.buffers[name] = replace(plan.buffers[name], dtype="float32")
    plan.target = replace(target, width=target.width // 2, has_bf16=False, tiles="")
    try:
        with stack.of_doubles():
            yield
    finally:
        plan.target = target
        for name in [name for name in plan.buffers if name not in before]:
            if plan.dtype(name) == "float32":
                plan.buffers[name] = replace(plan.buffers[name], dtype="float64")
        plan.buffers.update(before)
    plan.steps[steps:] = [s if isinstance(s, Fallback) else _of_doubles(s) for s in plan.steps[steps:]]
    plan.prologue[prologue:] = [_of_doubles(call) for call in plan.prologue[prologue:]]


def _names(op: Operation) -> list[str]:
    """The buffers of an operation and of its parts, without a learning rate, which always is a float64."""
    parts = op.attrs["body"].operations if op.operator == "fused" else ()
    rates = {part.inputs[2] for part in (op, *parts) if part.operator in UPDATES}
    names = [name for part in (op, *parts) for name in (*part.inputs, *part.outputs)]
    return [name for name in names if name not in rates]


def _of_doubles(call: Call) -> Call:
    finer = call.alternative
    return replace(call, code=Doubles(call.code), alternative=None if finer is None else _of_doubles(finer))


@dataclass(frozen=True)
class Doubles:
    """A kernel for float64."""

    code: Code

    def emit(self, k: Kernel) -> None:
        k.use_doubles()
        self.code.emit(k)
