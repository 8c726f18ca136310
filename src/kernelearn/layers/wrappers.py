"""Layers around another layer."""

from __future__ import annotations

from typing import Any, Self, Unpack

from kernelearn import ops
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.dense import Dense


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
