"""How an operation on arrays reaches an engine: the reference function, or a program of one operation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn.engine.backends import prepare, resolve_engine
from kernelearn.engine.operators import OPERATORS, Spec
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError

CACHED_PROGRAMS = 256


def run(
    operator: str, arrays: Sequence[NDArray[Any]], engine: str | None, batched: int = 1, **attrs: Any
) -> NDArray[Any]:
    """The first output of one operator.

    Args:
        arrays: its inputs, already arrays of their final types.
        engine: "cpu", "reference", or None for the default; float64 arrays are computed by the reference.
        batched: how many of the inputs, counted from the first, have the images on their first axis; programs
            are reused for any number of images.
        attrs: the operator's attributes; hashable.
    Raises: ShapeError if the shapes do not fit, UnknownNameError for an unknown engine.
    """
    chosen = resolve_engine(engine)
    specs = tuple(Spec(a.shape, a.dtype.name) for a in arrays)
    if chosen == "reference":
        OPERATORS[operator].shape(*specs, **attrs)
        result = OPERATORS[operator].run(*arrays, **attrs)
        return np.asarray(result[0] if isinstance(result, tuple) else result)
    open_specs = tuple(_any_batch(s) if i < batched else s for i, s in enumerate(specs))
    # NOTE: what the engine compiles for is decided when a program is prepared, so it belongs to the key.
    target = os.environ.get("KERNELEARN_CPU_TARGET")
    executable = _executable(operator, open_specs, tuple(sorted(attrs.items())), chosen, target)
    return np.asarray(executable.run({f"x{i}": a for i, a in enumerate(arrays)})["y"])


def _any_batch(spec: Spec) -> Spec:
    return Spec((None, *spec.shape[1:]), spec.dtype) if spec.shape else spec


@lru_cache(maxsize=CACHED_PROGRAMS)
def _executable(
    operator: str,
    specs: tuple[Spec, ...],
    attrs: tuple[tuple[str, Any], ...],
    engine: str,
    target: str | None,
) -> Any:
    """A program of one operation, ready to run."""
    graph = ProgramBuilder(dtype=specs[0].dtype)
    inputs = [graph.input(f"x{i}", spec.shape, spec.dtype) for i, spec in enumerate(specs)]
    result = graph.add(operator, *inputs, **dict(attrs))
    output = result[0] if isinstance(result, tuple) else result
    graph.outputs = {"y": output.name}
    return prepare(graph.build(), {}, engine)


def float_arrays(*values: ArrayLike) -> list[NDArray[Any]]:
    """Arrays of one float type: float64 if any is, else float32; integers become the process's float type.

    Raises: ArgumentError for complex numbers, text and objects.
    """
    arrays = [np.asarray(v) for v in values]
    for array in arrays:
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"Expected arrays of real numbers, got dtype {array.dtype}.")
    kinds = [a.dtype for a in arrays if a.dtype.kind == "f"]
    narrow = not kinds and config.floatx() == "float32"
    dtype = np.float32 if narrow or (kinds and max(k.itemsize for k in kinds) <= 4) else np.float64
    return [np.asarray(a, dtype) for a in arrays]


def check_axes(array: NDArray[Any], axes: int, name: str, what: str) -> None:
    """Raise ShapeError unless an array has this many axes."""
    if array.ndim != axes:
        raise ShapeError(f"{name} must have {axes} axes, {what}; got shape {array.shape}.")
