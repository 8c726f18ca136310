"""Normalisation layers: batch, layer and group."""

from __future__ import annotations

from typing import Unpack

from kernelearn import ops
from kernelearn._configurable import is_whole
from kernelearn.constraints import ConstraintLike
from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.core.arguments import (
    Ints,
    Shape,
    check_axis,
    known_sizes,
    known_sizes_at,
    whole_numbers,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.regularizers import RegularizerLike
from kernelearn.tracing import Traced, tracing, unwrapped


def channel_last_order(axis: int, rank: int) -> tuple[int, ...] | None:
    """The permutation that brings an axis to the end; None if it is there."""
    axis = axis % rank
    if axis == rank - 1:
        return None
    return (*(i for i in range(rank) if i != axis), axis)


class _Scaled(Layer):
    """A normalisation followed by a learned scale (gamma) and shift (beta)."""

    supports_masking = True

    epsilon: float
    center: bool
    scale: bool
    gamma: Weight | None
    beta: Weight | None

    def _check_epsilon(self) -> None:
        if self.epsilon <= 0:
            raise ArgumentError(f"epsilon must be positive, got {self.epsilon!r}.")

    def _add_scale_and_shift(self, shape: Shape) -> None:
        self.gamma = self.add_weight("gamma", shape, **self.rules("gamma")) if self.scale else None
        self.beta = self.add_weight("beta", shape, **self.rules("beta")) if self.center else None

    def _scale_and_shift(self, graph: ProgramBuilder, y: Buffer) -> Buffer:
        if self.gamma is not None and self.beta is not None:
            return graph.add("affine", y, self.use(graph, self.gamma), self.use(graph, self.beta))
        if self.gamma is not None:
            return graph.add("multiply", y, self.use(graph, self.gamma))
        if self.beta is not None:
            return graph.add("add", y, self.use(graph, self.beta))
        return y


@LAYERS.register()
class BatchNormalization(_Scaled):
    """Normalise every channel over the batch and all positions, then scale and shift.

    In training the statistics are those of the batch, and the moving ones follow them:
    moving = moving * momentum + batch * (1 - momentum), with the biased variance. In inference, and whenever
    `trainable` is False, the moving ones are used.

    Args:
        axis: the channel axis.
        momentum, epsilon, center, scale: as in Keras (0.99, 1e-3).
        synchronized: True for statistics of the whole batch also where it is cut into shards (see `compile`),
            which cost three more exchanges a layer; otherwise a shard has its own.

    Weights: gamma, beta, moving_mean, moving_variance, each (channels,).
    Source: Ioffe and Szegedy 2015, algorithms 1 and 2.
    """

    axis: int
    momentum: float
    synchronized: bool | None
    moving_mean: Weight
    moving_variance: Weight

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        moving_mean_initializer: InitializerLike = "zeros",
        moving_variance_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        synchronized: bool | None = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_epsilon()
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"momentum must lie in [0, 1], got {momentum!r}.")

    def is_in_config(self, name: str) -> bool:
        # NOTE: a network that does not ask for it has the fingerprint that it had before there were shards.
        return super().is_in_config(name) and (name != "synchronized" or bool(self.synchronized))

    def build(self, input_shape: Shape) -> None:
        axis = check_axis(self.axis, input_shape, "BatchNormalization")
        shape = known_sizes_at(input_shape, [axis], "BatchNormalization")
        self._add_scale_and_shift(shape)
        for name in ("moving_mean", "moving_variance"):
            setattr(self, name, self.add_weight(name, shape, trainable=False, **self.rules(name)))

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        order = channel_last_order(self.axis, len(x.shape))
        if order is not None:
            x = graph.add("transpose", x, axes=order)
        if graph.training and self._trainable:
            y = self._with_batch_statistics(graph, x)
        else:
            mean, variance = self.use(graph, self.moving_mean), self.use(graph, self.moving_variance)
            y = graph.add("standardize", x, mean, variance, epsilon=self.epsilon)
        y = self._scale_and_shift(graph, y)
        if order is not None:
            y = graph.add("transpose", y, axes=inverse_order(order))
        return y

    def _with_batch_statistics(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        axes = tuple(range(len(x.shape) - 1))
        y, mean, variance = graph.add("normalize", x, axes=axes, epsilon=self.epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            state = self.use(graph, moving)
            graph.update("moving_average", (state, value), (state,), momentum=self.momentum)
        return y


@LAYERS.register()
class LayerNormalization(_Scaled):
    """Normalise every sample (at every position) over `axis`, then scale and shift.

    Args:
        axis: the last axis (default), or a list of the last axes.
        rms_scaling: divide by the standard deviation and scale, but leave the mean where it is.
    Weights: gamma and beta with the sizes of `axis`. Source: Ba, Kiros and Hinton 2016.
    """

    rms_scaling: bool

    def __init__(
        self,
        axis: Ints = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        rms_scaling: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_epsilon()
        self.axis = whole_numbers(axis, "axis")

    def build(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        sizes = known_sizes_at(input_shape, axes, "LayerNormalization")
        if self.rms_scaling:
            self.gamma, self.beta = self.add_weight("gamma", sizes, "ones", True), None
        else:
            self._add_scale_and_shift(sizes)

    def _axes(self, rank: int) -> tuple[int, ...]:
        axes = tuple(sorted(check_axis(a, (None,) * rank, "LayerNormalization") for a in self.axis))
        if 0 in axes or axes != tuple(range(rank - len(axes), rank)):
            raise ArgumentError(
                f"LayerNormalization works over the last axes of its input, without the batch; "
                f"got axis={self.axis} for {rank} axes. Permute the input first."
            )
        return axes

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        if self.rms_scaling:
            return self._scale_and_shift(graph, self._divided(graph, x))
        y, _, _ = graph.add("normalize", x, axes=self._axes(len(x.shape)), epsilon=self.epsilon)
        return self._scale_and_shift(graph, y)

    def _divided(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        """Divided by the standard deviation, with the mean where it is."""
        with tracing(graph):
            value = Traced(graph, x)
            variance = ops.var(value, axis=self._axes(len(x.shape)), keepdims=True)
            result: Buffer = unwrapped(value * ops.rsqrt(variance + self.epsilon))
        return result


@LAYERS.register()
class GroupNormalization(_Scaled):
    """Normalise every sample over all positions and the channels of one group, then scale and shift.

    Args:
        groups: number of groups; -1 for one channel each (instance normalisation).
        axis: the channel axis.
    Weights: gamma and beta, each (channels,). Source: Wu and He 2018.
    """

    groups: int
    axis: int

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self._check_epsilon()
        if not is_whole(groups) or (groups < 1 and groups != -1):
            raise ArgumentError(
                f"groups must be a positive int, or -1 for a group for each channel; got {groups!r}."
            )

    def build(self, input_shape: Shape) -> None:
        axis = check_axis(self.axis, input_shape, "GroupNormalization")
        (channels,) = known_sizes_at(input_shape, [axis], "GroupNormalization")
        groups = channels if self.groups == -1 else self.groups
        if channels % groups:
            raise ArgumentError(f"groups={self.groups} must divide the number of channels, {channels}.")
        self._add_scale_and_shift((channels,))

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        order = channel_last_order(self.axis, len(x.shape))
        if order is not None:
            x = graph.add("transpose", x, axes=order)
        y = self._by_groups(graph, x)
        return y if order is None else graph.add("transpose", y, axes=inverse_order(order))

    def _by_groups(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        channels, rank = known_sizes(x)[-1], len(x.shape)
        groups = channels if self.groups == -1 else self.groups
        split = graph.add("reshape", x, shape=(*x.shape[:-1], groups, channels // groups))
        axes = (*range(1, rank - 1), rank)
        y, _, _ = graph.add("normalize", split, axes=axes, epsilon=self.epsilon)
        return self._scale_and_shift(graph, graph.add("reshape", y, shape=x.shape))
