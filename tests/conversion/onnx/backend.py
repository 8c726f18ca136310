"""Cases of `onnx.backend.test` run through the reader: passed, refused by name, or failed."""

import numpy as np
from onnx import numpy_helper

from kernelearn.conversion.onnx import from_onnx
from kernelearn.errors import FormatError

# Inputs of these operators beyond the first are values, not weights, where they have the first one's images.
JOINING = {
    "Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "Mean", "Concat", "Where", "Equal", "Less",
    "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor", "MatMul", "PRelu", "Mod",
}  # fmt: skip


def constants_of(model, arrays):
    """The inputs of the graph that are weights or settings: what has not the images of the first one."""
    names = [info.name for info in model.graph.input]
    first = arrays[0]
    is_joining = {node.op_type for node in model.graph.node} & JOINING
    fixed = {}
    for name, array in zip(names[1:], arrays[1:]):
        is_value = (
            is_joining and np.ndim(array) == np.ndim(first) and np.shape(array)[:1] == np.shape(first)[:1]
        )
        if not is_value:
            fixed[name] = array
    return fixed


def run(model, arrays, is_single=True):
    """The outputs of a model for the arrays of its inputs, in the order of axes of the file."""
    fixed = constants_of(model, arrays) if is_single else {}
    made = from_onnx(model, constants=fixed)
    return predicted(made, dict(zip([info.name for info in model.graph.input], arrays)))


def predicted(made, arrays):
    """The outputs of a model that was read, in the order of axes of its file."""
    told = made.metadata["onnx"]
    given = []
    for name, order in told["inputs"].items():
        array = np.asarray(arrays[name])
        given.append(array.transpose([order.index(axis) for axis in range(array.ndim)]))
    outputs = made.predict(given if len(given) > 1 else given[0], verbose=0, batch_size=10_000)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return [y.transpose(order) for y, order in zip(outputs, told["outputs"].values())]


def outcome(case):
    """("passed" | "refused" | "failed", why) of one case."""
    model = case.model
    if model is None:
        return "refused", "no model"
    for inputs, outputs in case.data_sets or ():
        try:
            arrays = [_array(x) for x in inputs]
            expected = [_array(y) for y in outputs]
        except (TypeError, ValueError, AttributeError) as error:
            return "refused", f"not a tensor: {error}"
        if not arrays:
            return "refused", "no inputs"
        try:
            found = run(model, arrays)
        except FormatError as error:
            return "refused", str(error)
        except Exception as error:  # whatever else happens is a fault
            return "failed", f"{type(error).__name__}: {error}"
        why = _difference(found, expected, case)
        if why:
            return "failed", why
    return "passed", ""


def _array(value):
    return value if isinstance(value, np.ndarray | np.generic) else numpy_helper.to_array(value)


def _difference(found, expected, case):
    for number, (ours, theirs) in enumerate(zip(found, expected)):
        theirs = np.asarray(theirs)
        if ours.shape != theirs.shape:
            return f"output {number}: shape {ours.shape} for {theirs.shape}"
        rtol, atol = max(case.rtol, 1e-3 if theirs.dtype.kind == "f" else 0), max(case.atol, 1e-6)
        if not np.allclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True):
            return f"output {number} differs by {np.max(np.abs(ours.astype(float) - theirs.astype(float)))}"
    return ""
