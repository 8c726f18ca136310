"""A network as plain data, so that every framework can build the same one: layers, connections, FLOPs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError


@dataclass(frozen=True)
class Step:
    """One layer applied to earlier results.

    Attributes:
        kind: "conv", "depthwise", "conv_transpose", "batch_norm", "layer_norm", "activation", "max_pool",
            "average_pool", "average" (of all positions), "flatten", "dense", "add" or "concatenate".
        name: of the layer; its weights are "name/kernel" and so on.
        inputs: numbers of the results that go in: 0 is the network's input, i the result of step i - 1.
        shape: of the result without images: (h, w, c), (length, c), (d, h, w, c) or (units,).
        attrs: what else a framework needs to know.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Blueprint:
    """A classifier of inputs or of each of their pixels, its last step a softmax."""

    name: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of result `number`."""
        return self.steps[number - 1].shape if number else self.input_shape

    @property
    def classes(self) -> int:
        return self.steps[-1].shape[-1]

    @property
    def places(self) -> tuple[int, ...]:
        """Pixels that get a label each: (h, w), or () where the whole input gets one."""
        return self.steps[-1].shape[:-1]

    @property
    def is_chain(self) -> bool:
        """Whether every step reads the one before and nothing else."""
        return all(step.inputs == (i,) for i, step in enumerate(self.steps))

    def images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, the same in every process; see `make_images`."""
        return make_images(self.input_shape, count, self.classes, self.places)

    def rank(self, step: Step) -> int:
        """Spatial axes of what goes into a step."""
        return len(self.shape(step.inputs[0])) - 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "input_shape": self.input_shape, "steps": [asdict(s) for s in self.steps]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Blueprint:
        """The inverse of `to_dict`, also after a way through JSON."""
        steps = [
            Step(s["kind"], s["name"], tuple(s["inputs"]), tuple(s["shape"]), s["attrs"])
            for s in values["steps"]
        ]
        return cls(values["name"], tuple(values["input_shape"]), tuple(steps))

    def logits(self) -> Blueprint:
        """The same network without the softmax at its end, for losses that contain it."""
        is_softmax = self.steps[-1].attrs.get("function") == "softmax"
        return Blueprint(self.name, self.input_shape, self.steps[:-1] if is_softmax else self.steps)

    def last_uses(self) -> list[list[int]]:
        """Per step the results that nothing needs afterwards."""
        last = {number: i for i, step in enumerate(self.steps) for number in step.inputs}
        return [[n for n, i in last.items() if i == place] for place in range(len(self.steps))]

    def channels_first_rows(self, step: Step, kernel: np.ndarray) -> np.ndarray:
        """The kernel of a dense step for frameworks that flatten images as (c, h, w) and not as (h, w, c)."""
        before = self.steps[step.inputs[0] - 1]
        if before.kind != "flatten":
            return kernel
        *sides, c = self.shape(before.inputs[0])
        axes = range(len(sides))
        by_place = kernel.reshape(*sides, c, -1)
        return by_place.transpose(len(sides), *axes, len(sides) + 1).reshape(kernel.shape)

    def forward_flops(self) -> float:
        """Multiplications and additions of convolutions and dense layers for one image."""
        return sum(self._flops(step) for step in self.steps)

    def training_flops(self) -> float:
        """The same for a training step: forward, and two gradients of each layer; the first layer has one."""
        each = [self._flops(step) for step in self.steps]
        first = next((f for f in each if f), 0.0)
        return 3 * sum(each) - first

    def _flops(self, step: Step) -> float:
        """Two for each weight that meets a number: at the results, or at the inputs of a transposed one."""
        if step.kind not in _PRODUCTS:
            return 0.0
        window = math.prod(step.attrs.get("kernel_size", ()))
        given = self.shape(step.inputs[0])
        if step.kind == "conv_transpose":
            return 2.0 * window * step.shape[-1] * math.prod(given)
        channels = 1 if step.kind == "depthwise" else given[-1] // step.attrs.get("groups", 1)
        return 2.0 * window * channels * math.prod(step.shape)


