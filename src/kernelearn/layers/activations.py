"""Activation functions, as strings in other layers' `activation=` and as layers of their own."""

from __future__ import annotations

import math
from typing import Any, Unpack

from kernelearn.constraints import ConstraintLike
from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.core.arguments import (
    ALONG_AXIS,
    ActivationLike,
    Ints,
    Shape,
    check_axis,
    kept_activation,
    known_sizes,
    known_sizes_at,
    whole_numbers,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.ops.products.attention import MASKED
from kernelearn.regularizers import RegularizerLike
from kernelearn.tracing import Traced, function, lifted, tracing


def lower_activation(graph: ProgramBuilder, x: Buffer, activation: ActivationLike, **attrs: Any) -> Buffer:
    """Add an activation to the program; "linear" (or None) adds nothing, a function is traced."""
    name = kept_activation(activation)
    if not isinstance(name, str):
        with tracing(graph):
            return lifted(graph, name(Traced(graph, x))).buffer
    if name == "linear":
        return x
    if name in ALONG_AXIS:
        return graph.add(name, x, **attrs)
    return graph.add("activation", x, kind=name, **attrs)


def is_constant_softmax(layer: Layer, output_shape: Shape) -> bool:
    """Whether a layer ends in a softmax over a single number, which is 1 whatever goes in."""
    if isinstance(layer, Softmax):
        sizes = [output_shape[axis] for axis in layer.axes(len(output_shape))]
        return all(size == 1 for size in sizes)
    activation = getattr(layer, "activation", None)
    return isinstance(activation, str) and activation in ALONG_AXIS and output_shape[-1] == 1


@LAYERS.register()
class Activation(Layer):
    """An activation function by name, or one of one's own.

    Args:
        activation: for example "relu", "gelu", "softmax", or a function of `kernelearn.ops`.
    """

    supports_masking = True

    activation: Any

    def __init__(self, activation: ActivationLike, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return lower_activation(graph, x, self.activation)


class _ParametrisedActivation(Layer):
    """An activation whose arguments are attributes of the same name."""

    supports_masking = True

    kind = ""
    arguments: tuple[str, ...] = ()
    max_value: float | None
    negative_slope: float
    threshold: float
    alpha: float

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return lower_activation(graph, x, self.kind, **{name: getattr(self, name) for name in self.arguments})


@LAYERS.register()
class ReLU(_ParametrisedActivation):
    """max(x, 0), optionally with a slope below `threshold` and a largest value."""

    kind = "relu"
    arguments = ("max_value", "negative_slope", "threshold")

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        if negative_slope < 0 or threshold < 0 or (max_value is not None and max_value < 0):
            raise ArgumentError(
                "ReLU takes max_value, negative_slope and threshold of at least 0; "
                f"got {max_value}, {negative_slope}, {threshold}."
            )


@LAYERS.register()
class LeakyReLU(_ParametrisedActivation):
    """x where positive, negative_slope * x elsewhere."""

    kind = "leaky_relu"
    arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        if negative_slope < 0:
            raise ArgumentError(f"negative_slope must be at least 0, got {negative_slope!r}.")


@LAYERS.register()
class ELU(_ParametrisedActivation):
    """x where positive, alpha * (exp(x) - 1) elsewhere."""

    kind = "elu"
    arguments = ("alpha",)

    def __init__(self, alpha: float = 1.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())


@LAYERS.register()
class Softmax(Layer):
    """exp(x) / sum exp(x) along an axis, or over several axes together.

    Args:
        axis: an axis, or a list of them; the batch is none of them.

    >>> import numpy as np
    >>> from kernelearn.layers import Softmax
    >>> Softmax()(np.zeros((1, 4)), mask=np.array([[True, True, False, False]]))
    array([[0.5, 0.5, 0. , 0. ]], dtype=float32)
    """

    supports_masking = True

    def __call__(self, *args: Any, training: bool | None = None, mask: Any = None, **keywords: Any) -> Any:
        """Apply; see `Layer`. mask: True where an entry counts, broadcast to the input; others get none."""
        if mask is not None and args:
            args = (function("where")(mask, args[0], MASKED), *args[1:])
        return super().__call__(*args, training=training, **keywords)

    def __init__(self, axis: Ints = -1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        chosen = whole_numbers(axis, "axis")
        self.axis: int | tuple[int, ...] = chosen if isinstance(axis, list | tuple) else chosen[0]

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes of inputs with so many axes, counted from the front, in order."""
        chosen = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted({check_axis(axis, (None,) * rank, "Softmax") for axis in chosen}))

    def build(self, input_shape: Shape) -> None:
        axes = self.axes(len(input_shape))
        if isinstance(self.axis, tuple) and (not axes or len(axes) != len(self.axis) or 0 in axes):
            raise ShapeError(
                f"Softmax takes different axes of its input other than the batch; got axis={self.axis} for "
                f"inputs of shape {tuple(input_shape)}."
            )

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if isinstance(self.axis, int):
            return lower_activation(graph, x, "softmax", axis=self.axis)
        axes = self.axes(len(x.shape))
        return (
            _softmax_over(graph, x, axes)
            if len(axes) > 1
            else lower_activation(graph, x, "softmax", axis=axes[0])
        )


def _softmax_over(graph: ProgramBuilder, x: Buffer, axes: tuple[int, ...]) -> Buffer:
    """Several axes brought to the end, made one for the softmax, and put back."""
    order = (*(a for a in range(len(x.shape)) if a not in axes), *axes)
    moved = graph.add("transpose", x, axes=order)
    sizes = known_sizes(moved)
    rest, joined = sizes[: -len(axes)], math.prod(sizes[-len(axes) :])
    flat = graph.add("reshape", moved, shape=(None, *rest, joined))
    y = graph.add("reshape", lower_activation(graph, flat, "softmax"), shape=(None, *sizes))
    return graph.add("transpose", y, axes=inverse_order(order))


@LAYERS.register()
class PReLU(Layer):
    """x where positive, alpha * x elsewhere, alpha learned for every position and channel.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: as everywhere.
        shared_axes: axes (from 1) along which alpha is shared, (1, 2) for one alpha per channel of an image.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: InitializerLike = "zeros",
        alpha_regularizer: RegularizerLike = None,
        alpha_constraint: ConstraintLike = None,
        shared_axes: Ints | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.shared_axes = () if shared_axes is None else whole_numbers(shared_axes, "shared_axes")

    def build(self, input_shape: Shape) -> None:
        if not all(1 <= axis < len(input_shape) for axis in self.shared_axes):
            raise ShapeError(
                f"shared_axes of PReLU must be from 1 to {len(input_shape) - 1} for inputs of shape "
                f"{tuple(input_shape)}; got {self.shared_axes}."
            )
        own = [axis for axis in range(1, len(input_shape)) if axis not in self.shared_axes]
        sizes = dict(zip(own, known_sizes_at(input_shape, own, "PReLU")))
        shape = tuple(sizes.get(axis, 1) for axis in range(1, len(input_shape)))
        self.alpha = self.add_weight("alpha", shape, **self.rules("alpha"))

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("prelu", x, self.use(graph, self.alpha))
