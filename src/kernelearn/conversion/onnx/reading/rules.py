"""The table: ONNX operator -> the rule that reads it."""

from __future__ import annotations

from kernelearn.conversion.onnx.reading import (
    activations,
    choosing,
    convolutions,
    entrywise,
    moving,
    normalizing,
    pools,
    products,
    reducing,
    resizing,
)
from kernelearn.conversion.onnx.reading.reader import Rule

RULES: dict[str, Rule] = {
    **activations.RULES,
    **entrywise.RULES,
    **convolutions.RULES,
    **pools.RULES,
    **products.RULES,
    **normalizing.RULES,
    **moving.RULES,
    **choosing.RULES,
    **reducing.RULES,
    **resizing.RULES,
}
