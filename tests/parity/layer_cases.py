"""The grid on which layers are compared with Keras: names and arguments that both libraries understand.

Imports neither library. Inputs, weights and targets come from NumPy's frozen `RandomState`, seeded by the
case's label, so that golden files hold results only.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

BATCH = 2
RATE = 0.1
LINE, IMAGE, VOLUME = (7, 4), (5, 4, 4), (3, 4, 3, 2)


@dataclass(frozen=True)
class LayerCase:
    """A layer, the shapes of one sample of its inputs, and whether it runs in training mode."""

    layer: str
    arguments: dict[str, Any] = field(default_factory=dict)
    shapes: tuple = (IMAGE,)
    training: bool = True

    @property
    def label(self) -> str:
        mode = "" if self.training else " inference"
        return f"{self.layer} {json.dumps(self.arguments, sort_keys=True)} {list(self.shapes)}{mode}"

    def _random(self, stream: int) -> np.random.RandomState:
        return np.random.RandomState(zlib.crc32(self.label.encode()) ^ stream)

    def inputs(self) -> list[np.ndarray]:
        random = self._random(0)
        return [random.normal(size=(BATCH, *shape)) for shape in self.shapes]

    def weights(self, shapes) -> list[np.ndarray]:
        """Values for weights of these shapes: positive, so that they may be variances."""
        random = self._random(1)
        return [random.uniform(0.3, 1.3, size=shape) for shape in shapes]

    def target(self, shape) -> np.ndarray:
        """What the mean squared error compares the output with."""
        return self._random(2).normal(size=shape)


def _convolutions() -> Iterator[LayerCase]:
    geometries = (
        {},
        {"padding": "same"},
        {"strides": 2},
        {"strides": 2, "padding": "same"},
        {"strides": 3, "padding": "same"},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same"},
    )
    for geometry, size in product(geometries, (2, 3)):
        yield LayerCase("Conv1D", {"filters": 2, "kernel_size": size, **geometry}, (LINE,))
        if size == 2 or "dilation_rate" not in geometry:
            yield LayerCase("Conv2D", {"filters": 2, "kernel_size": size, **geometry})
    for more in ({}, {"strides": 2}, {"dilation_rate": 2}, {"groups": 2}):
        yield LayerCase("Conv1D", {"filters": 2, "kernel_size": 3, "padding": "causal", **more}, (LINE,))
    yield LayerCase("Conv2D", {"filters": 4, "kernel_size": [3, 2], "groups": 2, "padding": "same"})
    yield LayerCase("Conv2D", {"filters": 4, "kernel_size": 1, "groups": 4, "use_bias": False})
    yield LayerCase("Conv2D", {"filters": 3, "kernel_size": 1, "strides": [3, 2], "activation": "softmax"})
    yield LayerCase(
        "Conv2D", {"filters": 2, "kernel_size": 5, "padding": "same", "activation": "relu"}, ((1, 1, 2),)
    )
    yield LayerCase(
        "Conv2D", {"filters": 2, "kernel_size": 2, "strides": 4, "activation": "tanh"}, ((8, 7, 1),)
    )
    for geometry in ({}, {"padding": "same", "strides": 2}, {"dilation_rate": [2, 1, 1], "padding": "same"}):
        yield LayerCase("Conv3D", {"filters": 2, "kernel_size": 2, **geometry}, (VOLUME,))
    yield LayerCase("Conv3D", {"filters": 4, "kernel_size": [1, 3, 2], "groups": 2}, (VOLUME,))


def _transposed() -> Iterator[LayerCase]:
    for size, stride, padding in product((1, 2, 3, 4), (1, 2, 3), ("valid", "same")):
        arguments = {"filters": 2, "kernel_size": size, "strides": stride, "padding": padding}
        yield LayerCase("Conv1DTranspose", arguments, ((4, 3),))
    for padding, extra in product(("valid", "same"), (0, 1)):
        arguments = {
            "filters": 2,
            "kernel_size": 3,
            "strides": 2,
            "padding": padding,
            "output_padding": extra,
        }
        yield LayerCase("Conv2DTranspose", arguments, ((3, 2, 2),))
    yield LayerCase("Conv2DTranspose", {"filters": 2, "kernel_size": [2, 3], "strides": [3, 1]}, ((3, 2, 2),))
    yield LayerCase("Conv2DTranspose", {"filters": 2, "kernel_size": 2, "dilation_rate": 2}, ((3, 2, 2),))
    same = {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}
    yield LayerCase("Conv2DTranspose", same, ((3, 2, 2),))
    yield LayerCase(
        "Conv3DTranspose", {"filters": 1, "kernel_size": 2, "strides": [1, 2, 1]}, ((2, 2, 2, 2),)
    )


def _depthwise() -> Iterator[LayerCase]:
    geometries = ({}, {"padding": "same", "strides": 2}, {"padding": "same", "dilation_rate": 2})
    for geometry, multiplier in product(geometries, (1, 2)):
        more = {"depth_multiplier": multiplier, **geometry}
        yield LayerCase("DepthwiseConv1D", {"kernel_size": 3, **more}, ((7, 2),))
        size = 2 if "strides" in geometry else [3, 2]
        yield LayerCase("DepthwiseConv2D", {"kernel_size": size, **more}, ((5, 4, 2),))
        yield LayerCase("SeparableConv1D", {"filters": 3, "kernel_size": 3, **more}, ((7, 2),))
        yield LayerCase("SeparableConv2D", {"filters": 2, "kernel_size": 2, **more}, ((5, 4, 2),))


def _pooling() -> Iterator[LayerCase]:
    windows = (
        {"pool_size": 2},
        {"pool_size": 3, "strides": 2, "padding": "same"},
        {"pool_size": 2, "strides": 3},
    )
    for kind, window in product(("Max", "Average"), windows):
        yield LayerCase(f"{kind}Pooling1D", window, (LINE,))
        yield LayerCase(f"{kind}Pooling2D", window)
        yield LayerCase(f"{kind}Pooling3D", {**window, "padding": "same"}, (VOLUME,))
    for kind, shape, keep in product(("Max", "Average"), (LINE, IMAGE, VOLUME), (False, True)):
        yield LayerCase(f"Global{kind}Pooling{len(shape) - 1}D", {"keepdims": keep}, (shape,))


def _shaping() -> Iterator[LayerCase]:
    yield LayerCase("Flatten")
    yield LayerCase("Reshape", {"target_shape": [4, -1]})
    yield LayerCase("Permute", {"dims": [3, 1, 2]})
    yield LayerCase("ZeroPadding1D", {"padding": [1, 2]}, (LINE,))
    yield LayerCase("ZeroPadding2D", {"padding": [[1, 2], [0, 3]]}, ((3, 2, 2),))
    yield LayerCase("ZeroPadding3D", {"padding": 1}, ((2, 1, 2, 1),))
    yield LayerCase("Cropping1D", {"cropping": [1, 2]}, (LINE,))
    yield LayerCase("Cropping2D", {"cropping": [[1, 2], [0, 1]]})
    yield LayerCase("Cropping3D", {"cropping": [[1, 0], [0, 2], [1, 1]]}, (VOLUME,))
    yield LayerCase("UpSampling1D", {"size": 3}, ((3, 2),))
    yield LayerCase("UpSampling3D", {"size": [1, 2, 2]}, ((2, 2, 1, 2),))
    for method in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        yield LayerCase("UpSampling2D", {"size": [2, 3], "interpolation": method}, ((3, 2, 1),))


ACTIVATIONS = """
    relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid log_sigmoid hard_sigmoid hard_silu tanh
    tanh_shrink softplus softsign squareplus exponential softmax log_softmax linear hard_tanh soft_shrink
    hard_shrink sparse_plus sparse_sigmoid
