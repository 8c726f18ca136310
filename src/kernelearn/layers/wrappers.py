"""Layers around another layer."""

from __future__ import annotations

from typing import Any, Self, Unpack

from kernelearn import ops
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.random_values import TruncatedNormal
from kernelearn.layers.core.arguments import Shape, check_positive
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.core.weight import Weight
from kernelearn.layers.dense import Dense
from kernelearn.tracing import current


@LAYERS.register()
class Wrapper(Layer):
    """Base of layers around another layer, `self.layer`: extend it with a `call` of your own.

    Args:
        layer: what it is around.
    """

    layer: Layer

    def __init__(self, layer: Any, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if not isinstance(layer, Layer):
            raise ArgumentError(f"{type(self).__name__} takes a layer, got {layer!r}.")
        self.keep(locals())

    def config_value(self, name: str) -> Any:
        return LAYERS.serialize(self.layer) if name == "layer" else super().config_value(name)

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "layer": LAYERS.get(values["layer"])})

    def call(self, x: Any) -> Any:
        return self.layer(x)


@LAYERS.register()
class TimeDistributed(Wrapper):
    """A layer for every step of a sequence (n, steps, ...), each an input (n, ...), with the same weights.

    Args:
        layer: any layer of one input.

    >>> from kernelearn.layers import Conv2D
    >>> TimeDistributed(Conv2D(8, 3)).compute_output_shape((None, 5, 28, 28, 3))
    (None, 5, 26, 26, 8)
    """

    supports_masking = True

    def call(self, x: Any) -> Any:
        if len(x.shape) < 3:
            raise ShapeError(f"TimeDistributed takes inputs (n, steps, ...), got shape {tuple(x.shape)}.")
        if type(self.layer) is Dense:  # works on the last axis by itself
            return self.layer(x)
        return ops.stack([self.layer(x[:, step]) for step in range(x.shape[1])], axis=1)


@LAYERS.register()
class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its largest singular value, found by power iteration.

    The kernel itself stays as it is trained. NOTE: so does Keras's with JAX, which then does not divide in
    inference; with TensorFlow it overwrites the kernel. Here it is divided in both, and training
    goes on with the iteration.

    Args:
        layer: one with a `kernel` or with `embeddings`.
        power_iterations: steps of the iteration in each step of training.
    Weights: those of the layer, and vector_u (1, filters).
    Source: Miyato et al. (2018), https://arxiv.org/abs/1802.05957.
    """

    power_iterations: int
    vector_u: Weight

    def __init__(self, layer: Any, power_iterations: int = 1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(layer, **options)
        self.keep(locals())
        self.power_iterations = check_positive(power_iterations, "power_iterations")

    def build(self, input_shape: Shape) -> None:
        self.layer.build(input_shape)
        start = TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight("vector_u", (1, self._kernel().shape[-1]), start, False)

    def _kernel(self) -> Weight:
        for name in ("kernel", "embeddings"):
            if isinstance(getattr(self.layer, name, None), Weight):
                found: Weight = getattr(self.layer, name)
                return found
        raise ArgumentError(
            "SpectralNormalization divides a kernel or embeddings, and "
            f"{type(self.layer).__name__} has neither."
        )

    def call(self, x: Any, training: bool = False) -> Any:
        graph, kernel = current(), self._kernel()
        assert graph is not None
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        u = self.vector_u + 0.0
        fixed_matrix = ops.stop_gradient(matrix)
        v = _unit(ops.matmul(u, ops.transpose(fixed_matrix)))
        if training:
            u = _unit(ops.matmul(v, fixed_matrix))
            for _ in range(self.power_iterations - 1):
                v = _unit(ops.matmul(u, ops.transpose(fixed_matrix)))
                u = _unit(ops.matmul(v, fixed_matrix))
            self.vector_u.assign(u)
        else:
            u = _unit(ops.matmul(v, fixed_matrix))
        largest = ops.sum(ops.matmul(v, matrix) * u)
        divided = ops.where(largest > 0, kernel / ops.where(largest > 0, largest, 1.0), kernel)
        with graph.in_place_of(kernel, divided.buffer):
            return self.layer(x)


def _unit(x: Any) -> Any:
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x)), 1e-12))
