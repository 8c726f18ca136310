"""Normalisations by a length: unit vectors, root mean squares, and responses of whole maps."""

from __future__ import annotations

from typing import Any, Unpack

from kernelearn import ops
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import Ints, Shape, check_axis, known_sizes_at, whole_numbers
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight


@LAYERS.register()
class UnitNormalization(Layer):
    """Every sample divided by its Euclidean length along `axis`.

    Args:
        axis: an axis or several, without the batch.
    """

    supports_masking = True

    def __init__(self, axis: Ints = -1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.axis = list(whole_numbers(axis, "axis")) if isinstance(axis, list | tuple) else axis

    def build(self, input_shape: Shape) -> None:
        for axis in whole_numbers(self.axis, "axis"):
            check_axis(axis, input_shape, "UnitNormalization")

    def call(self, x: Any) -> Any:
        squares = ops.sum(ops.square(x), axis=whole_numbers(self.axis, "axis"), keepdims=True)
        return x * ops.rsqrt(ops.maximum(squares, 1e-12))


@LAYERS.register()
class RMSNormalization(Layer):
    """Every sample divided by its root mean square over `axis`, times a learned scale.

    Args:
        axis: an axis or several, without the batch.
        epsilon: added to the mean square.
    Weights: scale, with the sizes of `axis`. Source: Zhang and Sennrich (2019), https://arxiv.org/abs/1910.07467.
    """

    epsilon: float
    scale: Weight

    def __init__(self, axis: Ints = -1, epsilon: float = 1e-6, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.axis = list(whole_numbers(axis, "axis")) if isinstance(axis, list | tuple) else axis

    def _axes(self, rank: int) -> list[int]:
        return sorted(
            check_axis(axis, (None,) * rank, "RMSNormalization") for axis in whole_numbers(self.axis, "axis")
        )

    def build(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        self.scale = self.add_weight(
            "scale", known_sizes_at(input_shape, axes, "RMSNormalization"), "ones", True
        )

    def call(self, x: Any) -> Any:
        axes = self._axes(len(x.shape))
        inverse = ops.rsqrt(ops.mean(ops.square(x), axis=tuple(axes), keepdims=True) + self.epsilon)
        sizes = [x.shape[i] if i in axes else 1 for i in range(axes[0], len(x.shape))]
        return x * inverse * ops.reshape(self.scale, sizes)


@LAYERS.register()
class GlobalResponseNormalization(Layer):
    """y = x + beta + gamma x N, N the length of a channel's map by the mean length of all channels.

    Args:
        epsilon: added to that mean.
    Weights: gamma and beta, (channels,) each, zero at the start.
    Source: Woo et al. (2023), "ConvNeXt V2", https://arxiv.org/abs/2301.00808.
    """

    epsilon: float
    gamma: Weight
    beta: Weight

    def __init__(self, epsilon: float = 1e-6, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keep(locals())
        if epsilon <= 0:
            raise ArgumentError(f"epsilon must be positive, got {epsilon!r}.")

    def build(self, input_shape: Shape) -> None:
        channels = known_sizes_at(input_shape, [len(input_shape) - 1], "GlobalResponseNormalization")
        self.gamma = self.add_weight("gamma", channels, "zeros", True)
        self.beta = self.add_weight("beta", channels, "zeros", True)

    def call(self, x: Any) -> Any:
        positions = tuple(range(1, len(x.shape) - 1))
        lengths = ops.sqrt(ops.sum(ops.square(x), axis=positions, keepdims=True) + 1e-12)
        shares = lengths / (ops.mean(lengths, axis=-1, keepdims=True) + self.epsilon)
        return x + self.beta + self.gamma * (x * shares)
