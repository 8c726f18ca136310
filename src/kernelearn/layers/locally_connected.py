"""The locally connected (untied) layer: windows like a convolution's, each with a kernel of its own.

It is what a convolution would be without weight sharing, between `Conv2D` (one kernel for all positions) and
`Dense` (every output sees every input); `kernelearn experiment sharing` compares the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from kernelearn.constraints import ConstraintLike
from kernelearn.engine.geometry import output_sizes
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.initializers.base import InitializerLike
from kernelearn.layers.convolution import _BaseConv
from kernelearn.layers.core.arguments import (
    ActivationLike,
    Ints,
    Shape,
    check_positive,
    known_sizes,
    known_sizes_at,
    to_channels_last,
)
from kernelearn.layers.core.base import LAYERS, LayerOptions
from kernelearn.regularizers import RegularizerLike


@LAYERS.register()
class LocallyConnected2D(_BaseConv):
    """2-D convolution without weight sharing.

    y[n,p,q,f] = sum_{i,j,c} x[n, p*s+i, q*s+j, c] * kernel[i, j, c, (p*ow + q)*filters + f]

    Args:
        filters: number of output channels.
        kernel_size, strides: an int or one per spatial axis.
        padding: "valid" or "same" (output size ceil(n / stride)).
        data_format: "channels_last" (default) or "channels_first".
        activation: name of an activation applied at the end.
        use_bias: add one learned number per position and filter.
        kernel_initializer: draws the kernel of each position (*kernel_size, channels, filters) anew; an
            array of that shape, or an integer seed, starts all positions equal, as a convolution.
        bias_initializer, *_regularizer, *_constraint: names, config dicts or objects.

    Weights, for P = oh * ow positions: kernel (*kernel_size, channels, P * filters), bias (P * filters,). The
    last axis goes through positions row by row: `kernel.reshape(*kernel_size, channels, oh, ow, filters)`.

    >>> from kernelearn.layers import LocallyConnected2D
    >>> layer = LocallyConnected2D(4, 3, input_shape=(8, 8, 1))
    >>> layer.compute_output_shape((None, 8, 8, 1)), layer.count_params()
    ((None, 6, 6, 4), 1440)
    """

    rank = 2

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        data_format: str | None = None,
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
        self.dilation_rate = (1,) * self.rank
        self._check_windows()
        self.filters = check_positive(filters, "filters")

    def build(self, input_shape: Shape) -> None:
        shape = self._check_input(input_shape)
        *sizes, channels = known_sizes_at(shape, range(1, len(shape)), type(self).__name__)
        self._outputs = self._output_sizes(sizes)
        columns = prod(self._outputs) * self.filters
        rules = self.rules("kernel")
        self._draw_one = rules["initializer"]
        rules["initializer"] = self._draw_every_position
        self.kernel = self.add_weight("kernel", (*self.kernel_size, channels, columns), **rules)
        self._add_bias(columns)
        self._taps = Variable(_one_hot(self.kernel_size, channels, self.dtype), "taps", trainable=False)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        """Every window side by side, then a grouped convolution with one group per position."""
        x = to_channels_last(graph, x, self.data_format)
        channels, positions = known_sizes(x)[-1], prod(self._outputs)
        taps = graph.variable(self._taps, "state", trainable=False)
        windows = graph.add("conv", x, taps, **self._conv_attrs(x, 1))
        windows = graph.add("reshape", windows, shape=(None, positions, *self.kernel_size, channels))
        windows = graph.add("transpose", windows, axes=(0, 2, 3, 1, 4))
        windows = graph.add("reshape", windows, shape=(None, *self.kernel_size, positions * channels))
        attrs = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": positions}
        y = graph.add("conv", windows, self.use(graph, self.kernel), **attrs)
        if self.bias is not None:
            y = graph.add("bias_add", y, self.use(graph, self.bias))
        y = graph.add("reshape", y, shape=(None, *self._outputs, self.filters))
        return self._activated(graph, y)

    def _output_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        padding = self._resolved_padding(sizes)
        return output_sizes(sizes, self.kernel_size, self.strides, (1, 1), padding, "local kernel")

    def _draw_every_position(self, shape: Sequence[int], dtype: str) -> NDArray[Any]:
        one = (*shape[:-1], self.filters)
        return np.concatenate([self._draw_one(one, dtype=dtype) for _ in range(prod(self._outputs))], axis=-1)


def _one_hot(kernel_size: tuple[int, ...], channels: int, dtype: str) -> NDArray[Any]:
    """The kernel whose filter k copies number k of the window: (*kernel_size, channels, K)."""
    count = prod(kernel_size) * channels
    return np.eye(count, dtype=dtype).reshape(*kernel_size, channels, count)
