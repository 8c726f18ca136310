"""How an operation reaches an engine: computed on arrays, or added to the program that is being traced."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import config
from kernelearn.engine.backends import prepare, resolve_engine
from kernelearn.engine.dtypes import result_type
from kernelearn.engine.operators import OPERATORS, Spec
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.tracing import Traced, add, fixed, lifted, program_of

CACHED_PROGRAMS = 256

# What a function of `ops` computes with: arrays alone, or traced values alone.
Value = Any


def run(operator: str, inputs: Sequence[Value], engine: str | None, batched: int = 1, **attrs: Any) -> Value:
    """The first output of one operator, computed by an engine where the inputs are arrays.

    Args:
        inputs: arrays of their final types, or traced values.
        engine: "cpu", "reference", or None for the default.
            Without effect on traced values: the engine of their program computes them.
        batched: how many of the inputs, counted from the first, have the images on their first axis; programs
            are reused for any number of images.
        attrs: the operator's attributes; hashable.
    Raises: ShapeError if the shapes do not fit, UnknownNameError for an unknown engine.
    """
    graph = program_of(inputs)
    if graph is not None:
        made = add(graph, operator, *[lifted(graph, x) for x in inputs], **attrs)
        return made[0] if isinstance(made, tuple) else made
    arrays = [np.asarray(x) for x in inputs]
    chosen = resolve_engine(engine)
    if chosen == "reference":
        return _first(emit(operator, *arrays, **attrs))
    specs = tuple(Spec(a.shape, a.dtype.name) for a in arrays)
    open_specs = tuple(_any_batch(s) if i < batched else s for i, s in enumerate(specs))
    # NOTE: what the engine compiles for is decided when a program is prepared, so it belongs to the key.
    target = os.environ.get("KERNELEARN_CPU_TARGET")
    executable = _executable(operator, open_specs, tuple(sorted(attrs.items())), chosen, target)
    return np.asarray(executable.run({f"x{i}": a for i, a in enumerate(arrays)})["y"])


def emit(operator: str, *inputs: Value, **attrs: Any) -> Value:
    """One operator: its reference function on arrays, an operation of the program on traced values.

    Returns: its output, or a tuple of them if it has several.
    Raises: ShapeError if the shapes do not fit.
    """
    graph = program_of(inputs)
    if graph is not None:
        return add(graph, operator, *[lifted(graph, x) for x in inputs], **attrs)
    arrays = [np.asarray(x) for x in inputs]
    OPERATORS[operator].shape(*[Spec(a.shape, a.dtype.name) for a in arrays], **attrs)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        result = OPERATORS[operator].run(*arrays, **attrs)
    return tuple(map(np.asarray, result)) if isinstance(result, tuple) else np.asarray(result)


def _first(result: Value) -> Value:
    return result[0] if isinstance(result, tuple) else result


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


def values(*given: Any) -> list[Value]:
    """Arguments as arrays, or, where one of them is traced, all as traced values; types as they are."""
    graph = program_of(given)
    if graph is None:
        return [np.asarray(v) for v in given]
    return [lifted(graph, v) for v in given]


def floats(*given: Value | Traced) -> list[Value]:
    """Arguments as values of one float type; a Python number takes the type of the others.

    Arrays: float64 if any is, else float32; integers become the process's float type. Traced values: float64
    if one of them is, else the float type of the program, whatever type an array beside them has.

    Raises: ArgumentError for complex numbers, text and objects.
    """
    graph = program_of(given)
    if graph is None:
        return float_arrays(*given)
    kinds = [v.dtype for v in given if isinstance(v, Traced | Variable)]
    dtype = "float64" if "float64" in kinds else graph.dtype
    return [cast_to(lifted(graph, v, _of_constant(v, dtype)), dtype) for v in given]


def _of_constant(value: Any, dtype: str) -> str | None:
    return None if isinstance(value, Traced | Variable) else dtype


def combined(*given: Value | Traced) -> list[Value]:
    """Arguments as values of one type, as `engine.dtypes.result_type` says; Python numbers are weak.

    Beside a traced value a float array takes the float type of the program.

    Raises: ArgumentError for complex numbers, text and objects.
    """
    graph = program_of(given)
    numbers = [v for v in given if isinstance(v, int | float)]
    kinds = [_kind(v, graph.dtype if graph else None) for v in given if not isinstance(v, int | float)]
    dtype = result_type(kinds, numbers, graph.dtype if graph else None)
    if graph is None:
        return [np.asarray(v, dtype) for v in given]
    return [cast_to(lifted(graph, v, _of_constant(v, dtype)), dtype) for v in given]


def _kind(value: Any, floats: str | None) -> str:
    """The type of an argument; of a float array that of the program, if there is one."""
    if isinstance(value, Traced | Variable):
        return str(value.dtype)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"Expected arrays of real numbers, got dtype {array.dtype}.")
    if array.dtype.kind != "f":
        return array.dtype.name
    return floats or ("float32" if array.dtype.itemsize <= 4 else "float64")


def cast_to(value: Value, dtype: str) -> Value:
    """A value in another type; the value itself if it has it."""
    if isinstance(value, Traced):
        return value if value.dtype == dtype else emit("cast", value, dtype=dtype)
    return np.asarray(value, dtype)


def float_arrays(*given: Any) -> list[NDArray[Any]]:
    """Arrays of one float type: float64 if any is, else float32; integers become the process's float type.

    Raises: ArgumentError for complex numbers, text and objects.
    """
    arrays = [np.asarray(v) for v in given]
    for array in arrays:
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"Expected arrays of real numbers, got dtype {array.dtype}.")
    floating = [a.dtype for a in arrays if a.dtype.kind == "f"]
    telling = [a.dtype for a, v in zip(arrays, given) if a.dtype.kind == "f" and not isinstance(v, float)]
    kinds = telling or floating
    narrow = not kinds and config.floatx() == "float32"
    dtype = np.float32 if narrow or (kinds and max(k.itemsize for k in kinds) <= 4) else np.float64
    return [np.asarray(a, dtype) for a in arrays]


def check_axes(value: Value, axes: int, name: str, what: str) -> None:
    """Raise ShapeError unless an array or traced value has this many axes."""
    if value.ndim != axes:
        raise ShapeError(f"{name} must have {axes} axes, {what}; got shape {value.shape}.")


def transposed(value: Value, order: Sequence[int]) -> Value:
    """A value with its axes in another order."""
    axes = tuple(int(axis) for axis in order)
    if axes == tuple(range(len(axes))):
        return value
    if isinstance(value, Traced):
        return emit("transpose", value if axes[0] == 0 else fixed(value), axes=axes)
    return np.ascontiguousarray(np.transpose(value, axes))


def reshaped(value: Value, shape: Sequence[int | None]) -> Value:
    """A value in another shape; None as first size stands for the number of images."""
    if isinstance(value, Traced):
        return emit("reshape", value, shape=tuple(shape))
    return np.reshape(value, [-1 if size is None else size for size in shape])


def moved(value: Value, source: int, to: int) -> Value:
    """A value with one axis at another place."""
    order = [axis for axis in range(value.ndim) if axis != source % value.ndim]
    order.insert(to % value.ndim, source % value.ndim)
    return transposed(value, order)
