"""The upper end of the path of an error: the loss, and what it says of one number of the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation
from kernelearn.explain.passes.replay import Index, Replay

_CROSS_ENTROPIES = ("categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy")


@dataclass(frozen=True)
class LossEnd:
    """What a loss makes of one number.

    Attributes:
        kind: name of the loss; reads: "logits", "probabilities" or "predictions".
        error: dL/d(number), computed in float64; scale: on which the engine rounds it.
        target: what the number should have been: 1 or 0 for a class, else the target.
        probability: of a logit; None for other numbers.
        factor: what the slope of the loss of this image is multiplied by: its weight, by the number of
            images.
    """

    kind: str
    reads: str
    error: float
    scale: float
    target: float
    probability: float | None
    factor: float

    @property
    def formula(self) -> str:
        """The error with its numbers filled in."""
        if self.probability is not None:
            return (
                f"(p - y) x {self.factor:.6g} = ({self.probability:.6g} - {self.target:.6g}) x "
                f"{self.factor:.6g} = {self.error:.6g}"
            )
        slope = f"slope of the {self.kind} at a target of {self.target:.6g}"
        return f"{slope}, x {self.factor:.6g}: {self.error:.6g}"


def loss_end(replay: Replay, op: Operation, row: int, place: Index) -> LossEnd:
    """What a loss makes of the number at a place of an image."""
    prediction = replay.value(op.inputs[0]).astype(np.float64)
    targets, weights = replay.value(op.inputs[1]), replay.value(op.inputs[2]).astype(np.float64)
    # The factor of the whole loss (loss_weights of several outputs) is its own error.
    above = replay.gradient(op.outputs[0])
    outer = 1.0 if above is None else float(above)
    attrs = dict(op.attrs)
    slopes = OPERATORS["loss_grad"].run(np.float64(outer), prediction, targets, weights, **attrs)
    error = float(slopes[(row, *place)])
    from_logits = bool(attrs.get("from_logits")) and attrs["kind"] in _CROSS_ENTROPIES
    target = _target(targets, prediction.shape, row, place, float(attrs.get("label_smoothing") or 0.0), attrs)
    probability = _probability(attrs["kind"], prediction, row, place) if from_logits else None
    reads = "logits" if from_logits else "probabilities" if "crossentropy" in attrs["kind"] else "predictions"
    slope = None if probability is None else probability - target
    factor = error / slope if slope else outer / len(prediction)
    scale = abs(factor) if probability is not None else abs(error)
    return LossEnd(attrs["kind"], reads, error, scale, target, probability, factor)


def _target(
    targets: np.ndarray,
    shape: tuple[int, ...],
    row: int,
    place: Index,
    smoothing: float,
    attrs: dict[str, object],
) -> float:
    """What the number should have been, smoothed as the loss smooths it."""
    if targets.ndim == len(shape):
        found = float(targets[(row, *place)])
    elif targets.dtype.kind in "iu":
        found = float(int(targets[(row, *place[:-1])]) == place[-1])
    else:
        found = float(targets[(row, *place[:-1])])
    if not smoothing:
        return found
    even = 0.5 if attrs["kind"] == "binary_crossentropy" else 1 / shape[-1]
    return found * (1 - smoothing) + smoothing * even


def _probability(kind: str, logits: np.ndarray, row: int, place: Index) -> float:
    if kind == "binary_crossentropy":
        return float(1 / (1 + np.exp(-logits[(row, *place)])))
    scores = logits[(row, *place[:-1])]
    powers = np.exp(scores - scores.max())
    return float(powers[place[-1]] / powers.sum())
