"""Layers that join several tensors, and the `Input` that starts a model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, TypedDict, Unpack

from kernelearn import config, ops
from kernelearn._configurable import is_whole
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import Shape, check_axis
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.tensor import Node, Tensor


class InputOptions(TypedDict, total=False):
    """Arguments of Keras's Input that are taken where they ask for nothing."""

    sparse: bool | None
    ragged: bool | None
    optional: bool | None
    tensor: None


@LAYERS.register()
class InputLayer(Layer):
    """Where data enters a model. Made by `Input`."""

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Layer.without_effect,
        **dict.fromkeys(("batch_size", "batch_shape"), ()),
        **dict.fromkeys(("sparse", "ragged", "optional"), (False, None)),
        "input_tensor": (None,),
    }

    def __init__(
        self, shape: Sequence[int | None] | None = None, dtype: str | None = None, **options: Any
    ) -> None:
        super().__init__(dtype=dtype, **options)
        shape = _sample_shape(shape, options)
        if not all(s is None or (is_whole(s) and s > 0) for s in shape):
            raise ArgumentError(
                "Input shape must be positive ints without the batch, such as (28, 28, 1), or None for a "
                f"size that is known only when a batch comes, (None, None, 3); got {tuple(shape)!r}."
            )
        self.shape = tuple(None if s is None else int(s) for s in shape)
        self.built = True
        node = Node(self, ())
        node.outputs = (Tensor((None, *self.shape), self.dtype, node),)
        self._nodes.append(node)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return x


def _sample_shape(shape: Any, options: Mapping[str, Any]) -> Any:
    """The shape of a sample, from the three ways in which Keras's code gives it."""
    batch_shape, declared = options.get("batch_shape"), options.get("input_shape")
    ways = [way for way in (shape, batch_shape, declared) if way is not None]
    if len(ways) != 1:
        raise ArgumentError(
            "An Input takes a shape without the batch, such as (28, 28, 1), or a batch_shape, "
            "(None, 28, 28, 1)."
        )
    sizes = ways[0] if batch_shape is None else tuple(batch_shape)[1:]
    return (sizes,) if is_whole(sizes) else sizes


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    name: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
    **keras_options: Unpack[InputOptions],
) -> Tensor:
    """The start of a functional model: a symbolic batch of samples of this shape.

    Args:
        shape: of one sample, without the batch; None for a size that may differ from batch to batch, such as
            (None, None, 3) for images of any size.
        batch_size: as in Keras, and without effect: a model takes batches of any size.
        batch_shape: instead of `shape`, with the batch first: (None, 28, 28, 1).
        keras_options: sparse, ragged, optional and tensor, where they ask for nothing.

    >>> from kernelearn import Input
    >>> Input((28, 28, 1)).shape
    (None, 28, 28, 1)
    """
    options: dict[str, Any] = {**keras_options}
    if "tensor" in options:
        options["input_tensor"] = options.pop("tensor")
    sizes = _sample_shape(shape, {"batch_shape": batch_shape})
    return InputLayer(sizes, dtype=dtype or config.floatx(), name=name, **options).output


def either(masks: Any) -> Any:
    """Where any of several masks holds; None, which holds everywhere, if one of them is None."""
    given = masks if isinstance(masks, list | tuple) else [masks]
    if any(one is None for one in given):
        return None
    return functools.reduce(ops.logical_or, given)


class _Merge(Layer):
    """Combine tensors entry by entry; sizes may differ where NumPy would broadcast them."""

    supports_masking = True

    operator = "add"

    def build(self, *input_shapes: Shape) -> None:
        if len(input_shapes) < 2:
            raise ArgumentError(
                f"{type(self).__name__} takes a list of at least two tensors, got {len(input_shapes)}."
            )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Steps that count in any of the inputs; None if all do in one of them."""
        return either(mask)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Buffer:
        return reduce(lambda a, b: graph.add(self.operator, a, b), inputs)


@LAYERS.register()
class Add(_Merge):
    """Sum of the inputs: the join of a residual block."""


@LAYERS.register()
class Subtract(_Merge):
    """First input minus the second."""

    operator = "subtract"

    def build(self, *input_shapes: Shape) -> None:
        if len(input_shapes) != 2:
            raise ArgumentError(f"Subtract takes exactly two tensors, got {len(input_shapes)}.")


@LAYERS.register()
class Multiply(_Merge):
    """Product of the inputs."""

    operator = "multiply"


@LAYERS.register()
class Maximum(_Merge):
    """Largest of the inputs at every entry."""

    operator = "maximum"


@LAYERS.register()
class Minimum(_Merge):
    """Smallest of the inputs at every entry."""

    operator = "minimum"


@LAYERS.register()
class Average(_Merge):
    """Mean of the inputs."""

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Buffer:
        return graph.add("scale", super().lower(graph, *inputs), factor=1 / len(inputs))


def add(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Add(**options)(inputs)`: the sum of a list of tensors."""
    return Add(**options)(list(inputs))


def subtract(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Subtract(**options)(inputs)`: the first of two tensors minus the second."""
    return Subtract(**options)(list(inputs))


def multiply(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Multiply(**options)(inputs)`: the product of a list of tensors."""
    return Multiply(**options)(list(inputs))


def maximum(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Maximum(**options)(inputs)`: the largest of a list of tensors at every entry."""
    return Maximum(**options)(list(inputs))


def minimum(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Minimum(**options)(inputs)`: the smallest of a list of tensors at every entry."""
    return Minimum(**options)(list(inputs))


def average(inputs: Sequence[Any], **options: Unpack[LayerOptions]) -> Any:
    """`Average(**options)(inputs)`: the mean of a list of tensors."""
    return Average(**options)(list(inputs))


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Unpack[LayerOptions]) -> Any:
    """`Concatenate(axis, **options)(inputs)`: a list of tensors joined along an axis."""
    return Concatenate(axis, **options)(list(inputs))


@LAYERS.register()
class Concatenate(Layer):
    """Join along an axis.

    Args:
        axis: -1 joins channels.
    """

    supports_masking = True

    axis: int

    def __init__(self, axis: int = -1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())

    def build(self, *input_shapes: Shape) -> None:
        if len(input_shapes) < 2:
            raise ArgumentError(f"Concatenate takes a list of at least two tensors, got {len(input_shapes)}.")
        if check_axis(self.axis, input_shapes[0], "Concatenate") == 0:
            raise ArgumentError("Concatenate cannot join along the batch axis 0.")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """One after the other where steps are joined, else steps that count in any of the inputs."""
        if self.axis % len(inputs[0].shape) != 1 or all(one is None for one in mask):
            return either(mask)
        every = [ops.ones_like(x[:, :, 0], dtype="bool") for x in inputs]
        return ops.concatenate([m if one is None else one for one, m in zip(mask, every)], axis=1)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Buffer:
        return graph.add("concatenate", *inputs, axis=self.axis % len(inputs[0].shape))