"""


def _pointwise() -> Iterator[LayerCase]:
    for name in ACTIVATIONS.split():
        yield LayerCase("Activation", {"activation": name}, ((3, 4),))
    yield LayerCase("ReLU", {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2})
    yield LayerCase("LeakyReLU", {"negative_slope": 0.2})
    yield LayerCase("ELU", {"alpha": 0.5})
    yield LayerCase("Softmax", {"axis": 1})
    yield LayerCase("PReLU", {}, ((3, 2, 2),))
    yield LayerCase("PReLU", {"shared_axes": [1, 2]})
    yield LayerCase("Dense", {"units": 3, "activation": "gelu"}, ((5,),))
    yield LayerCase("Dense", {"units": 3, "use_bias": False}, ((2, 5),))
    yield LayerCase("Rescaling", {"scale": 0.5, "offset": -1.0})
    yield LayerCase("Normalization", {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [0.5, 1.0, 2.0, 3.0]})
    yield LayerCase("Normalization", {"axis": [1, 3]}, ((3, 2, 2),))
    yield LayerCase("Normalization", {"axis": None, "mean": 0.5, "variance": 2.0, "invert": True})


def _normalization() -> Iterator[LayerCase]:
    for training in (True, False):
        yield LayerCase("BatchNormalization", {}, training=training)
        yield LayerCase("BatchNormalization", {"axis": 1, "momentum": 0.7, "epsilon": 0.1}, training=training)
        yield LayerCase("BatchNormalization", {"scale": False}, ((5,),), training=training)
    yield LayerCase("BatchNormalization", {"trainable": False})
    yield LayerCase("LayerNormalization")
    yield LayerCase("LayerNormalization", {"axis": [2, 3], "epsilon": 0.1}, ((3, 2, 2),))
    yield LayerCase("LayerNormalization", {"center": False}, ((5,),))
    yield LayerCase("GroupNormalization", {"groups": 2})
    yield LayerCase("GroupNormalization", {"groups": -1, "scale": False})
    yield LayerCase("GroupNormalization", {"groups": 1}, (LINE,))


def _merging() -> Iterator[LayerCase]:
    small = (2, 3, 2)
    for name in ("Add", "Multiply", "Average", "Maximum", "Minimum"):
        yield LayerCase(name, {}, (small,) * 3)
    yield LayerCase("Add", {}, (small, (1, 1, 2)))
    yield LayerCase("Multiply", {}, (small, (1, 1, 2)))
    yield LayerCase("Subtract", {}, (small, small))
    yield LayerCase("Concatenate", {}, (small, (2, 3, 1)))
    yield LayerCase("Concatenate", {"axis": 1}, (small, (1, 3, 2)))


def _images() -> Iterator[LayerCase]:
    yield LayerCase("CenterCrop", {"height": 3, "width": 2})
    yield LayerCase("CenterCrop", {"height": 4, "width": 6})
    for method, antialias in product(
        ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"), (False, True)
    ):
        arguments = {"height": 3, "width": 6, "interpolation": method, "antialias": antialias}
        yield LayerCase("Resizing", arguments, ((5, 4, 1),))
    for which in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        arguments = {"height": 3, "width": 6, which: True, "fill_value": 0.5}
        yield LayerCase("Resizing", arguments, ((5, 4, 1),))
        yield LayerCase("Resizing", {**arguments, "width": 2}, ((5, 4, 1),))


CASES = [
    *_convolutions(),
    *_transposed(),
    *_depthwise(),
    *_pooling(),
    *_shaping(),
    *_pointwise(),
    *_normalization(),
    *_merging(),
    *_images(),
]


@dataclass(frozen=True)
class WarpCase:
    """A random layer with the numbers in [0, 1) that it draws, one row per image."""

    layer: str
    arguments: dict[str, Any]
    draws: tuple[tuple[float, ...], ...]

    @property
    def label(self) -> str:
        return f"{self.layer} {json.dumps(self.arguments, sort_keys=True)}"

    def inputs(self) -> np.ndarray:
        return np.random.RandomState(zlib.crc32(self.label.encode())).uniform(size=(BATCH, 5, 6, 2))


def _warps() -> Iterator[WarpCase]:
    for fill_mode, interpolation in product(
        ("reflect", "constant", "wrap", "nearest"), ("bilinear", "nearest")
    ):
        outside = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.25}
        yield WarpCase("RandomRotation", {"factor": 0.3, **outside}, ((0.83,), (0.31,)))
        shift = {"height_factor": 0.7, "width_factor": [-0.3, 0.9]}
        yield WarpCase("RandomTranslation", {**shift, **outside}, ((0.13, 0.71), (0.88, 0.29)))
        zoom = {"height_factor": 0.6, "width_factor": [-0.4, 0.7]}
        yield WarpCase("RandomZoom", {**zoom, **outside}, ((0.93, 0.17), (0.21, 0.77)))
    yield WarpCase("RandomZoom", {"height_factor": 0.4}, ((0.83,), (0.11,)))
    yield WarpCase("RandomFlip", {"mode": "horizontal"}, ((0.83,), (0.11,)))
    yield WarpCase("RandomFlip", {"mode": "vertical"}, ((0.5,), (0.51,)))
    yield WarpCase("RandomContrast", {"factor": [0.4, 0.8], "value_range": [0.1, 0.8]}, ((0.05,), (0.95,)))


WARPS = list(_warps())
