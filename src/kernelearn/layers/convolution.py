"""Convolution layers in 1, 2 and 3 dimensions: plain, transposed, depthwise and separable.

Kernels are stored as Keras stores them: Conv (*size, in // groups, filters), transposed
(*size, filters // groups, in), depthwise (*size, in, depth_multiplier). A depthwise convolution is lowered as
a grouped one with as many groups as channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

from kernelearn.constraints import ConstraintLike
from kernelearn.engine.geometry import (
    PADDINGS,
    normalize_tuple,
    resolve_padding,
    transpose_output_size,
    transpose_padding,
)
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.activations import lower_activation
from kernelearn.layers.core.arguments import (
    ALONG_AXIS,
    ActivationLike,
    Ints,
    Shape,
    channels_last,
    check_positive,
    check_rank,
    from_channels_last,
    known_sizes,
    known_sizes_at,
    to_channels_last,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.regularizers import RegularizerLike


class _BaseConv(Layer):
    """Arguments and steps that all convolution layers share; `rank` is the number of spatial axes."""

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {**Layer.without_effect, "lora_rank": (None,)}
    rank = 2
    filters: int
    groups: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    data_format: str
    dilation_rate: tuple[int, ...]
    activation: str
    use_bias: bool
    bias: Weight | None

    def _check_windows(self) -> None:
        """Bring the arguments that say where windows lie to one form, and refuse what cannot be combined."""
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, normalize_tuple(getattr(self, name), self.rank, name))
        self.padding = str(self.padding).lower()
        allowed = PADDINGS if self.rank == 1 else PADDINGS[:2]
        if self.padding not in allowed:
            raise ArgumentError(f"padding must be one of {allowed}, got {self.padding!r}.")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"strides > 1 and dilation_rate > 1 cannot be combined, as in Keras; got "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}."
            )

    def _channels(self, input_shape: Shape) -> int:
        """The number of channels of inputs of this shape, which is checked."""
        return known_sizes_at(self._check_input(input_shape), [-1], type(self).__name__)[0]

    def _check_groups(self, groups: int) -> None:
        self.groups = check_positive(groups, "groups")
        if self.filters % self.groups:
            raise ArgumentError(
                f"filters must be divisible by groups; got filters={self.filters}, groups={groups}."
            )

    def _grouped_channels(self, input_shape: Shape) -> int:
        """The number of channels, which groups have to divide."""
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}: the input has {channels} channels, which "
                f"groups={self.groups} does not divide."
            )
        return channels

    def _check_input(self, input_shape: Shape) -> Shape:
        """The input shape in channels-last order, checked."""
        check_rank(input_shape, self.rank + 2, type(self).__name__)
        return channels_last(input_shape, self.data_format)

    def _add_bias(self, filters: int) -> None:
        self.bias = self.add_weight("bias", (filters,), **self.rules("bias")) if self.use_bias else None

    def _conv_attrs(self, x: Buffer, groups: int) -> dict[str, Any]:
        """Attributes of the conv operator for this input, padding resolved to ints."""
        padding = self._resolved_padding(known_sizes(x)[:-1])
        return {"stride": self.strides, "padding": padding, "dilation": self.dilation_rate, "groups": groups}

    def _resolved_padding(self, sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Padding in pixels, (before, after) for each spatial axis of an input of these sizes."""
        axes = zip(sizes, self.kernel_size, self.strides, self.dilation_rate)
        return tuple(resolve_padding(self.padding, *axis) for axis in axes)

    def _finish(self, graph: ProgramBuilder, y: Buffer) -> Buffer:
        """Bias, activation, and the axis order of the caller."""
        if self.bias is not None:
            y = graph.add("bias_add", y, self.use(graph, self.bias))
        return self._activated(graph, y)

    def _activated(self, graph: ProgramBuilder, y: Buffer) -> Buffer:
        """Activation, and the axis order of the caller."""
        if not isinstance(self.activation, str) or self.activation in ALONG_AXIS:
            return lower_activation(graph, from_channels_last(graph, y, self.data_format), self.activation)
        return from_channels_last(graph, lower_activation(graph, y, self.activation), self.data_format)


