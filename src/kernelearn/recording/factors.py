"""The two factors of a gradient, as one training step had them: what went into a layer, and what came back.

Every term of a kernel's gradient is one number of the input times one number of the output's gradient. The
factors are stored, the terms are computed when they are asked for (`kernelearn.explain.ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS

KINDS = ("conv", "conv_transpose", "dense")


@dataclass(frozen=True)
class Part:
    """One use of a weight in a step; a layer that is called several times has one for each call.

    Attributes:
        kind: operator that used it: "conv", "conv_transpose" or "dense".
        x: (n, *spatial, c) input of the operator, channels last.
        delta: (n, *outputs, f) dL/d(output of the operator), in loss per unit of output.
        attrs: attributes of the operator: stride, padding, dilation, groups (and output_size of a transposed
            convolution), precision; those left out have their defaults.
        gradient: dL/d(kernel) through this use alone, as the engine computed it, in the operator's kernel
            shape; None where nothing else reached the weight, so that it is the whole gradient.
    """

    kind: str
    x: np.ndarray
    delta: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)
    gradient: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", OPERATORS[self.kind].whole(self.attrs))


@dataclass(frozen=True)
class StageRecord:
    """What a step had at one place behind the sum of a kernel, see `stages`.

    Attributes:
        name: "z", "norm", "a" or "pool"; operator, layer, attrs: what leads there.
        value: (n, ...) the numbers behind a normalisation, as the step had them; None elsewhere: they follow
            from those before.
        winner: (n, *windows, f) which cell of its window each maximum is, row-major; -1 for none; or None.
        delta: (n, ...) dL/d(numbers there) at the last place, what comes from above; None at the others,
            whose errors follow from it, and if no error was computed there.
    """

    name: str
    operator: str
    layer: str
    attrs: Mapping[str, Any]
    value: np.ndarray | None = None
    winner: np.ndarray | None = None
    delta: np.ndarray | None = None


@dataclass(frozen=True)
class Factors:
    """What the gradient of one weight was made of at one step.

    Attributes:
        kind, x, delta, attrs: those of the first use, see `Part`; for most weights the only one.
        gradient: dL/d(weight) in the weight's shape, as the engine computed it, before clipping; penalties on
            the weight included.
        bias_gradient: (f,) dL/d(bias) of the same layer, or None.
        images: (n,) int64, which image stood in each row; see `Run.batch`.
        labels: (n,) int64 class of each image, or None.
        layer, weight, step: where it is from; step k explains the change from k-1 to k.
        parts: every use of the weight; one unless the layer is shared.
        kernel_shape: shape of the kernel as the operator took it. It differs from the weight's only for
            depthwise kernels, (*size, c, m), which run as grouped ones, (*size, 1, c * m): same order of
            the numbers.

    >>> x, delta = np.ones((2, 3)), np.ones((2, 4))
    >>> factors = Factors("dense", x, delta, gradient=x.T @ delta)
    >>> len(factors.parts), factors.kernel_shape
    (1, (3, 4))
    """

    kind: str
    x: np.ndarray
    delta: np.ndarray
    gradient: np.ndarray
    bias_gradient: np.ndarray | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    layer: str = ""
    weight: str = "kernel"
    step: int = 0
    parts: tuple[Part, ...] = ()
    kernel_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", (Part(self.kind, self.x, self.delta, dict(self.attrs)),))
        if not self.kernel_shape:
            object.__setattr__(self, "kernel_shape", tuple(self.gradient.shape))
        if self.images is None:
            object.__setattr__(self, "images", np.arange(len(self.x)))

    @property
    def from_data(self) -> np.ndarray:
        """The engine's gradient through the data alone, in the weight's shape: without penalties on it."""
        own = [part.gradient for part in self.parts]
        if any(gradient is None for gradient in own):
            return self.gradient
        return np.asarray(np.sum([np.reshape(g, self.gradient.shape) for g in own if g is not None], axis=0))
