"""Layers that are products: a kernel along named axes, and the product of two tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from kernelearn.constraints import ConstraintLike
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.activations import lower_activation
from kernelearn.layers.core.arguments import ActivationLike, Shape
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions, Weight
from kernelearn.ops._run import Value, emit
from kernelearn.ops.entrywise.arithmetic import add
from kernelearn.ops.products.einsum import einsum, parsed, shape_of, shaped
from kernelearn.regularizers import RegularizerLike
from kernelearn.tracing import Traced, function, tracing


@LAYERS.register()
class EinsumDense(Layer):
    """y = activation(einsum(equation, x, kernel) + bias): a dense layer along any axes.

    Args:
        equation: "abc,cd->abd", "...x,xy->...y" or "ab...,bc->ac...": input, kernel -> output.
        output_shape: sizes of the output's axes without the batch and those of "..."; None for those that
            the input has.
        activation: name of an activation applied at the end.
        bias_axes: letters of the output that the bias has; None for no bias.
        kernel_initializer, bias_initializer, *_regularizer, *_constraint: names, config dicts or objects.

    Weights: kernel, with an axis for each of its letters, and bias.

    >>> from kernelearn.layers import EinsumDense
    >>> layer = EinsumDense("abc,cde->abde", (None, 4, 8), bias_axes="de")
    >>> layer.compute_output_shape((None, 10, 16)), [w.shape for w in layer.weights]
    ((None, 10, 4, 8), [(16, 4, 8), (4, 8)])
    """

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Layer.without_effect,
        "lora_rank": (None,),
        "lora_alpha": (None,),
        "gptq_unpacked_column_size": (None,),
        "quantization_config": (None,),
    }
    equation: str
    output_shape: list[int | None]
    activation: str
    bias_axes: str | None
    bias: Weight | None

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: ActivationLike = None,
        bias_axes: str | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.output_shape = [output_shape] if isinstance(output_shape, int) else list(output_shape)
        parts = equation.replace(" ", "").replace("->", ",").split(",")
        if len(parts) != 3 or "->" not in equation or any("..." in p for p in parts[1:2]):
            raise ArgumentError(
                "equation must be input,kernel->output, such as 'abc,cd->abd' or '...x,xy->...y', with a "
                f"letter for every axis of the kernel; got {equation!r}."
            )
        self._input, self._kernel, self._output = parts

    def build(self, input_shape: Shape) -> None:
        sizes = self._sizes(input_shape)
        missing = [letter for letter in self._kernel if sizes.get(letter) is None]
        if missing:
            raise ShapeError(
                f"The kernel {self._kernel!r} of the equation {self.equation!r} needs the size of "
                f"{missing[0]!r}: it must be known in the input, of shape {tuple(input_shape)}, or in "
                f"output_shape, which is {self.output_shape}."
            )
        rules = self.rules("kernel")
        rules["initializer"] = self._spread(rules["initializer"])
        self.kernel = self.add_weight("kernel", [sizes[letter] for letter in self._kernel], **rules)
        self.bias = None
        if self.bias_axes:
            self.bias = self.add_weight("bias", self._bias_shape(sizes), **self.rules("bias"))

    def _sizes(self, input_shape: Shape) -> dict[str, int | None]:
        """Size of every letter of input and output.

        Raises: ShapeError where both have a letter with different sizes.
        """
        (letters,), _ = parsed(f"{self._input}->", [len(input_shape)])
        sizes = dict(zip(letters, input_shape))
        own = self._output.replace("...", "")
        first = 0 if self._output.startswith("...") else 1
        if len(self.output_shape) != len(own) - first:
            raise ShapeError(
                f"output_shape of EinsumDense must have {len(own) - first} sizes for {self._output!r}, those "
                f"without the batch and without '...'; got {self.output_shape}."
            )
        for letter, size in zip(own[first:], self.output_shape):
            if sizes.get(letter) is not None and size is not None and sizes[letter] != size:
                raise ShapeError(
                    f"{letter!r} of the equation {self.equation!r} is {sizes[letter]} in the input, of shape "
                    f"{tuple(input_shape)}, and {size} in output_shape."
                )
            sizes[letter] = sizes.get(letter) or size
        return sizes

    def _spread(self, initializer: Any) -> Any:
        """The initialiser that counts inputs and outputs of a unit by the letters of the kernel."""
        if getattr(initializer, "input_axes", 0) is not None:
            return initializer
        made = copy.copy(initializer)
        made.input_axes = [i for i, x in enumerate(self._kernel) if x not in self._output]
        made.output_axes = [i for i, x in enumerate(self._kernel) if x in self._output]
        return made

    def _bias_shape(self, sizes: Mapping[str, int | None]) -> list[int | None]:
        """From the first letter that the bias has to the end of the output, 1 for those it has not."""
        own = self._output.replace("...", "")
        letters = self.bias_axes or ""
        unknown = [letter for letter in letters if letter not in own or sizes.get(letter) is None]
        if unknown:
            raise ArgumentError(
                f"bias_axes must be letters of the output {self._output!r} whose sizes are known; "
                f"{unknown[0]!r} is not."
            )
        first = min(own.index(letter) for letter in letters)
        behind = 0 if not self._output.endswith("...") else len(sizes) - len(set(self._input + own) - {"."})
        return [sizes[x] if x in letters else 1 for x in own[first:]] + [1] * behind

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        with tracing(graph):
            kernel = Traced(graph, self.use(graph, self.kernel))
            # NOTE: what is joined with the product has to exist before it.
            bias = None if self.bias is None else Traced(graph, self.use(graph, self.bias))
            row = None
            if bias is not None and not self._output.endswith("..."):
                row = shaped(bias, (bias.size,))
            y = einsum(self.equation, Traced(graph, x), kernel)
            if bias is not None:
                y = _with_bias(y, bias, row)
        return lower_activation(graph, y.buffer, self.activation)


def _with_bias(y: Value, bias: Value, row: Value | None) -> Value:
    """The sum; a bias of all last axes is one row for what the kernel gives."""
    shape, count = shape_of(y), bias.ndim
    if row is None or shape[-count:] != bias.shape:
        return add(y, bias)
    return shaped(emit("bias_add", shaped(y, (*shape[:-count], *row.shape)), row), shape)


@LAYERS.register()
class Dot(Layer):
    """The product of two tensors along one axis of each, image by image.

    Args:
        axes: of both, or two of them; never the batch axis 0.
        normalize: divide by the norms first, which gives the cosine of the angle between the two.

    >>> from kernelearn.layers import Dot
    >>> Dot(axes=(1, 2)).compute_output_shape((None, 3, 5), (None, 10, 3))
    (None, 5, 10)
    """

    axes: Any
    normalize: bool

    def __init__(
        self, axes: int | Sequence[int], normalize: bool = False, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.axes = axes if isinstance(axes, int) else [int(axis) for axis in axes]
        if not isinstance(axes, int) and len(self.axes) != 2:
            raise ArgumentError(f"axes of Dot must be one axis or two, one of each tensor; got {axes!r}.")

    def _axes(self, shapes: Sequence[Shape]) -> list[int]:
        """The axis of each tensor, counted from the front.

        Raises: ArgumentError for one that a tensor does not have, ShapeError for different sizes.
        """
        given = [self.axes, self.axes] if isinstance(self.axes, int) else self.axes
        for axis, shape in zip(given, shapes):
            if not -len(shape) < axis < len(shape) or axis == 0:
                raise ArgumentError(
                    f"Dot has axes={self.axes!r}; an input of shape {tuple(shape)} has axes 1 to "
                    f"{len(shape) - 1} besides the batch."
                )
        found = [axis % len(shape) for axis, shape in zip(given, shapes)]
        sizes = [shape[axis] for axis, shape in zip(found, shapes)]
        if sizes[0] != sizes[1] and None not in sizes:
            raise ShapeError(
                f"Dot along axes {found} needs equal sizes; got {sizes} in inputs of shapes "
                f"{[tuple(shape) for shape in shapes]}."
            )
        return found

    def build(self, *input_shapes: Shape) -> None:
        if len(input_shapes) != 2:
            raise ArgumentError(f"Dot takes a list of two tensors, got {len(input_shapes)}.")
        self._axes(input_shapes)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Buffer:
        axes = self._axes([x.shape for x in inputs])
        with tracing(graph):
            tensors: list[Value] = [Traced(graph, x) for x in inputs]
            if self.normalize:
                tensors = [_unit(x, axis) for x, axis in zip(tensors, axes)]
            letters = ["a" + "bcdefgh"[: tensors[0].ndim - 1], "a" + "BCDEFGH"[: tensors[1].ndim - 1]]
            first, second = axes
            letters[1] = letters[1][:second] + letters[0][first] + letters[1][second + 1 :]
            kept = "".join(x for i, x in enumerate(letters[0]) if i != first)
            behind = "".join(x for i, x in enumerate(letters[1]) if i not in (0, second))
            y = einsum(f"{letters[0]},{letters[1]}->{kept}{behind}", *tensors)
            return shaped(y, (*shape_of(y), 1)).buffer if y.ndim == 1 else y.buffer


def _unit(x: Value, axis: int) -> Value:
    """x by its norm along an axis; zeros stay zeros.

    Source: Keras, ops.normalize: the norm counts as at least 1e-7.
    """
    return x * function("rsqrt")(function("maximum")(_squares(x, axis), 1e-14))


def _squares(x: Value, axis: int) -> Value:
    shape = tuple(1 if i == axis else size for i, size in enumerate(shape_of(x)))
    return emit("sum_to", x * x, axes=(axis,), shape=shape)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **options: Any) -> Any:
    """`Dot(axes, **options)(inputs)`: the product of two tensors along one axis of each."""
    return Dot(axes, **options)(list(inputs))