class _Conv(_BaseConv):
    """Convolution with a learned kernel.

    Args:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: an int or one per spatial axis.
        padding: "valid", "same" (output size ceil(n / stride)) or, in 1-D, "causal".
        data_format: "channels_last" (default) or "channels_first".
        groups: channels and filters are split into this many independent groups.
        activation: name of an activation applied at the end.
        use_bias: add one learned number per filter.
        kernel_initializer, bias_initializer, *_regularizer, *_constraint: names, config dicts or objects.

    Weights: kernel (*kernel_size, channels // groups, filters), bias (filters,).
    Source of the semantics: Keras's Conv layers; engine/reference/conv.py has the equations.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        groups: int = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
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
        self._check_windows()
        self.filters = check_positive(filters, "filters")
        self._check_groups(groups)

    def build(self, input_shape: Shape) -> None:
        channels = self._grouped_channels(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, **self.rules("kernel"))
        self._add_bias(self.filters)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        attrs = self._conv_attrs(x, self.groups)
        return self._finish(graph, graph.add("conv", x, self.use(graph, self.kernel), **attrs))


@LAYERS.register("Convolution1D")
class Conv1D(_Conv):
    __doc__ = "1-D c" + (_Conv.__doc__ or "")[1:]
    rank = 1


@LAYERS.register("Convolution2D")
class Conv2D(_Conv):
    __doc__ = "2-D c" + (_Conv.__doc__ or "")[1:]
    rank = 2


@LAYERS.register("Convolution3D")
class Conv3D(_Conv):
    __doc__ = "3-D c" + (_Conv.__doc__ or "")[1:]
    rank = 3


class _ConvTranspose(_BaseConv):
    """Transposed convolution: the input gradient of a convolution, used to enlarge feature maps.

    Args:
        output_padding: pixels added to the smallest possible output; None for Keras's default size, which is
            n * stride for "same" and (n - 1) * stride + max(kernel, stride) for "valid".
        groups: channels and filters are divided into this many independent blocks, as in PyTorch.
        (the others as in the convolution layers)

    Weights: kernel (*kernel_size, filters // groups, channels), bias (filters,).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        output_padding: Ints | None = None,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        groups: int = 1,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_windows()
        self.filters = check_positive(filters, "filters")
        self._check_groups(groups)
        self.output_padding: tuple[int, ...] | None = None
        if output_padding is not None:
            self.output_padding = normalize_tuple(output_padding, self.rank, "output_padding", 0)
        if self.output_padding and any(extra >= s for extra, s in zip(self.output_padding, self.strides)):
            raise ArgumentError(
                f"output_padding must be smaller than strides; got {self.output_padding} and {self.strides}."
            )

    def build(self, input_shape: Shape) -> None:
        channels = self._grouped_channels(input_shape)
        shape = (*self.kernel_size, self.filters // self.groups, channels)
        self.kernel = self.add_weight("kernel", shape, **self.rules("kernel"))
        self._add_bias(self.filters)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        extra = self.output_padding or (None,) * self.rank
        axes = list(zip(self.kernel_size, self.strides, self.dilation_rate))
        padding = tuple(transpose_padding(self.padding, *axis, more) for axis, more in zip(axes, extra))
        sizes = tuple(
            transpose_output_size(n, *axis, p) for n, axis, p in zip(known_sizes(x)[:-1], axes, padding)
        )
        y = graph.add(
            "conv_transpose",
            x,
            self.use(graph, self.kernel),
            output_size=sizes,
            stride=self.strides,
            padding=padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )
        return self._finish(graph, y)


@LAYERS.register("Convolution1DTranspose")
class Conv1DTranspose(_ConvTranspose):
    __doc__ = "1-D t" + (_ConvTranspose.__doc__ or "")[1:]
    rank = 1


@LAYERS.register("Convolution2DTranspose")
class Conv2DTranspose(_ConvTranspose):
    __doc__ = "2-D t" + (_ConvTranspose.__doc__ or "")[1:]
    rank = 2


@LAYERS.register("Convolution3DTranspose")
class Conv3DTranspose(_ConvTranspose):
    __doc__ = "3-D t" + (_ConvTranspose.__doc__ or "")[1:]
    rank = 3


class _PerChannel(_BaseConv):
    """What depthwise and separable convolutions share: every channel has `depth_multiplier` kernels."""

    depth_multiplier: int
    kernel: Weight

    def _add_depthwise_kernel(self, name: str, channels: int) -> Weight:
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        return self.add_weight(name, shape, **self.rules("depthwise"))

    def _depthwise(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        """The depthwise product of channels-last x."""
        channels = known_sizes(x)[-1]
        shape = (*self.kernel_size, 1, channels * self.depth_multiplier)
        kernel = graph.add("reshape", self.use(graph, self.kernel), shape=shape)
        return graph.add("conv", x, kernel, **self._conv_attrs(x, channels))


class _DepthwiseConv(_PerChannel):
    """Depthwise convolution: every input channel has its own `depth_multiplier` kernels.

    Weights: kernel (*kernel_size, channels, depth_multiplier), bias (channels * depth_multiplier,). Output
    channel c * depth_multiplier + m is kernel m of channel c.
    """

    def __init__(
        self,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_windows()
        self.depth_multiplier = check_positive(depth_multiplier, "depth_multiplier")

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        self.kernel = self._add_depthwise_kernel("kernel", channels)
        self._add_bias(channels * self.depth_multiplier)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        x = to_channels_last(graph, x, self.data_format)
        return self._finish(graph, self._depthwise(graph, x))


@LAYERS.register()
class DepthwiseConv1D(_DepthwiseConv):
    __doc__ = "1-D d" + (_DepthwiseConv.__doc__ or "")[1:]
    rank = 1


@LAYERS.register()
class DepthwiseConv2D(_DepthwiseConv):
    __doc__ = "2-D d" + (_DepthwiseConv.__doc__ or "")[1:]
    rank = 2


class _SeparableConv(_PerChannel):
    """Depthwise convolution followed by a 1 x 1 convolution that mixes the channels.

    Weights: depthwise_kernel (*kernel_size, channels, depth_multiplier),
    pointwise_kernel (1, ..., channels * depth_multiplier, filters), bias (filters,).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        depth_multiplier: int = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        pointwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        pointwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        pointwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_windows()
        self.filters = check_positive(filters, "filters")
        self.depth_multiplier = check_positive(depth_multiplier, "depth_multiplier")

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        self.kernel = self.depthwise_kernel = self._add_depthwise_kernel("depthwise_kernel", channels)
        shape = (*(1,) * self.rank, channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self.add_weight("pointwise_kernel", shape, **self.rules("pointwise"))
        self._add_bias(self.filters)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        ones = (1,) * self.rank
        mixed = graph.add(
            "conv",
            self._depthwise(graph, to_channels_last(graph, x, self.data_format)),
            self.use(graph, self.pointwise_kernel),
            stride=ones,
            padding=((0, 0),) * self.rank,
            dilation=ones,
            groups=1,
        )
        return self._finish(graph, mixed)


@LAYERS.register("SeparableConvolution1D")
class SeparableConv1D(_SeparableConv):
    __doc__ = "1-D d" + (_SeparableConv.__doc__ or "")[1:]
    rank = 1


@LAYERS.register("SeparableConvolution2D")
class SeparableConv2D(_SeparableConv):
    __doc__ = "2-D d" + (_SeparableConv.__doc__ or "")[1:]
    rank = 2
