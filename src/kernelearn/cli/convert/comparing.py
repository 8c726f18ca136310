"""Predictions compared: how far two computations of one network lie apart, and what rounding explains.

bound = 8 |y32 - y64| + 64 u max |y64|, each the largest over all images

y32 is our prediction and y64 the same operations in float64: their difference is what rounding does to this
network. Another program rounds as much, in another order. u = 2^-24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.training.steps.step import input_name, prediction_name

_UNIT_ROUNDOFF = 2.0**-24
_TIMES, _FLOOR = 8, 64


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        what: whose predictions ours were compared with.
        images: how many.
        difference: largest over all images and outputs; infinite where shapes differ or a NaN came.
        bound: what rounding explains.
    """

    what: str
    images: int
    difference: float
    bound: float

    @property
    def is_within(self) -> bool:
        """Whether rounding explains the difference."""
        return self.difference <= self.bound

    def in_words(self) -> str:
        """One line."""
        verdict = "within" if self.is_within else "OUTSIDE of"
        return (
            f"{self.what}: largest difference {self.difference:.3g} on {self.images} images, {verdict} the "
            f"rounding bound {self.bound:.3g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "is_within": self.is_within}


def compare(
    what: str, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], exact: Sequence[np.ndarray]
) -> Comparison:
    """Compare outputs, one array each; `exact` are ours in float64."""
    pairs = list(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else []
    differences = [_difference(a, b) for a, b in pairs] or [np.inf]
    bounds = [
        _TIMES * _difference(a, b) + _FLOOR * _UNIT_ROUNDOFF * float(np.abs(b).max(initial=0.0))
        for a, b in zip(ours, exact)
    ]
    return Comparison(what, len(ours[0]), max(differences), max(bounds))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return float("inf")
    found = float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0.0))
    return found if np.isfinite(found) else float("inf")


def outputs_of(model: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The predictions of a model as a list of arrays."""
    given = model.predict(list(inputs) if len(inputs) > 1 else inputs[0], verbose=0)
    parts = list(given.values()) if isinstance(given, dict) else given
    return [np.asarray(p) for p in parts] if isinstance(parts, list | tuple) else [np.asarray(parts)]


def exact_outputs(model: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same predictions by the reference functions in float64."""
    is_any = any(None in tensor.shape[1:] for tensor in model.inputs)
    step = model.step("predict", [array.shape[1:] for array in inputs] if is_any else None)
    values = {name: _wide(variable.numpy()) for name, variable in step.variables.items()}
    values.update((input_name(i), _wide(np.asarray(array))) for i, array in enumerate(inputs))
    values.update(
        (b.name, np.zeros((), np.int64)) for b in step.program.inputs() if b.name not in values
    )  # a clock
    for op in step.program.operations:
        results = OPERATORS[op.operator].function(*(values[name] for name in op.inputs), **op.attrs)
        values.update(zip(op.outputs, results if isinstance(results, tuple) else (results,)))
    labels = [prediction_name(i) for i in range(len(model.outputs))]
    return [values[step.program.outputs[label]] for label in labels]


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
