"""Activation functions, as strings in other layers' `activation=` and as layers of their own."""

from __future__ import annotations

from typing import Any

from kernelearn import constraints, initializers, regularizers
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.layers.arguments import check_axis, check_known, weight_config
from kernelearn.layers.base import LAYERS, Layer

# Functions along an axis; all other activations act entry by entry and stand in the engine's table.
ALONG_AXIS = ("softmax", "log_softmax")
ALIASES = {"swish": "silu", "hard_swish": "hard_silu", None: "linear"}


def activation_name(identifier: Any) -> str:
    """The canonical name of an activation given as a string, as None, or as a layer such as `ReLU()`.

    Raises: UnknownNameError listing the known names.
    """
    name = (
        ALIASES.get(identifier, identifier)
        if isinstance(identifier, str) or identifier is None
        else identifier
    )
    if not isinstance(name, str):
        raise ArgumentError(
            f"activation must be a name such as 'relu', got {identifier!r}. For one with arguments, such as "
            "LeakyReLU(0.2), leave activation=None and add it as the next layer."
        )
    if name not in ACTIVATIONS and name not in ALONG_AXIS:
        raise unknown_name("activation", identifier, [*ACTIVATIONS, *ALONG_AXIS, "swish", "hard_swish"])
    return name


def lower_activation(graph: ProgramBuilder, x: Buffer, name: str, **attrs: Any) -> Buffer:
    """Add an activation to the program; "linear" adds nothing."""
    if name == "linear":
        return x
    if name in ALONG_AXIS:
        return graph.add(name, x, axis=attrs.get("axis", -1))
    return graph.add("activation", x, kind=name, **attrs)


@LAYERS.register()
class Activation(Layer):
    """An activation function by name.

    Args:
        activation: for example "relu", "gelu", "softmax".
    """

    def __init__(self, activation: str, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activation_name(activation)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return lower_activation(graph, x, self.activation)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}


class _ParametrisedActivation(Layer):
    """An activation whose arguments are attributes of the same name."""

    kind = ""
    arguments: tuple[str, ...] = ()

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return lower_activation(graph, x, self.kind, **{name: getattr(self, name) for name in self.arguments})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.arguments}}


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
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if negative_slope < 0 or threshold < 0 or (max_value is not None and max_value < 0):
            raise ArgumentError(
                "ReLU takes max_value, negative_slope and threshold of at least 0; "
                f"got {max_value}, {negative_slope}, {threshold}."
            )
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold


@LAYERS.register()
class LeakyReLU(_ParametrisedActivation):
    """x where positive, negative_slope * x elsewhere."""

    kind = "leaky_relu"
    arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = negative_slope


@LAYERS.register()
class ELU(_ParametrisedActivation):
    """x where positive, alpha * (exp(x) - 1) elsewhere."""

    kind = "elu"
    arguments = ("alpha",)

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha


@LAYERS.register()
class Softmax(_ParametrisedActivation):
    """exp(x) / sum exp(x) along an axis."""

    kind = "softmax"
    arguments = ("axis",)

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = int(axis)

    def build(self, input_shape) -> None:
        check_axis(self.axis, input_shape, "Softmax")


@LAYERS.register()
class PReLU(Layer):
    """x where positive, alpha * x elsewhere, alpha learned for every position and channel.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: as everywhere.
        shared_axes: axes (from 1) along which alpha is shared, (1, 2) for one alpha per channel of an image.
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: tuple[int, ...] | list[int] | int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = (shared_axes,) if isinstance(shared_axes, int) else tuple(shared_axes or ())

    def build(self, input_shape) -> None:
        check_known(input_shape, "PReLU")
        shape = tuple(
            1 if axis in self.shared_axes else size for axis, size in enumerate(input_shape) if axis
        )
        self.alpha = self.add_weight(
            "alpha", shape, self.alpha_initializer, True, self.alpha_regularizer, self.alpha_constraint
        )

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("prelu", x, self.use(graph, self.alpha))

    def get_config(self) -> dict[str, Any]:
        rules = weight_config(self, "alpha_initializer", "alpha_regularizer", "alpha_constraint")
        return {**super().get_config(), **rules, "shared_axes": list(self.shared_axes)}
