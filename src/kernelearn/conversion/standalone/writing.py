"""A prediction program as the text of `predict.py`: one line of Python for each operation.

The operators are the reference functions (`sources`), reading and the command line come from `runtime`. What
has no formula in NumPy is refused by name before anything is written.
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn import __version__
from kernelearn.conversion.standalone import runtime
from kernelearn.conversion.standalone.sources import Collected
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.errors import ArgumentError

_LINE = 110
_INDENT = "    "
_OWN_NAMES = {
    "np",
    "w",
    "predict",
    "forward",
    "WEIGHTS",
    "INPUTS",
    "CLASS_NAMES",
    "OUTPUT_KEYS",
    "Path",
}


@dataclass(frozen=True)
class Described:
    """What a predictor says about itself.

    Attributes:
        name: of the network.
        inputs: (name, shape without the number of images, dtype) of each.
        outputs: labels of the program, in order; `keys` their names where the model has a dict of them.
        class_names: of the classes, or None.
    """

    name: str
    inputs: list[tuple[str, tuple[int | None, ...], str]]
    outputs: list[str]
    keys: list[str] | None = None
    class_names: list[str] | None = None


def check_exportable(program: Program) -> None:
    """Look whether every operation has a formula that needs NumPy alone.

    Raises: ArgumentError that names each operator that has none, with its layer and the reason.
    """
    problems: dict[str, None] = {}
    for op in program.operations:
        reason = _why_not(op)
        if reason is not None:
            where = f" of layer {op.layer!r}" if op.layer else ""
            problems[f"{op.operator}{where} ({reason})"] = None
    if problems:
        raise ArgumentError(
            f"This network cannot be exported as NumPy code: {'; '.join(problems)}. Nothing was written."
        )


def _why_not(op: Operation) -> str | None:
    if {"seed", "step"} & set(op.inputs):
        return "it draws random numbers in predictions too"
    if op.operator == "fix_images":
        return "its code is made for one number of images"
    try:
        for value in op.attrs.values():
            literal(value)
        Collected().add(_function(op)[0])
    except ArgumentError as error:
        return f"it is code of your own or has no text: {error}"
    return None


def _function(op: Operation) -> tuple[Any, Mapping[str, Any]]:
    """The reference function of an operation and what it takes; of activations the one that is meant."""
    if op.operator != "activation":
        return OPERATORS[op.operator].function, op.attrs
    kind = op.attrs["kind"]
    return ACTIVATIONS[kind].function, {key: value for key, value in op.attrs.items() if key != "kind"}


def literal(value: Any) -> str:
    """A value of an attribute as Python text.

    Raises: ArgumentError for anything but numbers, text, None and tuples of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        parts = [literal(part) for part in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    raise ArgumentError(f"an attribute is {type(value).__name__}, which is no number")


class Writer:
    """Collects the text of one predictor."""

    def __init__(self, program: Program, about: Described) -> None:
        self.program, self.about = program, about
        self.collected = Collected(reserved=set(_OWN_NAMES))
        self._last = program.last_uses()
        self._read = {n for op in program.operations for n in op.inputs} | set(program.outputs.values())
        self._variables: dict[str, str] = {}

    def text(self) -> str:
        """The whole file."""
        forward = list(self._forward())
        main = self.collected.add(runtime.main)
        self.collected.imports |= {"import sys", "import numpy as np", "from pathlib import Path"}
        operators = "\n\n\n".join(text.strip("\n") for text in self.collected.texts)
        imports = "\n".join(sorted(self.collected.imports, key=lambda line: (line.startswith("from"), line)))
        parts = [
            f"{self._head()}\n{imports}",
            self._constants(),
            f"# --- operators and tools\n\n\n{operators}",
            "# --- the network\n\n\n" + "\n".join(forward),
            _PREDICT,
            _MAIN.replace("MAIN", main),
        ]
        return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"

    def _head(self) -> str:
        shapes = ", ".join(f"{name} {_shape_text(shape)}" for name, shape, _ in self.about.inputs)
        lines = [
            f"Predicts with the network {self.about.name}; needs Python and NumPy.",
            "",
            "    python predict.py image.png           names what is in a picture",
            "    python predict.py images.npy --json   answers for an array of inputs",
            "    from predict import predict           y = predict(x)",
            "",
            f"Takes {shapes}. Pictures are scaled to [0, 1].",
            f"The numbers are in weights.npz. Written by kernelearn {__version__}.",
        ]
        # NOTE: names are a user's own text: none of it may end the docstring or begin code.
        safe = "\n".join(_plain(line) for line in lines)
        return f'"""{safe}\n"""\n'

    def _constants(self) -> str:
        lines = [
            "# (name, shape without the number of images, type) of each input",
            f"INPUTS = {_listed([(n, tuple(s), d) for n, s, d in self.about.inputs])}",
            f"OUTPUT_KEYS = {self.about.keys!a}",
            f"CLASS_NAMES = {_listed(self.about.class_names)}",
            'WEIGHTS = dict(np.load(Path(__file__).with_name("weights.npz"), allow_pickle=False))',
        ]
        return "\n".join(lines)

    def _forward(self) -> Iterator[str]:
        """The function that does the operations, layer after layer."""
        names = [self._new(f"x_{i}" if i else "x") for i in range(len(self.about.inputs))]
        inputs = [b.name for b in self.program.inputs()]
        order = {f"x_{i}": name for i, name in enumerate(names)}
        self._variables.update({name: order[name] for name in inputs})
        yield f"def forward({', '.join(names)}):"
        yield f'{_INDENT}"""The outputs for a batch, as a tuple."""'
        yield f"{_INDENT}w = WEIGHTS"
        layer = None
        for number, op in enumerate(self.program.operations):
            if op.layer != layer:
                layer = op.layer
                yield f"{_INDENT}# {_plain(layer) or 'no layer'}"
            yield from self._line(number, op)
        results = ", ".join(self._value(self.program.outputs[label]) for label in self.about.outputs)
        yield f"{_INDENT}return ({results},)"

    def _line(self, number: int, op: Operation) -> Iterator[str]:
        """One operation; over several lines where it is long."""
        function, attrs = _function(op)
        name = self.collected.add(function)
        given = [self._value(n) for n in op.inputs]
        given += [f"{key}={literal(value)}" for key, value in attrs.items()]
        # A value that is read here for the last time gives its name to the result.
        for old in op.inputs:
            if self._last.get(old) == number:
                self._variables.pop(old, None)
        target = ", ".join(self._new(_stem(op), n) if n in self._read else "_" for n in op.outputs)
        line = f"{_INDENT}{target} = {name}({', '.join(given)})"
        if len(line) <= _LINE:
            yield line
            return
        yield f"{_INDENT}{target} = {name}("
        yield from (f"{_INDENT * 2}{part}," for part in given)
        yield f"{_INDENT})"

    def _value(self, name: str) -> str:
        if name in self._variables:
            return self._variables[name]
        return f"w[{name!a}]"

    def _new(self, stem: str, name: str | None = None) -> str:
        """A variable of a name that nothing else has; it stands for a buffer from now on."""
        taken = {*self._variables.values(), *self.collected.names, *_OWN_NAMES}
        number, chosen = 2, stem
        while chosen in taken or keyword.iskeyword(chosen) or hasattr(builtins, chosen):
            chosen, number = f"{stem}_{number}", number + 1
        if name is not None:
            self._variables[name] = chosen
        return chosen


def _stem(op: Operation) -> str:
    """A Python name after the layer, or after the operator where there is none."""
    words = re.sub(r"\W+", "_", op.layer or op.operator, flags=re.ASCII).strip("_").lower()
    return f"y_{words}" if not words or words[0].isdigit() else words


def _plain(text: str) -> str:
    """Text of a user's own, on one line and without what could end a comment or a docstring."""
    kept = "".join(c if c.isprintable() else "?" for c in text)
    return kept.replace("\\", "/").replace('"', "'")


def _listed(values: Any) -> str:
    """A list, over several lines where it is long."""
    if values is None:
        return "None"
    short = ascii(list(values))
    if len(short) < _LINE - 16:
        return short
    return "[\n" + "".join(f"{_INDENT}{value!a},\n" for value in values) + "]"


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "(n, " + ", ".join("any" if size is None else str(size) for size in shape) + ")"


_PREDICT = '''
def predict(x, batch_size=32):
    """The outputs of the network.

    Args:
        x: array of inputs, the number of images first; for several inputs a list, or a dict by name.
        batch_size: images that are computed together.
    Returns: an array; for several outputs a list of them, or a dict.
    """
    parts = [x[name] for name, _, _ in INPUTS] if isinstance(x, dict) else x
    parts = list(parts) if len(INPUTS) > 1 or isinstance(x, dict) else [parts]
    if len(parts) != len(INPUTS):
        raise ValueError(f"The network takes {len(INPUTS)} inputs, got {len(parts)}.")
    arrays = []
    for (name, shape, dtype), part in zip(INPUTS, parts):
        array = np.asarray(part)
        if array.ndim != len(shape) + 1 or any(s not in (None, a) for a, s in zip(array.shape[1:], shape)):
            raise ValueError(f"Input {name!r} must have the shape (n, *{shape}), got {array.shape}.")
        arrays.append(np.ascontiguousarray(array, dtype))
    starts = range(0, max(len(arrays[0]), 1), batch_size)
    batches = [forward(*(array[start : start + batch_size] for array in arrays)) for start in starts]
    outputs = [np.concatenate(results) for results in zip(*batches)]
    if OUTPUT_KEYS is not None:
        return dict(zip(OUTPUT_KEYS, outputs))
    return outputs[0] if len(outputs) == 1 else outputs
'''
_MAIN = """
if __name__ == "__main__":
    sys.exit(MAIN(predict, INPUTS[0][1], CLASS_NAMES))
"""
