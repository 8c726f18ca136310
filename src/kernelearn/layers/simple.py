"""Small layers: one that does nothing, one that penalises what it passes on, one that repeats it."""

from __future__ import annotations

from typing import Any, Unpack

from kernelearn import ops
from kernelearn.layers.core.arguments import Shape, check_positive, check_rank
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.regularizers import L1L2


@LAYERS.register()
class Identity(Layer):
    """What comes in goes out: a place to hold in a model."""

    supports_masking = True

    def call(self, x: Any) -> Any:
        return x


@LAYERS.register()
class ActivityRegularization(Layer):
    """What comes in goes out, and costs: l1 |x| + l2 x^2, summed and divided by the number of images.

    Args:
        l1, l2: the factors of the penalties, at least 0.
    """

    supports_masking = True
    fixed = frozenset({"activity_regularizer"})
    outside_config = Layer.outside_config | fixed
    l1: float
    l2: float

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(activity_regularizer=L1L2(l1, l2), **options)
        self.keep(locals())

    def call(self, x: Any) -> Any:
        return x


@LAYERS.register()
class RepeatVector(Layer):
    """(n, features) becomes (n, times, features), the same at every time.

    Args:
        n: how often.

    >>> RepeatVector(3).compute_output_shape((None, 5))
    (None, 3, 5)
    """

    n: int

    def __init__(self, n: int, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.n = check_positive(n, "n")

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            check_rank(input_shape, 2, "RepeatVector")

    def call(self, x: Any) -> Any:
        return ops.repeat(ops.expand_dims(x, 1), self.n, axis=1)