def blueprint_of(model: Any) -> Blueprint:
    """The blueprint of a model of this library, made of the layers that the compared networks have.

    Raises: ArgumentError for a layer that the peers' builders do not know.
    """
    numbers = {id(model.inputs[0]): 0}
    steps: list[Step] = []
    for call in model.calls:
        result, shape = call.outputs[0], tuple(call.outputs[0].shape[1:])
        sources = tuple(numbers[id(tensor)] for tensor in call.inputs)
        for kind, attrs in _parts(call.layer):
            steps.append(Step(kind, call.layer.name, sources, shape, attrs))
            sources = (len(steps),)
        numbers[id(result)] = len(steps)
    return Blueprint(model.name, tuple(model.inputs[0].shape[1:]), tuple(steps))


def _parts(layer: Any) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a layer: itself, and the activation that it contains."""
    kind = type(layer).__name__
    if kind not in _ATTRS:
        raise ArgumentError(
            f"Layer {layer.name!r} ({kind}) cannot be built in the other frameworks; the benchmark knows "
            f"{', '.join(_ATTRS)}."
        )
    config = layer.get_config()
    step, taken, fixed = _ATTRS[kind]
    for name, value in fixed.items():
        if config[name] != value:
            raise ArgumentError(
                f"Layer {layer.name!r} ({kind}) cannot be built in the other frameworks with "
                f"{name}={config[name]!r}; the benchmark knows {value!r}."
            )
    attrs = {name: config[name] for name in taken}
    if step == "activation":
        return [(step, {"function": config.get("activation", "relu")})]
    inner = config.get("activation", "linear") if step in _PRODUCTS else "linear"
    return [(step, attrs)] if inner == "linear" else [(step, attrs), ("activation", {"function": inner})]


_PRODUCTS = ("conv", "depthwise", "conv_transpose", "dense")
_WINDOW = ("kernel_size", "strides", "padding", "use_bias")
_POOL = ("pool_size", "strides")
_PLAIN_POOL = {"padding": "valid"}
Known = tuple[str, tuple[str, ...], dict[str, Any]]
# Layer -> its step, what of its config a framework needs, and what has to have one value.
_ATTRS: dict[str, Known] = {
    **{f"Conv{n}D": ("conv", ("filters", *_WINDOW, "dilation_rate", "groups"), {}) for n in (1, 2, 3)},
    "DepthwiseConv2D": ("depthwise", _WINDOW, {"depth_multiplier": 1, "dilation_rate": [1, 1]}),
    "Conv2DTranspose": (
        "conv_transpose",
        ("filters", *_WINDOW),
        {"padding": "valid", "output_padding": None, "dilation_rate": [1, 1]},
    ),
    "Dense": ("dense", ("units", "use_bias"), {}),
    "BatchNormalization": ("batch_norm", ("momentum", "epsilon"), {}),
    "LayerNormalization": ("layer_norm", ("epsilon",), {"axis": [-1], "center": True, "scale": True}),
    "ReLU": ("activation", (), {}),
    "Activation": ("activation", (), {}),
    **{f"MaxPooling{n}D": ("max_pool", _POOL, _PLAIN_POOL) for n in (1, 2, 3)},
    **{f"AveragePooling{n}D": ("average_pool", _POOL, _PLAIN_POOL) for n in (1, 2, 3)},
    **{f"GlobalAveragePooling{n}D": ("average", (), {"keepdims": False}) for n in (1, 2, 3)},
    "Flatten": ("flatten", (), {}),
    "Add": ("add", (), {}),
    "Concatenate": ("concatenate", (), {"axis": -1}),
}


def save_weights(model: Any, path: Path) -> None:
    """Write all weights as arrays named by their paths."""
    np.savez(path, **{name: weight.numpy() for name, weight in model.weight_paths().items()})


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """What `save_weights` wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def make_images(
    shape: Sequence[int], count: int, classes: int, places: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The same random images and labels in every process: float32 in [0, 1), int64 (count, *places)."""
    rng = np.random.default_rng(0)
    x = rng.random((count, *shape), dtype=np.float32)
    return x, rng.integers(0, classes, (count, *places))


def images_for(model: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and labels of `Blueprint.images` for a model of this library."""
    *places, classes = model.output_shape[1:]
    return make_images(model.input_shape[1:], count, classes, places)
