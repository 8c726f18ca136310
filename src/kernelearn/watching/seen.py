"""What is seen of one step of a training elsewhere, in this library's layouts: plain arrays and names.

Images are channels last, kernels (*size, channels / groups, filters), dense weights (inputs, outputs). A path
is `layer/weight` as in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SeenPart:
    """One use of a kernel in a step.

    Attributes:
        kind: "conv", "conv_transpose" or "dense".
        attrs: of the operator, as JSON values.
        x, delta: (n, ...) its input, and the gradient of its output.
        gradient: dL/d(kernel) through these images alone, where more than they reached the gradient; or None.
    """

    kind: str
    attrs: Mapping[str, Any]
    x: Array
    delta: Array
    gradient: Array | None = None


@dataclass(frozen=True)
class SeenUse:
    """All uses of a kernel in a step; a shared one has several parts."""

    kernel_shape: tuple[int, ...]
    bias: str | None
    parts: tuple[SeenPart, ...]


@dataclass(frozen=True)
class SeenRule:
    """How a weight is updated: kind and attributes for `explain.update`, and the optimiser's arrays.

    Attributes:
        slots: name -> how to read it.
        shapes: name -> shape, of slots whose shape is not the weight's.
        constraint, overwriting: what follows the update, as in the manifest of a run.
    """

    kind: str
    attrs: Mapping[str, Any]
    slots: Mapping[str, Callable[[], Array]] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constraint: Mapping[str, Any] | None = None
    overwriting: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SeenWeight:
    """A weight, or a statistic, of the model.

    Attributes:
        shape: here.
        read: gives its value of now; a view is enough.
    """

    shape: tuple[int, ...]
    read: Callable[[], Array]


@dataclass(frozen=True)
class SeenModel:
    """What is known of the model before a step.

    Attributes:
        weights: path -> weight, in the order of the model.
        rules: path of a trained weight -> its update.
        optimizer: as in `Run.optimizer`.
        changing: paths of all weights that training changes, statistics included.
        offset: number of the step minus the optimiser's own count.
        has_numbers: whether images are known by their numbers in the data.
    """

    weights: Mapping[str, SeenWeight]
    rules: Mapping[str, SeenRule]
    optimizer: Mapping[str, Any]
    changing: Sequence[str] = ()
    offset: int = 0
    has_numbers: bool = False


@dataclass
class SeenStep:
    """What came of a step besides weights and optimiser.

    Attributes:
        rows: images in the batch.
        loss, learning_rate, epoch: numbers; NaN and 0 where they are not known.
        images, labels: (rows,) int64; labels None where there are none.
        gradients: path -> gradient as it reached the optimiser (before its own clipping), of recorded steps;
            "global_norm" -> their norm, where it clips by that.
        uses: path of a kernel -> its uses, of ledger steps.
    """

    rows: int
    learning_rate: float
    loss: float = float("nan")
    epoch: int = 0
    images: Array | None = None
    labels: Array | None = None
    gradients: Mapping[str, Array] = field(default_factory=dict)
    uses: Mapping[str, SeenUse] = field(default_factory=dict)
