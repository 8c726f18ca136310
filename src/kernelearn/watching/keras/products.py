"""The products of a step with weights: who used which weight on what, and what came back.

While a recorded step is computed (PyTorch), traced (TensorFlow) or done again (JAX), Keras's functions for
convolutions and matrix products are replaced by ones that look at their weight. One that the model holds is
noted, and its output goes through a `tap`, which gives it back unchanged and sees its gradient.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.geometry import resolve_padding, transpose_padding
from kernelearn.watching.seen import Array, SeenPart

Tap = Callable[["Product", Any, Any], Any]
# Where Keras computes it: module of the backend, function -> kind of the product and its arguments' names.
_WINDOWS = ("strides", "padding", "data_format", "dilation_rate")
_FUNCTIONS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("nn", "conv"): ("conv", _WINDOWS),
    ("nn", "depthwise_conv"): ("depthwise", _WINDOWS),
    ("nn", "conv_transpose"): (
        "conv_transpose",
        ("strides", "padding", "output_padding", "data_format", "dilation_rate"),
    ),
    ("numpy", "matmul"): ("dense", ()),
    ("numpy", "dot"): ("dense", ()),
}


@dataclass
class Product:
    """One use of a weight in a step.

    Attributes:
        path: of the weight.
        kind: "conv", "depthwise", "conv_transpose" or "dense".
        shape: of the weight.
        options: strides, padding, data_format, ... as Keras's function got them.
        x, delta: input and gradient of the output, as arrays; None until they are known.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    x: Array | None = None
    delta: Array | None = None

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Of the kernel as the operator takes it: depthwise kernels run as grouped ones."""
        if self.kind == "depthwise":
            return (*self.shape[:-2], 1, self.shape[-2] * self.shape[-1])
        return self.shape

    def part(self, scale: float, gradient: Array | None) -> SeenPart:
        """What a run holds of it, with images channels last.

        Args:
            scale: number that the loss was multiplied by.
        """
        assert self.x is not None and self.delta is not None
        x, delta = self._last(self.x), self._last(self.delta)
        kind = "conv" if self.kind == "depthwise" else self.kind
        return SeenPart(kind, self._attrs(x, delta), x, delta / np.float32(scale), gradient)

    def _last(self, array: Array) -> Array:
        values = np.asarray(array, np.float32)
        is_first = self.options.get("data_format") == "channels_first"
        return np.ascontiguousarray(np.moveaxis(values, 1, -1)) if is_first else values

    def _attrs(self, x: Array, delta: Array) -> dict[str, Any]:
        """Attributes of the operator, with the padding that its name stands for."""
        if self.kind == "dense":
            return {}
        size, rank = self.shape[:-2], len(self.shape) - 2
        stride = _whole(self.options.get("strides", 1), rank)
        dilation = _whole(self.options.get("dilation_rate", 1), rank)
        name = str(self.options.get("padding", "valid")).lower()
        common = {"stride": stride, "dilation": dilation}
        if self.kind == "conv_transpose":
            extra = _extra(self.options.get("output_padding"), rank)
            crops = [transpose_padding(name, *axis) for axis in zip(size, stride, dilation, extra)]
            sizes = list(delta.shape[1:-1])
            return {**common, "padding": [list(c) for c in crops], "groups": 1, "output_size": sizes}
        axes = zip(x.shape[1:-1], size, stride, dilation)
        return {
            **common,
            "padding": [list(resolve_padding(name, *axis)) for axis in axes],
            "groups": x.shape[-1] // self.kernel_shape[-2],
        }


def _whole(value: Any, rank: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)] * rank


def _extra(value: Any, rank: int) -> list[int | None]:
    return [None] * rank if value is None else list(_whole(value, rank))


class Looking:
    """Replaces Keras's functions while it is entered.

    Args:
        paths: id of a weight -> its path; other weights are left alone.
        shapes: path -> shape.
        tap: (product, input, output) -> the output.
    """

    def __init__(self, paths: Mapping[int, str], shapes: Mapping[str, tuple[int, ...]], tap: Tap) -> None:
        self._paths, self._shapes, self._tap = paths, shapes, tap
        self._is_inside = False
        self._stack = ExitStack()

    def __enter__(self) -> Looking:
        backend = importlib.import_module("keras.src.backend")
        for (room, name), (kind, options) in _FUNCTIONS.items():
            module = getattr(backend, room)
            self._stack.enter_context(replaced(module, name, self._looking(module, name, kind, options)))
        self._stack.enter_context(replaced(backend.nn, "separable_conv", _separable(backend.nn)))
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def _looking(self, module: Any, name: str, kind: str, options: tuple[str, ...]) -> Callable[..., Any]:
        given = getattr(module, name)

        @functools.wraps(given)
        def function(inputs: Any, kernel: Any, *rest: Any, **named: Any) -> Any:
            path = self._paths.get(id(kernel))
            if path is None or self._is_inside or (kind == "dense" and len(self._shapes[path]) != 2):
                return given(inputs, kernel, *rest, **named)
            self._is_inside = True  # these functions call each other
            try:
                output = given(inputs, kernel, *rest, **named)
            finally:
                self._is_inside = False
            product = Product(path, kind, self._shapes[path], {**dict(zip(options, rest)), **named})
            return self._tap(product, inputs, output)

        return function


def _separable(module: Any) -> Callable[..., Any]:
    """A separable convolution as the two that it is: its backends compute just these."""

    def function(
        inputs: Any, depthwise_kernel: Any, pointwise_kernel: Any, strides: Any = 1, padding: str = "valid",
        data_format: Any = None, dilation_rate: Any = 1,
    ) -> Any:  # fmt: skip
        middle = module.depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
        return module.conv(middle, pointwise_kernel, 1, "valid", data_format, 1)

    return function


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while: past what a class does when it is set."""
    own = vars(owner)
    before = own.get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, before)
