"""Types of numbers in ONNX files, by their numbers there."""

from __future__ import annotations

from kernelearn.errors import ArgumentError

# Under which a file of ours says how its inputs and outputs are laid out.
LAYOUT_KEY = "kernelearn.input_layout"
PRODUCER = "kernelearn"

# TensorProto.DataType -> name of the NumPy type.
TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
NUMBERS = {name: number for number, name in TYPES.items()}


def element_type(dtype: str) -> int:
    """The number of a NumPy type.

    Raises: ArgumentError for a type that is not written.
    """
    if dtype not in NUMBERS:
        raise ArgumentError(f"ONNX files are written with {', '.join(NUMBERS)}; got {dtype!r}.")
    return NUMBERS[dtype]
